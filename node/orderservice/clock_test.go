package orderservice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
	"bramble/node/orders/draw"
)

const day = 24 * time.Hour

// skewedClocks are the boards' own clocks, by their difference to the real time.
type skewedClocks struct {
	mu sync.Mutex
	by map[string]time.Duration
}

func (s *skewedClocks) set(skew time.Duration, names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range names {
		s.by[n] = skew
	}
}

func (s *skewedClocks) wall(name string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Round(0).Add(s.by[name])
}

// newSkewedRack starts a rack that sells a product from in an hour and draws a ballot in an
// hour. A person who cancels is erased after a day.
func newSkewedRack(t *testing.T, size int) (*partitionedRack, *skewedClocks) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	soon := time.Now().Add(time.Hour).Truncate(time.Second)
	later, ballot, shelf := berry(), berry(), berry()
	later.Product, later.Opens = "later", soon
	ballot.Product, ballot.Mode, ballot.Opens, ballot.Closes = "ballot", orders.Ballot, soon.Add(-2*time.Hour), soon
	ballot.PublicKind = draw.None
	shelf.Retain, shelf.Stock, shelf.Webhook = day, 100, false
	clocks := &skewedClocks{by: map[string]time.Duration{}}
	r := newPartitionedRack(t, size, func(name string, l *ledger.Config, s *Config) {
		l.Clock = func() time.Time { return clocks.wall(name) }
		s.Offers = []orders.Offer{later, ballot, shelf}
	})
	return r, clocks
}

func (r *partitionedRack) clockLeader(t *testing.T) (string, *Service) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for i, s := range r.services {
			if s.Leading() && s.AcceptsOrders() && s.cfg.Ledger.Status().Clock.Known {
				return r.names[i], s
			}
		}
	}
	t.Fatal("no leader")
	return "", nil
}

