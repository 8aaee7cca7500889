package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/cluster/ledger"
	"bramble/cluster/ledger/ledgertest"
)

// board is one running ledger of a test's rack.
type board struct {
	*ledger.Ledger
	name  string
	diary *ledgertest.Diary
	stop  func()
}

// terseDiary is a state machine that records only the first bytes of each command.
type terseDiary struct{ ledgertest.Diary }

func (d *terseDiary) Apply(b ledger.Batch) ([][]byte, error) {
	for i, command := range b.Commands {
		b.Commands[i] = command[:min(len(command), 16)]
	}
	return d.Diary.Apply(b)
}

// rack is a rack in one process, with real directories.
type rack struct {
	t         testing.TB
	net       *ledgertest.Net
	dir       string
	names     []string
	timing    ledger.RaftTiming
	slow      time.Duration
	planned   int
	refuse    map[string]func(index uint64, commands [][]byte) error // of the boards' diaries
	diverging []string                                               // these boards have a divergingDiary
	terse     bool                                                   // the boards have a terseDiary
	applied   func(index uint64)                                     // called on every board after a batch; nil: nothing
	rules     map[string]uint32                                      // that the boards' programs know
	mu        sync.Mutex                                             // guards the rest
	skew      map[string]time.Duration                               // of the boards' own clocks
	servers   map[string]int                                         // that agree on them
	marked    bool                                                   // the boards have a marker outside their directories
	boards    map[string]*board
}

// skipIfShort skips a test of seconds under -short.
func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds; run it without -short")
	}
}

// quick suits boards on one idle machine; the ratios are those of
// DefaultTiming.
func quick() ledger.RaftTiming {
	t := ledger.DefaultTiming()
	t.Heartbeat, t.Election, t.Lease = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	t.Commit, t.RPC = 20*time.Millisecond, time.Second
	t.Call, t.Survey, t.FoundingWait = 500*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond
	t.ReplaceAfter, t.Retry = 1500*time.Millisecond, 30*time.Millisecond
	t.SnapshotCheck, t.RulesWait = 100*time.Millisecond, 300*time.Millisecond
	return t
}

func newRack(t testing.TB, n int) *rack {
	r := &rack{t: t, net: ledgertest.New(), dir: t.TempDir(), timing: quick(), planned: n, boards: map[string]*board{}, skew: map[string]time.Duration{}, servers: map[string]int{}}
	for i := range n {
		r.names = append(r.names, fmt.Sprintf("b%d", i+1))
	}
	t.Cleanup(r.stopAll)
	return r
}

// newVotingRack starts a rack of n boards, all of which vote.
func newVotingRack(t *testing.T, n int) *rack {
	t.Helper()
	r := newRack(t, n)
	r.start(r.names...)
	r.voters(n)
	return r
}

// newRackWithOrder starts a voting rack of three, which takes "order 0". It returns the board
// that leads and the two others.
func newRackWithOrder(t *testing.T) (r *rack, led, a, b string) {
	t.Helper()
	r = newVotingRack(t, 3)
	r.submit(r.board("b1"), "order 0")
	r.awaitSameNotes()
	led = r.leader().name
	rest := r.others(led)
	return r, led, rest[0], rest[1]
}

// newTwoLedgers starts a rack of four as two racks that cannot reach each other: b1 and b2 take
// "one", b3 and b4 "other".
func newTwoLedgers(t *testing.T) *rack {
	t.Helper()
	r := newRack(t, 4)
	r.planned = 2 // set wrongly
	r.net.Partition(r.names[:2], r.names[2:])
	r.start(r.names...)
	r.submit(r.board("b1"), "one")
	r.submit(r.board("b3"), "other")
	return r
}

// awaitRecovered waits until a board leads the ledger that it recovered, and returns that ledger.
func (r *rack) awaitRecovered(name string, p ledger.RecoveryPlan) (recovered string) {
	r.t.Helper()
	r.until(name+" leads alone", func() bool {
		s := r.board(name).Status()
		recovered = s.Ledger
		return s.Leading && s.Ledger != p.Ledger
	})
	return recovered
}

