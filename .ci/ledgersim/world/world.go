package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"bramble/cluster/ledger"
)

// world is the simulated rack, and what is known of it from outside. Its goroutines run
// one at a time and give way only where they wait, so it needs no lock.
type world struct {
	rng     *rand.Rand
	net     *network
	planned int
	timing  ledger.RaftTiming
	slow    time.Duration // of each sync
	pace    int           // milliseconds between two orders on a board, at most

	sites []*site
	cards []*card

	orders       []*order
	acknowledged int
	clients      sync.WaitGroup
	history      map[uint64]string // the batches, by index
	rulesAt      map[uint64]uint32 // the rules version of each
	appliedAt    map[string]uint64 // the index of each command

	ledger         string           // the identity of the ledger that was founded
	cardOf         map[string]*card // by server id: where that life of a board is
	newestRules    uint32           // the highest version that a program has known
	configurations [2][]string      // the last two that a board began with or set: the voters' server ids

	// suspendsAtCommit is suspended when it has applied its next batch.
	suspendsAtCommit *boardRun
	// cutsPowerOf loses its power when it writes its next snapshot.
	cutsPowerOf *boardRun

	seen     map[sight]int // the newest start, a card's run, that is known on another card
	faults   []string      // what was done to the rack, each once
	names    int           // given to boards that were renamed
	isEnding bool
	failures []string
	story    []string // what the scenario did and saw
}

func newWorld(seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 2))
	w := &world{rng: rng, net: newNetwork(rand.New(rand.NewPCG(seed, 3))), timing: ledger.DefaultTiming(), pace: 600,
		history: map[uint64]string{}, rulesAt: map[uint64]uint32{}, appliedAt: map[string]uint64{}, cardOf: map[string]*card{}, seen: map[sight]int{}}
	// Fewer messages a second than on a real rack, so that a seed costs less; the ratios are
	// those of DefaultTiming.
	w.timing.Heartbeat, w.timing.Election, w.timing.Lease = 1200*time.Millisecond, 1200*time.Millisecond, 1200*time.Millisecond
	w.timing.Commit = 200 * time.Millisecond
	w.timing.RulesWait = 3 * time.Second
	w.timing.ReplaceAfter = 5 * time.Second
	return w
}

// build makes the rack of n boards; nothing runs yet.
func (w *world) build(n int) {
	w.planned = n
	for i := range n {
		w.newSite(fmt.Sprintf("b%d", i+1))
	}
	go w.runGossip()
	go w.runMonitor()
}

func (w *world) logf(format string, args ...any) {
	printTrace(fmt.Appendf(nil, "-- "+format+"\n", args...))
}

// did notes what was done to the rack, for the summary.
func (w *world) did(fault string) {
	if !slices.Contains(w.faults, fault) {
		w.faults = append(w.faults, fault)
	}
}

// maxFailures limits the failures that are reported.
const maxFailures = 10

// failf notes that a check does not hold.
func (w *world) failf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.logf("FAILED: %s", text)
	if len(w.failures) < maxFailures {
		w.failures = append(w.failures, text)
	}
}

// must stops the world for an error of the simulation itself.
func (w *world) must(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *world) report() {
	for _, s := range w.story {
		fmt.Println(s)
	}
	fmt.Printf("%d boards, %d cards, %d orders, %d acknowledged, last entry %d\n",
		len(w.sites), len(w.cards), len(w.orders), w.acknowledged, w.lastEntry())
	fmt.Printf("faults: %s\n", strings.Join(w.faults, ", "))
	for _, f := range w.failures {
		fmt.Println("FAILED:", f)
	}
}

func (w *world) lastEntry() (last uint64) {
	for i := range w.history {
		last = max(last, i)
	}
	return last
}

// monitorInterval is the interval between two looks at every board.
const monitorInterval = 300 * time.Millisecond

// runMonitor looks for a second ledger.
func (w *world) runMonitor() {
	for {
		time.Sleep(monitorInterval)
		w.look()
	}
}

func (w *world) look() {
	for _, b := range w.running() {
		if !b.isDead && b.isSuspended == 0 {
			w.noteLedger(b)
		}
	}
}

// noteLedger notes to which ledger a board belongs. There is only ever one: after a loss,
// nothing but an operator's word makes another, unless nothing is left on any board.
func (w *world) noteLedger(b *boardRun) {
	if b.card.ledger != "" {
		return
	}
	s := b.Status()
	if !s.Founded {
		return
	}
	b.card.ledger = s.Ledger
	if w.ledger != s.Ledger {
		if w.ledger != "" && !w.isAllBlank() {
			w.failf("%s belongs to ledger %s, though the rack has %s", b.name, s.Ledger, w.ledger)
		}
		if w.ledger != "" {
			w.giveUp(0, 0)
		}
		w.ledger = s.Ledger
	}
	b.site.isBlank = false
}

func (w *world) isAllBlank() bool {
	for _, s := range w.sites {
		if !s.isBlank {
			return false
		}
	}
	return true
}

// giveUp notes that an operator, or the loss of every card, made another ledger. It has
// the entries up to proven, and what is on the cards held.
func (w *world) giveUp(proven uint64, held uint64) {
	w.logf("a new ledger goes on after entry %d", proven)
	for i, batch := range w.history {
		if i > proven {
			delete(w.history, i)
			delete(w.rulesAt, i)
			for _, text := range strings.Fields(batch) {
				delete(w.appliedAt, text)
			}
		}
	}
	for _, o := range w.orders {
		if !o.acked.IsZero() && o.index > proven {
			o.isGivenUp = o.isGivenUp || o.holders&held == 0
			o.index = 0 // the card may have it from an earlier term, at another index
		}
		o.isRefused = false // what was not committed there may be here
	}
}

// voterPattern finds a voter's server id in raft's log.
var voterPattern = regexp.MustCompile(`Suffrage:Voter ID:(\S+)`)

// noteConfiguration notes the voters of a configuration that a board logs.
func (w *world) noteConfiguration(b *boardRun, servers string) {
	b.voters = nil
	for _, m := range voterPattern.FindAllStringSubmatch(servers, -1) {
		b.voters = append(b.voters, m[1])
	}
	if !b.isDead && len(b.voters) > 0 && !slices.Equal(b.voters, w.configurations[1]) {
		w.configurations = [2][]string{w.configurations[1], b.voters}
	}
}

// keepsMajority reports whether most of these voters have cards that are not lost, without
// one card.
func (w *world) keepsMajority(voters []string, without *card) bool {
	n := 0
	for _, id := range voters {
		if c := w.cardOf[id]; c != nil && !c.isLost && c != without {
			n++
		}
	}
	return n > len(voters)/2
}

// mayLose reports whether the rack must go on if it loses a card.
func (w *world) mayLose(c *card) bool {
	for _, voters := range w.configurations {
		if len(voters) > 0 && !w.keepsMajority(voters, c) {
			return false
		}
	}
	return w.isFounded()
}

func (w *world) isFounded() bool { return len(w.configurations[1]) > 0 }