// placeFor orders a unit of a product for person n.
func placeFor(t *testing.T, s *Service, product string, kind orders.Kind, n int) orders.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	o := testOrder(n)
	o.Product, o.Kind = product, kind
	a, err := s.PlaceOrder(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// syncCopy waits until a board's copy has what was acknowledged by any board: the board may have
// lost the lead since it was chosen.
func syncCopy(t *testing.T, s *Service) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := s.awaitBarrier(t.Context())
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestAWrongLeadersClockChangesNothing(t *testing.T) {
	r, clocks := newSkewedRack(t, 3)
	name, s := r.clockLeader(t)
	entry := placeFor(t, s, "ballot", orders.KindEntry, 1)
	finished := placeFor(t, s, "berry", orders.KindOrder, 2)
	if err := s.CancelOrder(t.Context(), finished.Order); err != nil {
		t.Fatal(err)
	}
	for n, skew := range []time.Duration{2 * time.Hour, 400 * day, -400 * day} {
		clocks.set(skew, name)
		time.Sleep(2 * time.Second) // many surveys and tasks
		for i, s := range r.services {
			if sale, _ := s.Sale("later"); sale.State != orders.SaleUpcoming {
				t.Errorf("%v: %s: the sale in an hour is %v", skew, r.names[i], sale.State)
			}
			if sale, _ := s.Sale("ballot"); sale.State != orders.SaleOpen {
				t.Errorf("%v: %s: the ballot is %v", skew, r.names[i], sale.State)
			}
		}
		if a := placeFor(t, s, "later", orders.KindOrder, 10+n); a.Outcome != orders.NotOpen {
			t.Errorf("%v: an order is %v", skew, a.Outcome)
		}
		if o, err := s.cfg.Book.Order(entry.Order); err != nil || o.State != orders.StateOpen {
			t.Errorf("%v: the entry is %v, %v", skew, o.State, err)
		}
		if o, err := s.cfg.Book.Order(finished.Order); err != nil || o.State != orders.StateCancelled {
			t.Errorf("%v: the cancelled order is %v, %v", skew, o.State, err)
		}
		if now, _ := s.cfg.Ledger.Now(); time.Until(now).Abs() > 2*time.Second {
			t.Errorf("%v: the ledger's clock is %v", skew, now)
		}
	}
	if !ClockFault(s.cfg.Ledger.Status().Clock) || !strings.Contains(strings.Join(s.Notices(name), "\n"), "The clock of "+name+" differs from the rack's by -400d") {
		t.Errorf("notices %q", s.Notices(name))
	}
}

func TestNothingIrreversibleHappensAcrossAJump(t *testing.T) {
	r, clocks := newSkewedRack(t, 3)
	_, s := r.clockLeader(t)
	entry := placeFor(t, s, "ballot", orders.KindEntry, 1)
	finished := placeFor(t, s, "berry", orders.KindOrder, 2)
	if err := s.CancelOrder(t.Context(), finished.Order); err != nil {
		t.Fatal(err)
	}
	clocks.set(400*day, r.names...)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c := s.cfg.Ledger.Status().Clock; time.Until(c.Time) > 399*day && c.MustConfirm {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the ledger does not follow all boards")
		}
	}
	time.Sleep(2 * time.Second)
	placeFor(t, s, "berry", orders.KindOrder, 3) // the book applies the new time
	syncCopy(t, s)
	if sale, _ := s.Sale("ballot"); sale.State != orders.SaleDrawing || !sale.Draw.At.IsZero() {
		t.Errorf("the ballot is %v, drawn at %v", sale.State, sale.Draw.At)
	}
	if o, err := s.cfg.Book.Order(finished.Order); err != nil || o.State != orders.StateCancelled {
		t.Errorf("the cancelled order is %v, %v", o.State, err)
	}
	draws := OperatorCommand{Action: "draw", Operator: "Ada", OpID: 7, Product: "ballot", Kind: string(draw.Dice), Text: "12345 12345"}
	if _, err := s.Operate(t.Context(), draws); !errors.Is(err, errRefused) {
		t.Errorf("draw make: %v", err)
	}
	if n := strings.Join(s.Notices("b1"), "\n"); !strings.Contains(n, "went forward by more than a month") {
		t.Errorf("notices %q", n)
	}
	// The boards are corrected, and the operator sets the ledger back: seconds, not years.
	clocks.set(0, r.names...)
	for end := time.Now().Add(20 * time.Second); s.cfg.Ledger.Status().Clock.Held == ""; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no hold")
		}
	}
	now := time.Now()
	result, err := r.services[2].SetClock(t.Context(), ClockCommand{Operator: "Ada", OpID: 8, Set: &now})
	if err != nil || result.Before.Time.Sub(result.After.Time) < 399*day || len(result.After.Boards) != 3 {
		t.Fatalf("%+v, %v", result, err)
	}
	syncCopy(t, s)
	if sale, _ := s.Sale("ballot"); sale.State != orders.SaleOpen {
		t.Errorf("the ballot is %v", sale.State)
	}
	if a := placeFor(t, r.services[1], "ballot", orders.KindEntry, 4); a.Outcome != orders.Placed {
		t.Errorf("an entry is %v", a.Outcome)
	}
	if o, err := s.cfg.Book.Order(entry.Order); err != nil || o.State != orders.StateOpen {
		t.Errorf("the entry is %v, %v", o.State, err)
	}
	if audit, err := s.cfg.Book.Audit(0, 50); err != nil || !strings.HasPrefix(audit[len(audit)-1].Action, "set the ledger's clock from ") {
		t.Errorf("audit %v, %v", audit, err)
	}
	if _, err := s.SetClock(t.Context(), ClockCommand{Operator: "Ada", OpID: 9, Confirm: true, Set: &now}); !errors.Is(err, errMalformed) {
		t.Errorf("both: %v", err)
	}
}

func TestDueTicksWaitForATrustedClock(t *testing.T) {
	s, l := newTestService(t)
	offer := berry()
	offer.Product, offer.Mode, offer.Opens, offer.Closes = "ballot", orders.Ballot, l.now, l.now.Add(time.Hour)
	offer.OpID, offer.PublicKind, offer.Secret = 99, draw.None, [32]byte{1}
	if _, ok := s.submitTask(t.Context(), offer); !ok {
		t.Fatal("no offer")
	}
	l.set(func() {
		l.now = l.now.Add(2 * time.Hour)
		l.status = &ledger.Status{Founded: true, Leading: true, Leader: "b1", Clock: ledger.ClockStatus{WaitUntil: l.now}}
	})
	s.runDueTicks(t.Context())
	if sale, _ := s.Sale("ballot"); !sale.Draw.At.IsZero() {
		t.Fatal("drawn across a jump")
	}
	sale, _ := s.Sale("ballot")
	if text := s.describeUndrawn(sale); !strings.Contains(text, "the draw of ballot waits: the ledger's clock went forward") {
		t.Errorf("the draw is described as %q", text)
	}
	l.set(func() { l.status.Clock = ledger.ClockStatus{Trusted: true} })
	s.runDueTicks(t.Context())
	if sale, _ := s.Sale("ballot"); sale.Draw.At.IsZero() {
		t.Error("not drawn")
	}
}

