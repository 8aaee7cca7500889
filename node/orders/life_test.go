package orders

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"bramble/node/orders/draw"
)

func TestCancelReturnsUnits(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	a := d.newOrder(1, KindOrder).of(2)
	d.want(Placed, a)
	if s := d.sale(); s.Sold != 2 || s.Free != 1 {
		t.Fatalf("sold %d, free %d", s.Sold, s.Free)
	}
	d.want(Done, Cancel{ID: a.ID})
	d.want(AlreadyDone, Cancel{ID: a.ID})
	d.want(NoOrder, Cancel{ID: 5})
	if s := d.sale(); s.Sold != 0 || s.Free != 3 {
		t.Fatalf("sold %d, free %d", s.Sold, s.Free)
	}
	if p := d.order(a.ID); p.State != StateCancelled {
		t.Fatalf("state %v", p.State)
	}
	d.recount()
}

func TestFulfilment(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	a := d.newOrder(1, KindOrder)
	d.want(Placed, a)
	jobs := func(q Queue) []Job {
		list, err := d.book.Outbox(q, d.now, Job{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if mail := jobs(QueueMail); len(mail) != 1 || mail[0].Kind != JobMailPlaced || mail[0].Order.ID != a.ID {
		t.Fatalf("mail %v", mail)
	}
	if got := jobs(QueueWebhook); len(got) != 0 {
		t.Fatal("the webhook is due at once")
	}
	d.now = d.now.Add(time.Hour)
	if got := jobs(QueueWebhook); len(got) != 1 || !got[0].Since.Equal(d.now) {
		t.Fatalf("webhook %v", got)
	}
	d.want(Done, FinishMail{a.ID, JobMailPlaced})
	d.want(AlreadyDone, FinishMail{a.ID, JobMailPlaced})
	d.want(Done, BeginFulfilment{a.ID})
	d.want(AlreadyDone, BeginFulfilment{a.ID})
	d.want(TooLate, Cancel{ID: a.ID})
	if got := jobs(QueueWebhook); len(got) != 1 {
		t.Fatal("the webhook job is gone before it is done")
	}
	d.want(Done, FinishFulfilment{a.ID, "webhook"})
	d.want(TooLate, Cancel{ID: a.ID, By: d.by()})
	if len(jobs(QueueWebhook))+len(jobs(QueueMail)) != 0 {
		t.Fatal("jobs are left")
	}
	// An operator may cancel what is on its way, and the job goes with it.
	b := d.newOrder(2, KindOrder)
	d.want(Placed, b)
	d.want(Done, BeginFulfilment{b.ID})
	d.want(Done, Cancel{ID: b.ID, By: d.by(), Reason: "parcel lost"})
	d.now = d.now.Add(time.Hour)
	if got := jobs(QueueWebhook); len(got) != 1 || got[0].Kind != JobCancelled || !got[0].Order.HandedOver {
		t.Fatalf("a cancelled order is fulfilled, or the fulfiller is not told: %v", got)
	}
	d.want(Done, FinishWebhook{b.ID, JobCancelled})
	d.want(AlreadyDone, FinishWebhook{b.ID, JobCancelled})
	d.want(TooLate, BeginFulfilment{b.ID})
	d.recount()
}

func TestOutboxPages(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	for n := range 3 {
		d.want(Placed, d.newOrder(n, KindOrder))
	}
	var after Job
	for n := range 3 {
		jobs, err := d.book.Outbox(QueueMail, d.now, after, 1)
		if err != nil || len(jobs) != 1 || jobs[0].Order.Number != uint64(n+1) {
			t.Fatalf("job %d: %v %v", n, jobs, err)
		}
		after = jobs[0]
	}
	if jobs, _ := d.book.Outbox(QueueMail, d.now, after, 1); len(jobs) != 0 {
		t.Fatal("there is a fourth job")
	}
}

func TestInvitations(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	d.want(Placed, d.newOrder(90, KindOrder).of(2))
	d.want(Placed, d.newOrder(91, KindOrder))
	var placed []ID
	for n := range 5 {
		a := d.want(Placed, d.newOrder(n, KindWaiting))
		if a.Position != n+1 {
			t.Fatalf("position %d, want %d", a.Position, n+1)
		}
		placed = append(placed, a.Order)
	}
	d.want(Done, Cancel{ID: placed[1]})
	if place, of, err := d.book.Position(placed[2]); place != 2 || of != 4 || err != nil {
		t.Fatalf("place %d of %d, %v", place, of, err)
	}
	if _, _, err := d.book.Position(placed[1]); !errors.Is(err, ErrNotQueued) {
		t.Fatalf("a person who left has a position: %v", err)
	}
	until := d.now.Add(time.Hour)
	if a := d.want(Done, Invite{d.by(), "pi", 10, until}); a.Count != 0 {
		t.Fatal("somebody was invited without stock")
	}
	d.want(Done, Stock{d.by(), "pi", 2})
	if a := d.want(Done, Invite{d.by(), "pi", 10, until}); a.Count != 2 || a.Remaining != 0 {
		t.Fatalf("invited %d, left %d", a.Count, a.Remaining)
	}
	if s := d.sale(); s.Held != 2 || s.Free != 0 || s.Waiting != 2 || s.State != SaleSoldOut {
		t.Fatalf("%+v", s)
	}
	// Somebody who knows the person cannot have it, and somebody who has the link cannot have it sent elsewhere.
	d.want(SoldOut, d.newOrder(0, KindOrder))
	accept := func(n int, id ID) PlaceOrder { c := d.newOrder(n, KindOrder); c.ID = id; return c }
	thief := accept(0, placed[0])
	thief.Person.Line1 = "1 Elsewhere"
	d.want(Differs, thief)
	if a := d.want(Placed, accept(0, placed[0])); a.Order != placed[0] {
		t.Fatalf("accepting made another order")
	}
	d.want(AlreadyDone, accept(0, placed[0]))
	if at, ok := d.book.Due(); !ok || !at.Equal(until) {
		t.Fatalf("due %v %v", at, ok)
	}
	d.now = until
	d.want(TooLate, accept(2, placed[2])) // its hour is over, with or without a Tick
	d.ticks()
	if p := d.order(placed[2]); p.State != StateExpired {
		t.Fatalf("state %v", p.State)
	}
	if s := d.sale(); s.Held != 0 || s.Free != 1 || s.Sold != 4 {
		t.Fatalf("%+v", s)
	}
	d.recount()
}

func TestOpensAndClosesByTheClock(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Opens, o.Closes = start.Add(time.Minute), start.Add(time.Hour)
	d.want(Done, o)
	for _, step := range []struct {
		due   time.Time
		state SaleState
	}{{o.Opens, SaleUpcoming}, {o.Closes, SaleInStock}} {
		at, ok := d.book.Due()
		if s := d.sale(); !ok || !at.Equal(step.due) || s.State != step.state {
			t.Fatalf("due %v %v, state %v", at, ok, s.State)
		}
		before := d.sale().Version
		d.now = at
		d.want(Done, Tick{})
		if d.sale().Version == before {
			t.Fatal("the version stands still")
		}
	}
	if _, ok := d.book.Due(); ok || d.sale().State != SaleClosed {
		t.Fatalf("state %v, due %v", d.sale().State, ok)
	}
	d.want(Done, OpenSale{d.by(), "pi"})
	if s := d.sale(); s.State != SaleInStock || !s.Closes.IsZero() {
		t.Fatalf("state %v", s.State)
	}
	d.want(Done, SetTimes{Operation: d.by(), Product: "pi", Opens: d.now.Add(time.Minute), Closes: time.Time{}})
	if s := d.sale(); s.State != SaleUpcoming {
		t.Fatalf("state %v", s.State)
	}
}

func TestBallot(t *testing.T) {
	const dice = "36115246613611524661"
	for _, wanted := range []draw.Kind{draw.None, draw.Dice} {
		t.Run("public "+string(wanted), func(t *testing.T) {
			d := newTestBook(t)
			o := d.ballotOffer()
			o.PublicKind = wanted
			o.Stock = 300
			d.want(Done, o)
			const entries = 700 // more than two Ticks' work
			var cancelled ID
			for n := range entries {
				a := d.want(Placed, d.newOrder(n, KindEntry).of(1+n%2))
				if n == 7 {
					cancelled = a.Order
				}
			}
			d.want(Done, Cancel{ID: cancelled})
			d.want(Differs, d.newOrder(8, KindEntry))
			d.want(WrongKind, d.newOrder(entries, KindWaiting))
			if f, err := d.book.Draw("pi"); err != nil || f.List != "" || len(f.Entries) > 0 || f.Secret != "" || !errors.Is(draw.Verify(f), draw.ErrUndrawn) {
				t.Fatalf("before the close: %+v, %v", f, err)
			}
			if wanted == draw.Dice {
				d.want(NotOpen, MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Dice, Text: dice}})
			}
			d.now = o.Closes
			d.want(Closed, d.newOrder(entries, KindEntry))
			d.want(TooLate, Stock{d.by(), "pi", 1})
			if wanted == draw.Dice {
				d.want(NotOpen, MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Dice, Text: dice}})
			}
			d.ticks()
			if wanted == draw.Dice {
				if s := d.sale(); s.State != SaleDrawing || !s.Draw.Listed.Equal(d.now) {
					t.Fatalf("state %v, listed %v", s.State, s.Draw.Listed)
				}
				if f, err := d.book.Draw("pi"); err != nil || len(f.Entries) != entries-1 || f.Secret != "" || !errors.Is(draw.Verify(f), draw.ErrUndrawn) {
					t.Fatalf("before the dice: %+v, %v", f, err)
				}
				d.want(Malformed, MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Drand, Text: drandText}})
				d.want(Done, MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Dice, Text: dice}})
				d.want(AlreadyDone, MakeDraw{d.by(), "pi", draw.Public{Kind: draw.Dice, Text: dice}})
				d.ticks()
			}
			checkDrawn(t, d, entries-1)
		})
	}
}

