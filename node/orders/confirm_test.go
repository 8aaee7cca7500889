package orders

import (
	"bytes"
	"testing"
	"time"
)

// newConfirmBook is a book with a sale of 10 units in which orders are confirmed within 30 minutes.
func newConfirmBook(t *testing.T, change func(*Offer)) *testBook {
	d := newTestBook(t)
	o := d.someOffer()
	o.Stock, o.Confirm, o.Limit, o.Retain = 10, 30*time.Minute, 1, time.Hour
	if change != nil {
		change(&o)
	}
	d.want(Done, o)
	return d
}

// wantCounts checks a sale's units.
func (t *testBook) wantCounts(what string, sold, held, free int64) {
	t.t.Helper()
	if s := t.sale(); s.Sold != sold || s.Held != held || s.Free != free {
		t.t.Errorf("%s: sold %d, held %d, free %d; want %d, %d, %d", what, s.Sold, s.Held, s.Free, sold, held, free)
	}
	t.recount()
}

func TestUnitsOfAnUnconfirmedOrderReturn(t *testing.T) {
	d := newConfirmBook(t, nil)
	c := d.newOrder(1, KindOrder)
	d.want(Placed, c)
	d.want(AlreadyDone, c) // pressed again
	d.wantCounts("unconfirmed", 0, 1, 9)
	if at, ok := d.book.Due(); !ok || !at.Equal(d.now.Add(30*time.Minute)) {
		t.Errorf("due %v, %v", at, ok)
	}
	d.want(TooLate, BeginFulfilment{c.ID})
	d.want(TooLate, MarkSent{d.by(), c.ID, ""})
	d.now = d.now.Add(30 * time.Minute)
	d.want(TooLate, Confirm{c.ID}) // with or without a Tick
	d.ticks()
	d.wantCounts("expired", 0, 0, 10)
	if o := d.order(c.ID); o.State != StateExpired || o.Note != NoteUnconfirmed {
		t.Errorf("%v, %q", o.State, o.Note)
	}
	d.want(TooLate, Confirm{c.ID})
	d.want(NoOrder, Confirm{12345})
	d.now = d.now.Add(time.Hour)
	d.ticks()
	if o := d.order(c.ID); o.State != StateErased {
		t.Errorf("the retention time leaves it %v", o.State)
	}
	d.wantCounts("erased", 0, 0, 10)
}

// Nobody keeps a person out by being first with their address, nor by sending more forms.
func TestNobodyIsLockedOut(t *testing.T) {
	for _, kind := range []Kind{KindOrder, KindEntry, KindInterest} {
		d := newConfirmBook(t, func(o *Offer) {
			o.LimitByAddress = true
			switch kind {
			case KindEntry:
				o.Mode, o.Secret, o.Closes = Ballot, [32]byte{1}, start.Add(time.Hour)
			case KindInterest:
				o.Mode = Interest
			}
		})
		stranger := func() PlaceOrder { c := d.newOrder(1, kind); c.Person.Line1 = "1 Elsewhere"; return c }
		first := stranger()
		d.want(Placed, first)
		own := d.newOrder(1, kind)
		d.want(Placed, own)
		d.want(Placed, stranger())
		last := stranger()
		d.want(Placed, last) // the oldest ends
		if o := d.order(first.ID); o.State != StateExpired {
			t.Errorf("%v: a fourth form leaves the first %v", kind, o.State)
		}
		d.want(Done, Confirm{own.ID})
		d.want(AlreadyDone, Confirm{own.ID})
		d.want(OverLimit, Confirm{last.ID})
		if o := d.order(last.ID); o.State != StateUnconfirmed {
			t.Errorf("%v: the stranger's page tells that the person has confirmed: %v", kind, o.State)
		}
		after := d.newOrder(1, kind)
		d.want(Placed, after)
		d.want(OverLimit, Confirm{after.ID})
		s := d.sale()
		if int(s.Sold)+s.Entries+s.Interested != 1 {
			t.Errorf("%v: sold %d, %d entries, %d interested", kind, s.Sold, s.Entries, s.Interested)
		}
		d.recount()
		restored := openBook(t)
		if err := restored.Restore(bytes.NewReader(dump(t, d.book))); err != nil {
			t.Fatal(err)
		}
		d.want(Done, Erase{Operation: d.by(), Email: "person1@example.org"})
		if s := d.sale(); s.Held != 0 {
			t.Errorf("%v: erasing leaves %d units held", kind, s.Held)
		}
		d.recount()
	}
}

// What is unconfirmed is in no draw and in no queue. An entry has until the close, also if that moves.
func TestOnlyConfirmedOrdersCount(t *testing.T) {
	d := newConfirmBook(t, func(o *Offer) {
		o.Mode, o.Secret, o.Closes, o.Stock = Ballot, [32]byte{1}, start.Add(time.Hour), 1
	})
	var entries []PlaceOrder
	for n := range 5 {
		entries = append(entries, d.newOrder(n, KindEntry))
		d.want(Placed, entries[n])
	}
	d.want(Done, SetTimes{Operation: d.by(), Product: "pi", Opens: start, Closes: start.Add(2 * time.Hour)})
	d.now = start.Add(90 * time.Minute)
	d.ticks()
	d.want(Done, Confirm{entries[3].ID})
	d.want(Done, Cancel{ID: entries[4].ID})
	d.now = start.Add(2 * time.Hour)
	d.want(TooLate, Confirm{entries[1].ID})
	d.ticks()
	f, err := d.book.Draw("pi")
	if err != nil || len(f.Entries) != 1 || d.order(entries[3].ID).State != StateWon || d.order(entries[0].ID).State != StateExpired {
		t.Errorf("%d entries, %v; %v", len(f.Entries), err, d.order(entries[0].ID).State)
	}
	waits := d.newOrder(9, KindWaiting)
	d.want(Placed, waits)
	d.want(Done, Stock{d.by(), "pi", 1})
	if a := d.want(Done, Invite{d.by(), "pi", 5, d.now.Add(time.Hour)}); a.Count != 0 || d.sale().Waiting != 0 {
		t.Errorf("%d people without confirmation are invited", a.Count)
	}
	d.want(Done, Confirm{waits.ID})
	if a := d.want(Done, Invite{d.by(), "pi", 5, d.now.Add(time.Hour)}); a.Count != 1 {
		t.Errorf("%d people are invited", a.Count)
	}
	d.recount()
	jobs, err := d.book.Outbox(QueueMail, d.now, Job{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if o := j.Order; o.ID == entries[4].ID || j.Kind == JobMailCancelled {
			t.Errorf("a mail %v about an entry that was withdrawn unconfirmed", j.Kind)
		}
	}
}

// Without mail nobody could confirm.
func TestConfirmationNeedsMail(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Confirm, o.Mail = time.Hour, false
	if err := Check(o); err == nil {
		t.Error("an offer with confirmation and without mail is accepted")
	}
	o.Mail = true
	d.want(Done, o)
	d.want(Done, ReviseOffer{Operation: d.by(), Product: "pi", Fields: ReviseMail})
	c := d.newOrder(1, KindOrder)
	d.want(Placed, c)
	if got := d.order(c.ID); got.State != StateOpen {
		t.Errorf("after an operator took the mail out an order is %v", got.State)
	}
	d.recount()
}
