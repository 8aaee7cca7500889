package orderservice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bramble/cluster/ledger"
	"bramble/cluster/ledger/ledgertest"
	"bramble/node/orders"
)

const (
	historyVoters = 3
	// historyRecovery limits the time until a rack without faults works again, on a busy machine.
	historyRecovery = 90 * time.Second
	historyDay      = 24 * time.Hour
)

// knowingRules is an order book with a program that knows no rules above max.
type knowingRules struct {
	OrderStateMachine
	max uint32
}

func (k knowingRules) MaxRules() uint32 { return k.max }

// historyBoard is a board with its card. A card that is replaced or re-made is another directory.
// The faults change it while it is off.
type historyBoard struct {
	name string
	dir  string
	max  uint32       // rules that its program knows
	lost bool         // its card was lost, and it is no member until a board adds it again
	skew atomic.Int64 // of its clock, in nanoseconds

	mu      sync.Mutex // guards the rest
	running *startedBoard
	stop    func()
}

// startedBoard is what runs on a board from one start to the next.
type startedBoard struct {
	name    string
	book    *orders.Book
	ledger  *ledger.Ledger
	service *Service
}

// historyRack is a rack in one process whose boards can be lost. One goroutine changes it.
type historyRack struct {
	t      *testing.T
	net    *ledgertest.Net
	random *rand.Rand
	dir    string
	cards  int // that were used
	size   int
	offer  orders.Offer
	timing ledger.RaftTiming

	boards []*historyBoard
	began  time.Time
}

// newHistoryRack starts a rack. The seed decides which rules its programs know at first.
func newHistoryRack(t *testing.T, size int, seed uint64) *historyRack {
	r := &historyRack{t: t, net: ledgertest.New(), random: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), size: size, timing: quick(), began: time.Now()}
	r.timing.RemoveAfter = 6 * time.Second // a board that was replaced keeps the rules from rising until then
	r.timing.SnapshotCheck, r.timing.RulesWait = 200*time.Millisecond, 300*time.Millisecond
	// A clock that is two hours wrong would close the sale, or open it later.
	r.offer = berry()
	r.offer.Stock, r.offer.WaitingList, r.offer.Webhook = historyStock, false, false
	now := time.Now().UTC().Truncate(time.Millisecond)
	r.offer.Opens, r.offer.Closes = now.Add(-time.Hour), now.Add(time.Hour)
	t.Cleanup(func() {
		for _, b := range r.boards {
			r.kill(b)
		}
	})
	for i := range size {
		b := &historyBoard{name: historyName(i + 1), dir: r.newCard(), max: 1 + uint32(seed/2%uint64(orders.MaxRules))} // seed%2 decides the size
		r.boards = append(r.boards, b)
		r.start(b)
	}
	r.awaitHealthy()
	r.logf("the programs know rules %d", r.boards[0].max)
	r.until("the sale is known", func() bool {
		return !slices.ContainsFunc(r.boards, func(b *historyBoard) bool { s := b.current(); return s == nil || !s.service.hasOffers() })
	})
	return r
}

// historyName returns one of the names that boards can have.
func historyName(n int) string { return fmt.Sprintf("b%d", n) }

// newCard returns the path of an empty card.
func (r *historyRack) newCard() string {
	r.cards++
	return filepath.Join(r.dir, fmt.Sprint(r.cards))
}

func (r *historyRack) logf(format string, args ...any) {
	r.t.Helper()
	r.t.Logf("%6.2fs "+format, append([]any{time.Since(r.began).Seconds()}, args...)...)
}

// limit returns a context for one action.
func (r *historyRack) limit(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// current returns what runs on the board, nil if it is off.
func (b *historyBoard) current() *startedBoard {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.running
}

func (b *historyBoard) setRunning(s *startedBoard) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running = s
}

// anyRunning returns a random board, nil if that one is off.
func (r *historyRack) anyRunning() *startedBoard {
	return r.boards[rand.IntN(len(r.boards))].current()
}

// open opens a board's files.
func (r *historyRack) open(b *historyBoard) (*startedBoard, error) {
	book, err := orders.Open(filepath.Join(b.dir, "book"))
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	if os.Getenv("LEDGER_TEST_LOG") != "" {
		logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("board", b.name)
	}
	clock := func() time.Time { return time.Now().Round(0).Add(time.Duration(b.skew.Load())) }
	name := b.name
	l, err := ledger.Open(ledger.Config{
		Name: name, Dir: filepath.Join(b.dir, "log"), Boards: r.size, StateMachine: knowingRules{OrderStateMachine{Book: book}, b.max},
		Transport: r.net.TransportOf(name), Live: func() []string { return r.net.Boards(name) }, Timing: r.timing,
		Clock: clock, ClockState: func() ledger.ClockState { return ledger.ClockState{Set: true} }, Logger: logger,
	})
	if err != nil {
		book.Close()
		return nil, err
	}
	s := &startedBoard{name: name, book: book, ledger: l}
	s.service = New(Config{Ledger: l, Book: book, Offers: []orders.Offer{r.offer}, Keys: [][]byte{[]byte("key")}, Logger: logger, Clock: clock})
	return s, nil
}