// A list is fixed with the time that most boards' clocks agree on. A ballot by drand waits for that, and a board whose own clock is past
// the round says so.
func TestAListHasTheBoardsTime(t *testing.T) {
	s, l := newTestService(t)
	l.set(func() { l.now = time.Date(2027, 2, 27, 6, 0, 0, 0, time.UTC) }) // drand has rounds then
	offer := berry()
	offer.Product, offer.Mode, offer.Opens, offer.Closes = "ballot", orders.Ballot, l.now, l.now.Add(time.Hour)
	offer.OpID, offer.PublicKind, offer.Secret = 99, draw.Drand, [32]byte{1}
	if _, ok := s.submitTask(t.Context(), offer); !ok {
		t.Fatal("no offer")
	}
	promised, _ := s.Sale("ballot")
	ahead := time.Hour.Seconds()
	l.set(func() {
		l.now = l.now.Add(time.Hour)
		l.status = &ledger.Status{Founded: true, Leading: true, Leader: "b1", Rules: orders.MaxRules,
			Clock: ledger.ClockStatus{Time: l.now, Known: true, Trusted: true, Override: true, OwnSet: true, OwnAhead: ahead}}
	})
	before := l.index
	s.runDueTicks(t.Context())
	if sale, _ := s.Sale("ballot"); sale.Draw.List != "" || l.index != before {
		t.Fatalf("the list is fixed, or a Tick was sent: %+v", sale.Draw)
	}
	round := fmt.Sprintf("round %d of drand is made", promised.Promise().Round)
	if notices := strings.Join(s.Notices("b1"), "\n"); !strings.Contains(notices, round) {
		t.Errorf("%s: no %q", notices, round)
	}
	l.set(func() { l.agreed = &ahead })
	s.runDueTicks(t.Context())
	sale, _ := s.Sale("ballot")
	if !sale.Draw.Boards.Equal(l.now.Add(time.Hour)) || !sale.Closes.Equal(sale.Draw.Boards) || sale.Promise().Round <= promised.Promise().Round {
		t.Errorf("%+v, closes %v", sale.Draw, sale.Closes)
	}
	if notices := strings.Join(s.Notices("b1"), "\n"); strings.Contains(notices, "of drand") {
		t.Error(notices)
	}
}

// A draw that an operator asks for waits while the leader's clock is about to be trusted, and is
// refused with the reason if it is not.
func TestADrawWaitsForATrustedClock(t *testing.T) {
	s, l := newTestService(t)
	draws := OperatorCommand{Action: "draw", Operator: "Ada", OpID: 7, Product: "ballot", Kind: string(draw.Dice), Text: "36115246613611524661"}
	for _, tt := range []struct {
		clock ledger.ClockStatus
		want  string
	}{
		{ledger.ClockStatus{Known: true, MustConfirm: true}, "went forward, and nobody has confirmed it"},
		{ledger.ClockStatus{Known: true, WaitUntil: l.now}, "draws wait until " + formatMoment(l.now)},
		{ledger.ClockStatus{Known: true, Held: "no board's clock is set", HeldFor: clockHoldShown}, "no board's clock is set"},
	} {
		l.set(func() {
			l.status = &ledger.Status{Founded: true, Leader: "b1", Rules: orders.MaxRules, Clock: tt.clock}
		})
		if _, err := s.Operate(t.Context(), draws); !errors.Is(err, errRefused) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt.clock, err)
		}
	}
	for _, passing := range []ledger.ClockStatus{{}, {Known: true, Held: "only 1 of 2 boards"}} {
		l.set(func() { l.status.Clock = passing })
		answered := make(chan error, 1)
		go func() {
			_, err := s.Operate(t.Context(), draws)
			answered <- err
		}()
		time.Sleep(2 * trustRetry)
		l.set(func() { l.status.Clock = ledger.ClockStatus{Known: true, Trusted: true} })
		if err := <-answered; err == nil || strings.Contains(err.Error(), "clock") { // there is no such ballot
			t.Errorf("%+v: %v", passing, err)
		}
	}
}
