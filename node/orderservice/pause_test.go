package orderservice

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
)

func TestJudgePause(t *testing.T) {
	works := ledger.Status{Founded: true, Leader: "b1"}
	with := func(change func(*ledger.Status)) ledger.Status {
		s := works
		change(&s)
		return s
	}
	nobody := with(func(s *ledger.Status) { s.Halted = "no space left" })
	if got := judgePause(nobody, func() bool { return false }); got != orders.PausedRack {
		t.Errorf("all cards are full: %q", got)
	}
	behind := with(func(s *ledger.Status) { s.CatchingUp = true })
	if got := judgePause(behind, func() bool { return false }); got != orders.PausedStart {
		t.Errorf("the whole rack catches up after its start: %q", got)
	}
	for _, c := range []struct {
		name   string
		status ledger.Status
		want   orders.Pause
	}{
		{"it works", works, orders.NotPaused},
		{"it leads", with(func(s *ledger.Status) { s.Leading = true }), orders.NotPaused},
		{"not founded", ledger.Status{MissingBoards: 1, Trouble: "waits for boards"}, orders.PausedStart},
		{"no leader", with(func(s *ledger.Status) { s.Leader, s.Trouble = "", "no leader" }), orders.PausedRack},
		{"the others run an older program", with(func(s *ledger.Status) { s.Leader, s.OlderPrograms = "", []string{"b2"} }), orders.PausedBoard},
		{"it catches up, and others go on", behind, orders.PausedBoard},
		{"a new board, which waits for the leader", ledger.Status{Founded: true, CatchingUp: true}, orders.PausedBoard},
		{"an operator gave its ledger up", with(func(s *ledger.Status) { s.Superseded = "0011223344556677" }), orders.PausedBoard},
		{"two ledgers", with(func(s *ledger.Status) { s.Foreign = "b4" }), orders.PausedRack},
		{"halted, and others go on", with(func(s *ledger.Status) { s.Halted = "entry 7" }), orders.PausedBoard},
		{"a full card, and others go on", with(func(s *ledger.Status) { s.Halted, s.HaltTransient = "no space left", true }), orders.PausedBoard},
		{"its log cannot be written, and others go on", with(func(s *ledger.Status) { s.Trouble = "the log cannot be written" }), orders.PausedBoard},
		{"the leader cannot write its log", with(func(s *ledger.Status) { s.Leading, s.Trouble = true, "the log cannot be written" }), orders.PausedRack},
		{"the leader has halted", with(func(s *ledger.Status) { s.Leading, s.Halted = true, "entry 7" }), orders.PausedRack},
		{"halted, and nobody leads", with(func(s *ledger.Status) { s.Leader, s.Halted = "", "entry 7" }), orders.PausedRack},
	} {
		if got := judgePause(c.status, func() bool { return true }); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// The rule over time: each step is a moment, what the ledger does from then on, and what is
// shown at that moment.
func TestPauseRuleOverTime(t *testing.T) {
	const good, rack, board = orders.NotPaused, orders.PausedRack, orders.PausedBoard
	type step struct {
		at     time.Duration
		judged orders.Pause
		want   orders.Pause
	}
	for name, steps := range map[string][]step{
		"a start without a majority shows it at once": {{0, rack, rack}, {time.Second, rack, rack}},
		"the first leader is believed at once":        {{0, rack, rack}, {time.Second, good, good}},
		"an election changes nothing":                 {{0, good, good}, {time.Second, rack, good}, {4 * time.Second, rack, good}, {4100 * time.Millisecond, good, good}, {60 * time.Second, good, good}},
		"a lost majority":                             {{0, good, good}, {time.Second, rack, good}, {5 * time.Second, rack, rack}, {time.Hour, rack, rack}},
		"it comes back":                               {{0, good, good}, {time.Second, rack, good}, {5 * time.Second, rack, rack}, {6 * time.Second, good, rack}, {7 * time.Second, good, good}},
		"it comes back for a moment":                  {{0, good, good}, {time.Second, rack, good}, {5 * time.Second, rack, rack}, {6 * time.Second, good, rack}, {6500 * time.Millisecond, rack, rack}, {7 * time.Second, good, rack}},
		"leaders that cannot write":                   {{0, good, good}, {time.Second, rack, good}, {2 * time.Second, good, good}, {2100 * time.Millisecond, rack, good}, {4 * time.Second, good, good}, {4100 * time.Millisecond, rack, good}, {5 * time.Second, rack, rack}},
		"two elections with orders between":           {{0, good, good}, {time.Second, rack, good}, {3 * time.Second, good, good}, {4 * time.Second, good, good}, {5 * time.Second, rack, good}, {8 * time.Second, rack, good}},
		"another reason":                              {{0, good, good}, {time.Second, board, good}, {5 * time.Second, board, board}, {6 * time.Second, rack, rack}, {7 * time.Second, board, board}},
	} {
		var rule pauseRule
		start := time.Unix(1_000_000, 0)
		for i, s := range steps {
			if got := rule.update(start.Add(s.at), s.judged, false); got != s.want {
				t.Errorf("%s: step %d, after %v: %q, want %q", name, i+1, s.at, got, s.want)
			}
		}
	}
}

// pausedService is a service whose ledger has lost its majority for longer than pauseAfter.
func pausedService(t *testing.T) (*Service, *fakeLedger) {
	t.Helper()
	d, l := newTestService(t)
	if !d.offerCatalogue(t.Context()) {
		t.Fatal("no offer")
	}
	l.set(func() { l.status = &ledger.Status{Founded: true, Trouble: ledger.NoLeader + ": test"} })
	d.updatePause(time.Now())
	d.updatePause(time.Now().Add(pauseAfter))
	if d.Pause() != orders.PausedRack || d.AcceptsOrders() {
		t.Fatalf("it is not paused: %q", d.Pause())
	}
	return d, l
}

// While orders are paused a buyer is answered at once, and nothing is submitted; an order
// that this board has is shown, as one that may be out of date.
func TestPausedOrdersAreRefusedAtOnce(t *testing.T) {
	d, l := pausedService(t)
	before := l.index
	if _, err := d.PlaceOrder(t.Context(), testOrder(7)); !errors.Is(err, orders.ErrPaused) || !errors.Is(err, orders.ErrNotCommitted) {
		t.Errorf("an order: %v", err)
	}
	if err := d.CancelOrder(t.Context(), 7); !errors.Is(err, orders.ErrPaused) {
		t.Errorf("a cancellation: %v", err)
	}
	if _, _, err := d.Order(t.Context(), 7); !errors.Is(err, orders.ErrUncertain) {
		t.Errorf("a receipt that this board does not have: %v", err)
	}
	if l.index != before {
		t.Errorf("%d commands were submitted", l.index-before)
	}
	if got := strings.Join(d.Notices("b1"), " "); !strings.Contains(got, "Orders are paused") {
		t.Errorf("the operator is told %q", got)
	}
	l.set(func() { l.status = nil })
	d.updatePause(time.Now())
	d.updatePause(time.Now().Add(resumeAfter))
	if _, err := d.PlaceOrder(t.Context(), testOrder(7)); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	if _, _, err := d.Order(t.Context(), 7); err != nil {
		t.Errorf("its receipt: %v", err)
	}
}

// A buyer who waits when the majority is lost is answered when the pause begins, not when the
// form's time limit ends; whether it may have been committed is kept.
func TestAWaitEndsWhenOrdersArePaused(t *testing.T) {
	for name, c := range map[string]struct {
		first error
		want  error
	}{
		"nothing was sent":       {ledger.ErrNoMajority, orders.ErrPaused},
		"an answer was lost":     {ledger.ErrUncertain, orders.ErrUncertain},
		"the queue was too long": {ledger.ErrBusy, orders.ErrPaused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, l := newTestService(t)
				if !d.offerCatalogue(t.Context()) {
					t.Fatal("no offer")
				}
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				go d.watchPause(ctx)
				l.set(func() {
					l.fail = []error{c.first}
					for range 100 {
						l.fail = append(l.fail, ledger.ErrNoMajority)
					}
					l.status = &ledger.Status{Founded: true}
				})
				began := time.Now()
				_, err := d.PlaceOrder(t.Context(), testOrder(7))
				if took := time.Since(began); !errors.Is(err, c.want) || took > pauseAfter+time.Second {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}

// A board that has not applied what was ordered before its start shows no sale: it would be
// an old one. Later it shows what it has.
func TestBoardThatCatchesUpShowsNoSale(t *testing.T) {
	s, l := newTestService(t)
	l.set(func() { l.status = &ledger.Status{Founded: true, Leader: "b1", CatchingUp: true, Lag: 7} })
	s.pauseRule = pauseRule{} // as at the start of a board
	now := time.Unix(1_000_000, 0)
	s.updatePause(now)
	if s.Pause() != orders.PausedStart || s.Ready() {
		t.Errorf("while it catches up: %q, ready %t", s.Pause(), s.Ready())
	}
	if n := strings.Join(s.Notices("b2"), " "); !strings.Contains(n, "b2 is catching up") || !strings.Contains(n, "7 entries") {
		t.Errorf("the notices are %q", n)
	}
	l.set(func() { l.status.CatchingUp = false })
	s.updatePause(now.Add(time.Second))
	if s.Pause() != orders.NotPaused {
		t.Errorf("when it has caught up: %q", s.Pause())
	}
	l.set(func() { l.status.CatchingUp = true })
	s.updatePause(now.Add(time.Minute))
	if s.Pause() != orders.NotPaused {
		t.Errorf("when it lags for a moment: %q", s.Pause())
	}
}

// Each pause has a notice with what to do.
func TestNoticesSayWhatToDoAboutAPause(t *testing.T) {
	for _, c := range []struct {
		status ledger.Status
		want   string
	}{
		{ledger.Status{Founded: true, Trouble: ledger.NoLeader + ": test"}, "Orders are paused: the ledger has no leader: test."},
		{ledger.Status{Founded: true, Trouble: "the log cannot be written: no space left on device"}, "free space on it, or replace it: the log cannot be written: no space left"},
		{ledger.Status{Founded: true, Leader: "b2", Halted: "entry 6: no space left", HaltTransient: true}, "continues automatically when this has passed: entry 6: no space left"},
		{ledger.Status{Founded: true, Leader: "b2", Halted: "entry 6: it differs"}, "a person must look at it: entry 6"},
		{ledger.Status{Trouble: "waiting for 1 more of 3 boards"}, "No orders are accepted yet: waiting for 1 more of 3 boards."},
	} {
		d, l := newTestService(t)
		l.set(func() { l.status = &c.status })
		d.updatePause(time.Now())
		d.updatePause(time.Now().Add(pauseAfter))
		if got := strings.Join(d.Notices("b1"), " "); d.AcceptsOrders() || !strings.Contains(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// An operator's command in a pause is tried for a short time, and says what to do.
func TestOperatorsWaitShortlyInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, l := pausedService(t)
		l.set(func() {
			for range 1000 {
				l.fail = append(l.fail, ledger.ErrNoMajority)
			}
		})
		began := time.Now()
		_, err := d.Operate(t.Context(), OperatorCommand{Action: "stock", Operator: "me", OpID: 5, Product: "berry", Count: 1})
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "bring them back") || took > 2*operatorWait {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
