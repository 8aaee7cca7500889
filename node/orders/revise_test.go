package orders

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/node/orders/draw"
)

// autoOffer is someOffer, inviting people automatically for an hour.
func (t *testBook) autoOffer() Offer {
	o := t.someOffer()
	o.Invitations = time.Hour
	return o
}

func (t *testBook) states(ids ...ID) (list []OrderState) {
	for _, id := range ids {
		list = append(list, t.order(id).State)
	}
	return list
}

func (t *testBook) wantStates(what string, ids []ID, want ...OrderState) {
	t.t.Helper()
	if got := t.states(ids...); !slices.Equal(got, want) {
		t.t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// The case: the first in the queue wants more than is free. The next one is invited; the first one
// keeps the place; what then nobody in the queue wants is sold to whoever orders; and an invitation
// that expires goes on to the next person. No operator does anything.
func TestFreeUnitsFindTheNextPerson(t *testing.T) {
	d := newTestBook(t)
	o := d.autoOffer()
	o.Stock, o.Limit = 4, 3
	d.want(Done, o)
	bought := d.newOrder(90, KindOrder).of(2)
	d.want(Placed, bought)
	d.want(Placed, d.newOrder(91, KindOrder).of(2))
	var ids []ID
	for n, quantity := range []int{3, 1, 1, 3} {
		c := d.newOrder(n, KindWaiting).of(quantity)
		d.want(Placed, c)
		ids = append(ids, c.ID)
	}
	d.want(Done, Cancel{ID: bought.ID})
	if at, ok := d.book.Due(); !ok || at.After(d.now) {
		t.Fatal("no Tick is due")
	}
	d.ticks()
	d.wantStates("after a cancellation of 2", ids, StateOpen, StateInvited, StateInvited, StateOpen)
	if place, of, err := d.book.Position(ids[0]); place != 1 || of != 2 || err != nil {
		t.Errorf("the head has place %d of %d, %v", place, of, err)
	}
	d.want(Done, Cancel{ID: ids[1]}) // an invited person leaves: 1 is free, and both others want 3
	d.ticks()
	s := d.sale()
	if s.Free != 1 || s.Stuck() != StuckTooFew || s.StateAt(d.now) != SaleInStock {
		t.Errorf("free %d, stuck %q, %v", s.Free, s.Stuck(), s.State)
	}
	small := d.newOrder(5, KindWaiting)
	d.want(WrongKind, small) // it is in stock for one unit
	d.want(Done, Stock{d.by(), "pi", 1})
	d.ticks()
	d.wantStates("2 are free, and they want 3", ids, StateOpen, StateLeft, StateInvited, StateOpen)
	d.want(Placed, d.newOrder(6, KindOrder).of(2))
	d.now = d.now.Add(time.Hour) // the other invitation expires
	d.ticks()
	d.wantStates("expired", ids, StateOpen, StateLeft, StateExpired, StateOpen)
	d.want(Done, Stock{d.by(), "pi", 2})
	d.ticks()
	d.wantStates("3 are free", ids, StateInvited, StateLeft, StateExpired, StateOpen)
	if got := d.order(ids[0]); !got.Until.Equal(d.now.Add(time.Hour)) {
		t.Errorf("until %v", got.Until)
	}
	d.recount()
}

// An operator's Invite skips the head too, and a sale that invites by hand says what is stuck.
func TestInviteByHandSkipsTheHead(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Stock, o.Limit = 0, 3
	d.want(Done, o)
	var ids []ID
	for n, quantity := range []int{3, 1} {
		c := d.newOrder(n, KindWaiting).of(quantity)
		d.want(Placed, c)
		ids = append(ids, c.ID)
	}
	d.want(Done, Stock{d.by(), "pi", 2})
	if s := d.sale(); s.Stuck() != StuckByHand {
		t.Errorf("stuck %q", s.Stuck())
	}
	if a := d.want(Done, Invite{d.by(), "pi", 5, d.now.Add(time.Hour)}); a.Count != 1 || a.Remaining != 1 {
		t.Errorf("%+v", a)
	}
	d.wantStates("by hand", ids, StateOpen, StateInvited)
	d.want(Done, ReviseOffer{Operation: d.by(), Product: "pi", Fields: ReviseInvitations, Invitations: time.Hour})
	d.want(Done, CloseSale{d.by(), "pi"})
	if s := d.sale(); s.Stuck() != StuckClosed {
		t.Errorf("stuck %q", s.Stuck())
	}
	d.recount()
}

// A long queue is searched over several Ticks.
func TestALongQueueIsSearchedInParts(t *testing.T) {
	d := newTestBook(t)
	o := d.autoOffer()
	o.Stock, o.Limit = 0, 2
	d.want(Done, o)
	const people = 3*maxTickWork + 10
	for n := range people {
		d.want(Placed, d.newOrder(n, KindWaiting).of(2))
	}
	last := d.newOrder(people, KindWaiting)
	d.want(Placed, last)
	d.want(Done, Stock{d.by(), "pi", 1})
	ticks := 0
	for at, ok := d.book.Due(); ok && !at.After(d.now); at, ok = d.book.Due() {
		if a := d.want(Done, Tick{}); a.Count > maxTickWork {
			t.Fatalf("a Tick did %d", a.Count)
		}
		ticks++
	}
	if ticks < 4 || d.order(last.ID).State != StateInvited {
		t.Errorf("after %d Ticks the last one is %v", ticks, d.order(last.ID).State)
	}
	d.recount()
}

// Units that a drawn ballot gets back go to the next ranks, in the order of the tickets, whether the
// ballot was drawn under these rules or the ones before; then to the waiting list.
func TestABallotsReturnedUnitGoesToTheNextRank(t *testing.T) {
	for version := range MaxRules {
		t.Run(fmt.Sprint("drawn under rules ", version+1), func(t *testing.T) {
			d := newTestBook(t)
			d.rules = version + 1
			o := d.ballotOffer()
			o.Stock, o.Invitations = 2, 0
			d.want(Done, o)
			byRef := map[string]ID{}
			for n := range 6 {
				c := d.newOrder(n, KindEntry).of(1 + n%2)
				d.want(Placed, c)
				byRef[c.ID.String()] = c.ID
			}
			d.now = o.Closes
			d.ticks()
			d.rules = MaxRules
			f, err := d.book.Draw("pi")
			if err != nil {
				t.Fatal(err)
			}
			_, losers := draw.Run(draw.Seed(f.Version, f.Secret, listOf(f).Hash(), f.Public.Text), f.Entries, f.Stock)
			winner := byRef[f.Winners[0]]
			returned := int64(d.order(winner).Quantity)
			d.want(Done, Cancel{ID: winner})
			d.ticks()
			free := returned
			for _, ref := range losers {
				want := StateLost
				if q := int64(d.order(byRef[ref]).Quantity); q <= free {
					want, free = StateWon, free-q
				}
				if got := d.order(byRef[ref]); got.State != want {
					t.Errorf("%s is %v, want %v", ref, got.State, want)
				}
			}
			waits := d.newOrder(50, KindWaiting)
			d.want(Placed, waits)
			d.want(Done, Stock{d.by(), "pi", 20})
			d.ticks()
			for ref, id := range byRef {
				if got := d.order(id).State; got != StateWon && id != winner {
					t.Errorf("%s is %v, and units are free", ref, got)
				}
			}
			if got := d.order(waits.ID).State; got != StateInvited {
				t.Errorf("the waiting list: %v", got)
			}
			if again, err := d.book.Draw("pi"); err != nil || !reflect.DeepEqual(again.Winners, f.Winners) {
				t.Errorf("the published draw changed: %v", err)
			}
			d.recount()
		})
	}
}

func listOf(f draw.File) *draw.List {
	list := f.NewList()
	for _, e := range f.Entries {
		list.Add(e.Reference, e.Quantity)
	}
	return list
}

func TestTheSixtyFifthProduct(t *testing.T) {
	d := newTestBook(t)
	d.rules = 1
	offer := func(n int) Offer {
		o := d.someOffer()
		o.Product, o.Invitations = fmt.Sprint("p", n), 0
		return o
	}
	for n := range 64 {
		d.want(Done, offer(n))
	}
	d.want(Full, offer(64))
	if d.book.HasRoom(1) || !d.book.HasRoom(2) {
		t.Error("it has room, or will have none when the rules rise")
	}
	d.rules = 2
	for n := 64; n < 80; n++ {
		d.want(Done, offer(n))
	}
	if !d.book.HasRoom(1) || len(d.book.Sales()) != 80 {
		t.Error("it has no room")
	}
	d.recount()
}

// Refused commands do not push the others out of the audit trail, and change nothing.
func TestRefusedCommandsAreCounted(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	d.want(Done, Stock{d.by(), "pi", 5})
	for range 1000 {
		d.want(NotEnough, Stock{d.by(), "pi", -99})
		d.want(NoOrder, Cancel{ID: 99, By: d.by()})
	}
	trail, err := d.book.Audit(0, 10)
	if err != nil || len(trail) != 4 || trail[2].Times != 1000 || trail[3].Times != 1000 || trail[0].Times != 1 {
		t.Errorf("%+v, %v", trail, err)
	}
	err = d.book.withReadTx(func(r *readTx) error {
		if n := r.bucket(bucketOperations).Stats().KeyN; n != 2 {
			t.Errorf("%d operations are remembered", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	d.recount()
}

// An omitted time stays as it is.
func TestSetOneTime(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Opens, o.Closes = start.Add(20*365*24*time.Hour), start.Add(21*365*24*time.Hour)
	d.want(Done, o)
	closes := o.Closes.Add(time.Hour)
	d.want(Done, SetTimes{Operation: d.by(), Product: "pi", Closes: closes, KeepOpens: true})
	if s := d.sale(); s.State != SaleUpcoming || !s.Opens.Equal(o.Opens) || !s.Closes.Equal(closes) {
		t.Errorf("%v to %v: %v", s.Opens, s.Closes, s.State)
	}
	d.want(Done, SetTimes{Operation: d.by(), Product: "pi", Opens: start, KeepCloses: true})
	if s := d.sale(); s.State != SaleInStock || !s.Closes.Equal(closes) {
		t.Errorf("%v to %v: %v", s.Opens, s.Closes, s.State)
	}
	d.want(Malformed, SetTimes{Operation: d.by(), Product: "pi", Opens: closes.Add(time.Hour), KeepCloses: true})
	d.want(Done, SetTimes{Operation: d.by(), Product: "pi", KeepOpens: true}) // no close: it stays open
	if s := d.sale(); !s.Closes.IsZero() || !s.Opens.Equal(start) {
		t.Errorf("%v to %v", s.Opens, s.Closes)
	}
}

func TestRetireSale(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	c := d.newOrder(1, KindOrder).of(2)
	d.want(Placed, c)
	d.want(Placed, d.newOrder(2, KindOrder))
	waits := d.newOrder(3, KindWaiting)
	d.want(Placed, waits)
	d.want(NotClosed, RetireSale{d.by(), "pi", false})
	d.want(Done, CloseSale{d.by(), "pi"})
	if a := d.want(NotClosed, RetireSale{d.by(), "pi", false}); a.Count != 1 {
		t.Errorf("%d are open", a.Count)
	}
	d.want(Done, Cancel{ID: waits.ID})
	d.want(Done, RetireSale{d.by(), "pi", false})
	d.want(AlreadyDone, RetireSale{d.by(), "pi", false})
	if len(d.book.Sales()) != 0 || len(d.book.RetiredSales()) != 1 || !d.sale().Retired || d.order(c.ID).State != StateOpen {
		t.Error("it is not hidden, or its orders are gone")
	}
	d.want(Closed, d.newOrder(5, KindOrder))
	d.want(AlreadyDone, c)
	d.want(TooLate, OpenSale{d.by(), "pi"})
	d.want(AlreadyDone, d.someOffer())
	d.want(Done, MarkSent{d.by(), c.ID, "DHL"})
	d.want(Done, ReturnOrder{d.by(), c.ID, true, ""})
	d.recount()
	next := openBook(t)
	if err := next.Restore(bytes.NewReader(dump(t, d.book))); err != nil {
		t.Fatal(err)
	}
	if len(next.Sales()) != 0 {
		t.Error("a restored book shows it")
	}
	d.want(Done, RetireSale{d.by(), "pi", true})
	if s := d.sale(); s.State != SaleClosed || len(d.book.Sales()) != 1 {
		t.Errorf("it comes back as %v", s.State)
	}
	d.want(Done, OpenSale{d.by(), "pi"})
	d.want(Placed, d.newOrder(6, KindOrder))
	d.recount()
}

func TestReviseOffer(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Webhook, o.Mail, o.Stock = false, false, 50
	d.want(Done, o)
	first := d.newOrder(1, KindOrder).of(2)
	d.want(Placed, first)
	s := d.sale()
	if list := Differences(&o, &s); len(list) != 0 {
		t.Errorf("a fresh sale differs: %v", list)
	}
	changed := o
	changed.Price, changed.Limit, changed.Webhook, changed.Mode, changed.Closes = 40_00, 1, true, Interest, start.Add(time.Hour)
	changed.Countries = []Country{{Code: "DE", Shipping: 8_00, Tax: 19_00}}
	var fields Revised
	for _, diff := range Differences(&changed, &s) {
		if (diff.Revise == 0) != (diff.Field == "mode") {
			t.Errorf("%+v", diff)
		}
		fields |= diff.Revise
	}
	if fields != RevisePrice|ReviseCountries|ReviseLimit|ReviseWebhook {
		t.Errorf("fields %b", fields)
	}
	r := RevisionFor(&changed, fields)
	r.Operation = d.by()
	if a := d.want(Done, r); a.Count != 4 {
		t.Errorf("%d changes", a.Count)
	}
	r.Operation = d.by()
	d.want(AlreadyDone, r)
	d.want(PriceChanged, d.newOrder(2, KindOrder))
	later := d.newOrder(2, KindOrder)
	later.Total = 57_12
	d.want(Placed, later)
	if got := d.order(later.ID).Split; got != (Split{Price: 40_00, Shipping: 8_00, Tax: 9_12, Total: 57_12, TaxRate: 19_00}) {
		t.Errorf("%+v", got)
	}
	if got := d.order(first.ID); got.Total != 78_00 || got.Split.Tax != 0 || got.State != StateOpen {
		t.Errorf("an order from before changed: %+v", got)
	}
	more := d.newOrder(1, KindOrder)
	more.Total, more.InAddition = 57_12, true
	d.want(Differs, more)
	d.recount()

	// Orders from before the webhook get their job only when they are handed over.
	jobs := func() int {
		list, err := d.book.Outbox(QueueWebhook, d.now.Add(time.Hour), Job{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if n := jobs(); n != 1 {
		t.Errorf("%d jobs", n)
	}
	d.want(Done, HandOver{d.by(), "pi"})
	d.ticks()
	if n := jobs(); n != 2 {
		t.Errorf("%d jobs after the hand-over", n)
	}
	d.recount()
}

// A retention time that is configured later holds for orders from before, and a longer one too.
func TestRetentionFollowsTheConfiguration(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	old, kept := d.newOrder(1, KindOrder), d.newOrder(2, KindOrder)
	d.want(Placed, old)
	d.want(Placed, kept)
	d.want(Done, Cancel{ID: old.ID})
	retain := func(of time.Duration) {
		d.want(Done, ReviseOffer{Operation: d.by(), Product: "pi", Fields: ReviseRetain, Retain: of})
		d.ticks()
	}
	retain(time.Hour)
	retain(2 * time.Hour)
	d.now = d.now.Add(90 * time.Minute)
	d.ticks()
	d.wantStates("too early", []ID{old.ID, kept.ID}, StateCancelled, StateOpen)
	d.now = d.now.Add(30 * time.Minute)
	d.ticks()
	d.wantStates("in time", []ID{old.ID, kept.ID}, StateErased, StateOpen)
	d.recount()
}

func TestMarkSentAndReturn(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.autoOffer())
	a, b := d.newOrder(1, KindOrder), d.newOrder(2, KindOrder).of(2)
	d.want(Placed, a)
	d.want(Placed, b)
	waits := d.newOrder(3, KindWaiting)
	d.want(Placed, waits)
	kinds := func(q Queue) (list []JobKind) {
		jobs, err := d.book.Outbox(q, d.now.Add(24*time.Hour), Job{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			list = append(list, j.Kind)
		}
		return list
	}
	d.want(TooLate, ReturnOrder{d.by(), a.ID, true, ""})
	d.want(TooLate, MarkSent{d.by(), waits.ID, ""})
	d.want(Done, MarkSent{d.by(), a.ID, "DHL 1"})
	d.want(AlreadyDone, MarkSent{d.by(), a.ID, ""})
	d.want(Done, MarkSent{d.by(), a.ID, "DHL 2"})
	if got := d.order(a.ID); got.State != StateFulfilled || got.Note != "DHL 2" || got.HandedOver {
		t.Errorf("%+v", got)
	}
	d.want(Done, MarkSent{d.by(), b.ID, ""})
	if got := kinds(QueueWebhook); len(got) != 0 {
		t.Errorf("webhook jobs of sent orders: %v", got)
	}
	d.want(Done, ReturnOrder{d.by(), b.ID, false, "broken"})
	d.want(AlreadyDone, ReturnOrder{d.by(), b.ID, true, ""})
	if s := d.sale(); s.Stock != 1 || s.Sold != 1 || s.Free != 0 {
		t.Errorf("written off: %+v", s)
	}
	d.want(Done, ReturnOrder{d.by(), a.ID, true, "does not fit"})
	d.ticks()
	d.wantStates("returned to the next person", []ID{a.ID, b.ID, waits.ID}, StateReturned, StateReturned, StateInvited)
	if got := kinds(QueueWebhook); !slices.Equal(got, []JobKind{JobReturned, JobReturned}) {
		t.Errorf("webhook jobs %v", got)
	}
	if got := kinds(QueueMail); !slices.Contains(got, JobMailReturned) || !slices.Contains(got, JobMailInvited) {
		t.Errorf("mail jobs %v", got)
	}
	if o := d.order(a.ID); !o.Restocked || o.Cancellable() {
		t.Errorf("%+v", o)
	}
	d.want(TooLate, Cancel{ID: a.ID, By: d.by()})
	d.want(Placed, d.newOrder(1, KindWaiting)) // the limit counts it no more
	d.want(Done, Erase{Operation: d.by(), ID: a.ID})
	d.recount()
}

// Many people order, wait, cancel and accept while the stock is near zero. After the Ticks no unit is
// free that anybody who waits could have, none is sold twice, and everything adds up.
func TestNoUnitIsStuckUnderLoad(t *testing.T) {
	people := 3000
	if testing.Short() {
		people = 300
	}
	for _, mode := range []Mode{FirstCome, Ballot} {
		t.Run(mode.String(), func(t *testing.T) {
			d := newTestBook(t)
			o := d.autoOffer()
			o.Stock, o.Limit = 5, 3
			if mode == Ballot {
				o.Mode, o.Closes, o.Secret = Ballot, start.Add(time.Hour), [32]byte{5}
			}
			d.want(Done, o)
			random := rand.New(rand.NewPCG(1, uint64(mode)))
			if mode == Ballot {
				for n := range people {
					d.want(Placed, d.newOrder(n, KindEntry).of(1+random.IntN(3)))
				}
				d.now = o.Closes
				d.ticks()
			}
			var placed []ID
			for n := range people {
				kind := KindWaiting
				if mode == FirstCome && random.IntN(2) == 0 {
					kind = KindOrder
				}
				c := d.newOrder(people+n%(people/2), kind).of(1 + random.IntN(3))
				if d.do(c).Outcome == Placed {
					placed = append(placed, c.ID)
				}
				switch random.IntN(6) {
				case 0:
					if len(placed) > 0 {
						d.do(Cancel{ID: placed[random.IntN(len(placed))]})
					}
				case 1:
					d.do(Stock{d.by(), "pi", int64(1 + random.IntN(2))})
				case 2:
					d.now = d.now.Add(20 * time.Minute)
				}
				d.ticks()
				s := d.sale()
				if s.Free > 0 && s.Stuck() != "" && s.Stuck() != StuckTooFew {
					t.Fatalf("free %d, waiting %d, stuck %q", s.Free, s.Waiting, s.Stuck())
				}
			}
			d.recount()
			s := d.sale()
			waiting, _, err := d.book.Orders(Filter{Kind: KindWaiting, State: StateOpen}, 0, MaxPage)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range waiting {
				if int64(w.Quantity) <= s.Free {
					t.Errorf("%d are free, and %v waits for %d", s.Free, w.ID, w.Quantity)
				}
			}
		})
	}
}

// The note of a returned order keeps how it was sent, and its reason can be told from that.
func TestNoteOfReturn(t *testing.T) {
	long := strings.Repeat("x", MaxText)
	for _, tt := range []struct{ before, reason, note, want string }{
		{"", "", "", ""},
		{"", "broken", "broken", "broken"},
		{"DHL 1", "", "DHL 1; returned", ""},
		{"DHL 1", "broken", "DHL 1; returned: broken", "broken"},
		{"DHL 1", long, long, long},
		{long, "", long, long},
	} {
		o := Order{State: StateReturned, Note: noteOfReturn(tt.before, tt.reason)}
		if o.Note != tt.note || o.Reason() != tt.want {
			t.Errorf("%q, %q: %q, reason %q", tt.before, tt.reason, o.Note, o.Reason())
		}
	}
}