// start starts a board, and opens its files again whenever its ledger asks for that.
func (r *historyRack) start(b *historyBoard) {
	r.t.Helper()
	s, err := r.open(b)
	if err != nil {
		r.t.Fatalf("open %s: %v", b.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	b.stop = func() { cancel(); <-ended }
	b.setRunning(s)
	r.net.Join(s.name, s.ledger)
	go func() {
		defer close(ended)
		for {
			err := s.run(ctx)
			if !errors.Is(err, ledger.ErrRestart) || ctx.Err() != nil {
				if err != nil && !errors.Is(err, ledger.ErrRestart) {
					r.t.Errorf("run %s: %v", s.name, err)
				}
				return
			}
			r.net.Leave(s.name)
			if s, err = r.open(b); err != nil {
				r.t.Errorf("open %s again: %v", b.name, err)
				return
			}
			b.setRunning(s)
			r.net.Join(s.name, s.ledger)
		}
	}()
}

// run runs the ledger and the service until ctx ends.
func (s *startedBoard) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var service sync.WaitGroup
	service.Go(func() { s.service.Run(ctx) })
	err := s.ledger.Run(ctx)
	cancel()
	service.Wait()
	s.book.Close()
	return err
}

// kill unplugs a board before it stops, so that the others see nothing of that.
func (r *historyRack) kill(b *historyBoard) {
	r.net.Leave(b.name)
	b.setRunning(nil)
	if b.stop != nil {
		b.stop()
		b.stop = nil
	}
	b.setRunning(nil) // the start after an ErrRestart
	r.net.Leave(b.name)
}

// until waits for what must become true.
func (r *historyRack) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(historyRecovery); !ok(); time.Sleep(20 * time.Millisecond) {
		if r.t.Failed() {
			r.t.FailNow()
		}
		if time.Now().After(end) {
			for _, b := range r.boards {
				if s := b.current(); s != nil {
					r.logf("%s: %+v", b.name, s.ledger.Status())
				}
			}
			r.t.Fatalf("never: %s", what)
		}
	}
}

// awaitHealthy waits until every board runs and has caught up, and all voters are boards that run: until
// then another card must not be lost.
func (r *historyRack) awaitHealthy() {
	r.t.Helper()
	r.until("all boards work", func() bool {
		var leader *startedBoard
		commit := uint64(0)
		running := map[string]bool{}
		for _, b := range r.boards {
			s := b.current()
			if s == nil {
				return false
			}
			status := s.ledger.Status()
			if strings.Contains(status.Halted, "install the newer program") && b.lost {
				r.upgrade(b) // the rules rose while it was no member, as all members knew them
				return false
			}
			if status.Halted != "" || status.Damaged != "" {
				r.t.Errorf("%s: halted %q, damaged %q", b.name, status.Halted, status.Damaged)
			}
			running[status.Server] = true
			if status.Leading {
				leader, commit = s, status.Commit
			}
		}
		return leader != nil && r.isComplete(leader, running) && r.haveAll(leader, commit)
	})
}

// isComplete reports whether all voters of a leader are running servers, and all of them are members.
func (r *historyRack) isComplete(leader *startedBoard, running map[string]bool) bool {
	ctx, cancel := r.limit(time.Second)
	defer cancel()
	voters := 0
	status := leader.ledger.Status()
	for _, m := range leader.ledger.Boards(ctx) {
		if m.Voter && !running[m.Server] || m.Trouble != "" && running[m.Server] {
			return false
		}
		if m.Voter {
			voters++
		}
	}
	return status.Leading && voters == historyVoters && len(status.Voters)+len(status.Nonvoters) >= r.size
}

// haveAll reports whether all boards follow a leader and have applied what it had committed.
func (r *historyRack) haveAll(leader *startedBoard, commit uint64) bool {
	for _, b := range r.boards {
		s := b.current()
		if s == nil {
			return false
		}
		if status := s.ledger.Status(); status.Leader != leader.name || status.CatchingUp || status.Applied < commit {
			return false
		}
	}
	return true
}

// awaitRules upgrades the boards that are left, one by one, and waits until the rules are in force.
func (r *historyRack) awaitRules(rules uint32) {
	r.t.Helper()
	for _, b := range r.boards {
		b.skew.Store(0)
		if b.max < rules {
			r.upgrade(b)
			r.awaitHealthy()
		}
	}
	r.until("the rules rise", func() bool {
		return !slices.ContainsFunc(r.boards, func(b *historyBoard) bool { return b.current().ledger.Status().Rules < rules })
	})
	r.until("every board has the ledger's secret", func() bool { // the leader submits it by itself
		return !slices.ContainsFunc(r.boards, func(b *historyBoard) bool { s := b.current(); return s == nil || !s.book.HasSecret() })
	})
}

// upgrade stops a board and starts it with the newer program.
func (r *historyRack) upgrade(b *historyBoard) {
	r.kill(b)
	b.max, b.lost = orders.MaxRules, false
	r.start(b)
	r.logf("%s is upgraded", b.name)
}

// killAll stops all boards at once.
func (r *historyRack) killAll() {
	for _, b := range r.boards {
		r.net.Leave(b.name)
	}
	for _, b := range r.boards {
		r.kill(b)
	}
}

// restartAll stops all boards at once and starts them from their cards.
func (r *historyRack) restartAll() {
	r.t.Helper()
	r.killAll()
	for _, b := range r.boards {
		r.start(b)
	}
	r.awaitHealthy()
	r.until("the clock is known", func() bool {
		return !slices.ContainsFunc(r.boards, func(b *historyBoard) bool { _, known := b.current().ledger.Now(); return !known })
	})
}