// chooseRecovered chooses the ledger that a board recovers. That board opens its files again
// meanwhile.
func (r *rack) chooseRecovered(name string, p ledger.RecoveryPlan) {
	r.t.Helper()
	r.choose(name, r.awaitRecovered(name, p))
}

// command repeats an operator's command until it is not refused. A board may refuse it at first: it may still be opening
// its ledger, and it knows the other boards only from their last hellos.
func (r *rack) command(what string, give func(context.Context) error) {
	r.t.Helper()
	r.until(what, func() bool {
		err := give(r.t.Context())
		if err != nil && !errors.Is(err, ledger.ErrRefused) {
			r.t.Fatalf("%s: %v", what, err)
		}
		return err == nil
	})
}

// recover recovers the ledger on a board; the operator is at the same board or at another one.
func (r *rack) recover(at, board string) ledger.RecoveryPlan {
	r.t.Helper()
	return r.awaitPlan("recover "+board, func(ctx context.Context) (ledger.RecoveryPlan, error) { return r.board(at).Recover(ctx, board) })
}

func (r *rack) planRecovery(board string) ledger.RecoveryPlan {
	r.t.Helper()
	return r.awaitPlan("plan to recover "+board, func(ctx context.Context) (ledger.RecoveryPlan, error) {
		return r.board(board).PlanRecovery(ctx, board)
	})
}

// awaitPlan gives a command, as command does, and returns the plan that comes with it.
func (r *rack) awaitPlan(what string, give func(context.Context) (ledger.RecoveryPlan, error)) (p ledger.RecoveryPlan) {
	r.t.Helper()
	r.command(what, func(ctx context.Context) (err error) {
		p, err = give(ctx)
		return err
	})
	r.t.Logf("%s: %+v", what, p)
	return p
}

func (r *rack) choose(at, id string) {
	r.t.Helper()
	r.command("choose "+id, func(ctx context.Context) error { return r.board(at).Choose(ctx, id) })
}

// recoverAlone kills all other boards, and recovers the ledger on this one when it has no leader.
func (r *rack) recoverAlone(name string) {
	r.t.Helper()
	r.kill(r.others(name)...)
	r.until("no leader", func() bool { return r.board(name).Status().Leader == "" })
	r.recover(name, name)
}

func (r *rack) directory(name string) string { return filepath.Join(r.dir, name) }