var drandText = fmt.Sprintf("drand quicknet 123 %096x", 7)

func checkDrawn(t *testing.T, d *testBook, entries int) {
	t.Helper()
	s := d.sale()
	if s.State != SaleDrawn || s.Sold != 300 || s.Entries != entries {
		t.Fatalf("%+v", s)
	}
	f, err := d.book.Draw("pi")
	if err != nil {
		t.Fatal(err)
	}
	if err := draw.Verify(f); err != nil {
		t.Fatal(err)
	}
	if f.Commitment != s.Draw.Commitment || len(f.Entries) != entries || len(f.Winners) != s.Draw.Winners {
		t.Fatalf("the file has %d entries, %d winners", len(f.Entries), len(f.Winners))
	}
	won := map[string]bool{}
	for _, ref := range f.Winners {
		won[ref] = true
	}
	placed, _, err := d.book.Orders(Filter{Kind: KindEntry}, 0, MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range placed {
		want := StateLost
		if won[p.ID.String()] {
			want = StateWon
		}
		if p.State != want && p.State != StateCancelled {
			t.Fatalf("order %v is %v, the draw says %v", p.ID, p.State, want)
		}
	}
	d.recount()
}

func TestErase(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Stock = 100
	o.LimitByAddress = true
	d.want(Done, o)
	open := d.newOrder(1, KindOrder)
	d.want(Placed, open)
	done := d.newOrder(1, KindOrder)
	done.InAddition = true
	d.want(Placed, done)
	d.want(Done, FinishFulfilment{done.ID, "by hand"})
	gone := d.newOrder(2, KindOrder)
	d.want(Placed, gone)
	d.want(Done, Cancel{ID: gone.ID})
	c := Erase{Operation: d.by(), Email: "person1@Example.org"}
	if a := d.want(Done, c); a.Count != 2 || a.Remaining != 0 {
		t.Fatalf("%+v", a)
	}
	if a := d.want(Done, c); a.Count != 2 {
		t.Fatalf("the same command again: %+v", a)
	}
	d.want(Done, Erase{Operation: d.by(), ID: gone.ID})
	d.want(AlreadyDone, Erase{Operation: d.by(), ID: gone.ID})
	if n := d.book.Erasures(); n != 3 {
		t.Fatalf("%d erasures, want 3", n)
	}
	if p := d.order(open.ID); p.State != StateErased || p.Was != StateCancelled || p.Person != (Person{}) {
		t.Fatalf("%+v", p)
	}
	if s := d.sale(); s.Sold != 1 || s.Free != 99 {
		t.Fatalf("sold %d, free %d", s.Sold, s.Free)
	}
	for _, word := range []string{"erson1", "Person 1", "edgerow", "erson2"} {
		if bytes.Contains(dump(t, d.book), []byte(word)) {
			t.Errorf("the snapshot still has %q", word)
		}
	}
	d.want(Placed, d.newOrder(1, KindOrder)) // a stranger again
	d.recount()
}

func TestRetention(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Retain = 24 * time.Hour
	d.want(Done, o)
	a, b := d.newOrder(1, KindOrder), d.newOrder(2, KindOrder)
	d.want(Placed, a)
	d.want(Placed, b)
	d.now = d.now.Add(time.Hour)
	d.want(Done, FinishFulfilment{a.ID, "by hand"})
	at, ok := d.book.Due()
	if want := d.now.Add(o.Retain); !ok || !at.Equal(want) {
		t.Fatalf("due %v, want %v", at, want)
	}
	d.now = at
	d.ticks()
	if p := d.order(a.ID); p.State != StateErased || p.Was != StateFulfilled {
		t.Fatalf("%v, was %v", p.State, p.Was)
	}
	if p := d.order(b.ID); p.State != StateOpen || p.Person == (Person{}) {
		t.Fatal("an open order lost its person")
	}
	d.recount()
}

func TestOperatorCommandsAreIdempotent(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.someOffer())
	c := Stock{d.by(), "pi", 5}
	d.want(Done, c)
	d.want(Done, c)
	if s := d.sale(); s.Stock != 8 {
		t.Fatalf("stock %d, want 8", s.Stock)
	}
	d.want(IDInUse, Stock{c.Operation, "pi", 6})
	if a := d.want(NotEnough, Stock{d.by(), "pi", -9}); a.Remaining != 8 {
		t.Fatalf("left %d", a.Remaining)
	}
	d.want(AlreadyDone, d.someOffer())
	d.want(NoSuchSale, Stock{d.by(), "other", 1})
	d.want(Done, Announce{d.by(), "We are open."})
	trail, err := d.book.Audit(0, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"offer pi: 3 units, first-come, opens 2012-02-29T06:00:00Z, closes never",
		"stock pi: +5", "stock pi: -9 (refused: not_enough)", "announce: We are open.",
	}
	if len(trail) != len(want) {
		t.Fatalf("trail %v", trail)
	}
	for i, c := range trail {
		if c.Action != want[i] || c.Operator != "Ada" || !c.At.Equal(start) || c.Number != uint64(i+1) {
			t.Errorf("trail %d: %+v, want %q", i, c, want[i])
		}
	}
	if rest, _ := d.book.Audit(3, 10); len(rest) != 1 {
		t.Errorf("after 3 there are %d", len(rest))
	}
}

func TestNewsIsBounded(t *testing.T) {
	d := newTestBook(t)
	for n := range MaxNews + 5 {
		d.want(Done, Announce{d.by(), fmt.Sprintf("Sentence %d.", n)})
	}
	news := d.book.News()
	if len(news) != MaxNews || news[0].Text != "Sentence 24." || news[MaxNews-1].Text != "Sentence 5." {
		t.Fatalf("%d: %v", len(news), news)
	}
	d.want(Done, Announce{d.by(), ""})
	if len(d.book.News()) != 0 {
		t.Fatal("news are left")
	}
}