func (r *rack) config(name string) ledger.Config {
	level := slog.LevelError + 4
	if os.Getenv("LEDGER_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	marker := ""
	if r.marked {
		marker = r.directory(name) + ".id"
	}
	return ledger.Config{
		Marker: marker,
		Name:   name, Dir: r.directory(name), Boards: r.planned, StateMachine: &ledgertest.Diary{Refuse: r.refuse[name]},
		Transport: r.net.TransportOf(name), Live: func() []string { return r.net.Boards(name) },
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("board", name),
		OnApplied: r.applied,
		Timing:    r.timing, SlowSync: r.slow, Clock: func() time.Time { return r.wall(name) },
		ClockState: func() ledger.ClockState { return ledger.ClockState{Set: true, Servers: r.timeServers(name)} },
		Describe:   func() string { return "a diary" },
	}
}

func (r *rack) start(names ...string) {
	r.t.Helper()
	for _, name := range names {
		b, err := r.open(name)
		if err != nil {
			r.t.Fatalf("open %s: %v", name, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		stop := func() { cancel(); <-ended }
		go func() {
			defer close(ended)
			for {
				err := b.Run(ctx)
				if !errors.Is(err, ledger.ErrRestart) {
					if err != nil {
						r.t.Errorf("run %s: %v", name, err)
					}
					return
				}
				r.net.Leave(name)
				if b, err = r.open(name); err != nil {
					r.t.Errorf("open %s again: %v", name, err)
					return
				}
				r.plug(b, stop)
			}
		}()
		r.plug(b, stop)
	}
}

func (r *rack) open(name string) (*board, error) {
	cfg := r.config(name)
	diary := cfg.StateMachine.(*ledgertest.Diary)
	diary.Rules = r.rules[name]
	if slices.Contains(r.diverging, name) {
		c := &divergingDiary{}
		cfg.StateMachine, diary = c, &c.Diary
	}
	if r.terse {
		d := &terseDiary{}
		cfg.StateMachine, diary = d, &d.Diary
	}
	l, err := ledger.Open(cfg)
	if err != nil {
		return nil, err
	}
	return &board{Ledger: l, name: name, diary: diary}, nil
}

// plug puts a board on the network.
func (r *rack) plug(b *board, stop func()) {
	b.stop = stop
	r.mu.Lock()
	r.boards[b.name] = b
	r.mu.Unlock()
	r.net.Join(b.name, b.Ledger)
}

// kill unplugs the boards before it stops them, so that the others see nothing of
// their shutdown.
func (r *rack) kill(names ...string) {
	for _, name := range names {
		r.net.Leave(name)
	}
	for _, name := range names {
		r.mu.Lock()
		b := r.boards[name]
		delete(r.boards, name)
		r.mu.Unlock()
		if b != nil {
			b.stop()
		}
	}
}

func (r *rack) stopAll() {
	r.mu.Lock()
	var names []string
	for n := range r.boards {
		names = append(names, n)
	}
	r.mu.Unlock()
	r.kill(names...)
}

func (r *rack) board(name string) *board {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.boards[name]
}

func (r *rack) running() []*board {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*board
	for _, b := range r.boards {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b *board) int { return strings.Compare(a.name, b.name) })
	return all
}

// until waits for a condition that must become true.
func (r *rack) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		if ok() {
			return
		}
		if time.Now().After(end) {
			for _, b := range r.running() {
				r.t.Logf("%s: %+v", b.name, b.Status())
			}
			r.t.Fatalf("never: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (r *rack) leader() *board {
	r.t.Helper()
	var led *board
	r.until("a leader", func() bool {
		for _, b := range r.running() {
			if s := b.Status(); s.Leading {
				led = b
				return true
			}
		}
		return false
	})
	return led
}

func (r *rack) voters(n int) {
	r.t.Helper()
	r.until(fmt.Sprintf("%d voters", n), func() bool {
		for _, b := range r.running() {
			if s := b.Status(); s.Leading && len(s.Voters) == n {
				return true
			}
		}
		return false
	})
}

// submit submits a command to a board until the board takes it. After an uncertain outcome it first looks whether the
// board has applied the command.
func (r *rack) submit(b *board, command string) uint64 {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		_, index, err := b.Submit(ctx, []byte(command))
		if err == nil {
			return index
		}
		if ctx.Err() != nil {
			r.t.Fatalf("submit %q to %s: %v", command, b.name, err)
		}
		isUncertain := errors.Is(err, ledger.ErrUncertain)
		time.Sleep(20 * time.Millisecond)
		if now := r.board(b.name); now != nil { // it may have opened its files again
			b = now
		}
		if isUncertain && b.Barrier(ctx) == nil {
			notes := b.diary.Notes()
			if at := slices.IndexFunc(notes, func(n ledgertest.Note) bool { return n.Text == command }); at >= 0 {
				return notes[at].Index
			}
		}
	}
}

// compact empties a board's log. It repeats, because the ledger may add entries of its own meanwhile.
func (r *rack) compact(b *board) {
	r.t.Helper()
	r.until(b.name+"'s log is empty", func() bool { return b.Compact(context.Background()) == nil })
}

// submitOrders submits "order 1" to "order n" on a board, and returns them.
func (r *rack) submitOrders(name string, n int) (orders []string) {
	r.t.Helper()
	for i := range n {
		orders = append(orders, fmt.Sprintf("order %d", i+1))
		r.submit(r.board(name), orders[i])
	}
	return orders
}

func (b *board) texts() []string {
	var all []string
	for _, n := range b.diary.Notes() {
		all = append(all, n.Text)
	}
	return all
}

// awaitSameNotes waits until all running boards have applied the same commands.
func (r *rack) awaitSameNotes() []string {
	r.t.Helper()
	var texts []string
	r.until("all boards agree", func() bool {
		all := r.running()
		texts = all[0].texts()
		for _, b := range all[1:] {
			if b.diary.Digest() != all[0].diary.Digest() || !slices.Equal(b.texts(), texts) {
				return false
			}
		}
		return true
	})
	return texts
}
