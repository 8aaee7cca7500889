package orders

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
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

// Nobody keeps a person out by being first with their address, nor by sending any number of forms: none ends another, and
// the person's link shows them.
func TestNobodyIsLockedOut(t *testing.T) {
	for _, kind := range []Kind{KindOrder, KindEntry, KindInterest} {
		d := newConfirmBook(t, func(o *Offer) {
			o.LimitByAddress, o.Stock = true, 100
			switch kind {
			case KindEntry:
				o.Mode, o.Secret, o.Closes = Ballot, [32]byte{1}, start.Add(time.Hour)
			case KindInterest:
				o.Mode = Interest
			}
		})
		house := 0
		stranger := func() PlaceOrder {
			c := d.newOrder(1, kind)
			house++
			c.Person.Line1 = fmt.Sprint(house, " Elsewhere")
			return c
		}
		first := stranger()
		d.want(Placed, first)
		own := d.newOrder(1, kind)
		d.want(Placed, own)
		var last PlaceOrder
		for range 20 {
			last = stranger()
			d.want(Placed, last)
		}
		d.want(Placed, d.newOrder(2, kind)) // another person's
		for _, id := range []ID{first.ID, own.ID} {
			if o := d.order(id); o.State != StateUnconfirmed {
				t.Errorf("%v: 20 forms leave an earlier one %v", kind, o.State)
			}
		}
		live, waiting, err := d.book.OrdersOfMailbox(first.ID)
		if err != nil || len(live) != 0 || len(waiting) != MaxOfMailbox || waiting[0].ID != last.ID {
			t.Errorf("%v: behind the link are %d and %d orders, %v", kind, len(live), len(waiting), err)
		}
		d.want(Done, Confirm{own.ID})
		if !d.order(own.ID).Confirmed || d.order(first.ID).Confirmed {
			t.Errorf("%v: what is confirmed is not the mailbox's", kind)
		}
		d.want(AlreadyDone, Confirm{own.ID})
		d.want(OverLimit, Confirm{last.ID})
		if o := d.order(last.ID); o.State != StateUnconfirmed {
			t.Errorf("%v: the stranger's page tells that the person has confirmed: %v", kind, o.State)
		}
		if live, _, err = d.book.OrdersOfMailbox(first.ID); err != nil || len(live) != 1 || live[0].ID != own.ID {
			t.Errorf("%v: behind the link: %v, %v", kind, live, err)
		}
		if s := d.sale(); int(s.Sold)+s.Entries+s.Interested != 1 {
			t.Errorf("%v: sold %d, %d entries, %d interested", kind, s.Sold, s.Entries, s.Interested)
		}
		d.recount()
		restored := openBook(t)
		if err := restored.Restore(bytes.NewReader(dump(t, d.book))); err != nil {
			t.Fatal(err)
		}
		d.want(Done, Erase{Operation: d.by(), Email: "person1@example.org"})
		if _, _, err := d.book.OrdersOfMailbox(first.ID); !errors.Is(err, ErrNoOrder) {
			t.Errorf("%v: an erased person's link: %v", kind, err)
		}
		d.recount()
	}
}

// Forms with a person's address cause three mails an hour with a link, and those about orders come besides. Whoever sends
// and withdraws forms takes none away.
func TestOneLinkIsEnough(t *testing.T) {
	d := newConfirmBook(t, func(o *Offer) { o.Stock, o.Limit = 1000, 3 })
	p := newPostman(d)
	for n := range 120 {
		c := d.newOrder(1, KindOrder)
		d.want(Placed, c)
		if n%2 == 0 {
			d.want(Done, Cancel{ID: c.ID})
		}
		p.wait(1)
		if n == 0 && p.last[c.ID] != JobMailConfirm {
			t.Error("withdrawing the form took the link away")
		}
	}
	if n := len(p.sent["person1@example.org"]); n != 6 {
		t.Errorf("%d mails in two hours, want 6", n)
	}
	own := d.newOrder(1, KindOrder)
	d.want(Placed, own)
	d.want(Done, Confirm{own.ID})
	p.wait(1)
	if p.last[own.ID] != JobMailPlaced {
		t.Errorf("the order's mail is %v", p.last[own.ID])
	}
	d.now = d.now.Add(-100 * time.Hour) // an operator sets the clock back
	again := d.newOrder(1, KindOrder)
	again.Product = "pi"
	d.want(NotOpen, again)
	d.recount()
}

// All mails with links together keep a pace, and each form's time begins with its mail.
func TestLinksKeepAPace(t *testing.T) {
	d := newConfirmBook(t, func(o *Offer) { o.Stock = 1000 })
	var last PlaceOrder
	for n := range 601 {
		last = d.newOrder(n, KindOrder)
		d.want(Placed, last)
	}
	if o := d.order(last.ID); !o.Until.Equal(start.Add(31 * time.Minute)) {
		t.Errorf("the last one ends at %v", o.Until)
	}
	p := newPostman(d)
	for d.now.Before(start.Add(59 * time.Second)) {
		p.send()
		d.now = d.now.Add(time.Second)
	}
	if p.send(); len(p.sent) != 591 {
		t.Errorf("%d mails are due in the first 59 seconds", len(p.sent))
	}
	p.wait(1)
	if len(p.sent) != 601 || d.book.WaitingForms() != 0 {
		t.Errorf("%d mails after a minute, %d wait", len(p.sent), d.book.WaitingForms())
	}
	d.recount()
}

// Unconfirmed orders hold at most as much as is free besides, and one whose sender has enough holds nothing: it
// gets what is free when it is confirmed. Whose address it has does not matter.
func TestHeldUnitsAreBounded(t *testing.T) {
	d := newConfirmBook(t, nil)
	for n := range 20 {
		d.want(Placed, d.newOrder(n%2, KindOrder))
	}
	d.wantCounts("20 forms", 0, 5, 5)
	for n := range 5 {
		c := d.newOrder(10+n, KindOrder)
		c.Unheld = true
		d.want(Placed, c)
		if !d.order(c.ID).Unheld {
			t.Fatal("it holds units")
		}
		d.want(Done, Confirm{c.ID})
	}
	d.wantCounts("five confirmed", 5, 5, 0)
	d.want(SoldOut, d.newOrder(30, KindOrder))
	d.now = d.now.Add(31 * time.Minute)
	d.ticks()
	d.wantCounts("expired", 5, 0, 5)
	late := d.newOrder(40, KindOrder)
	late.Unheld = true
	d.want(Placed, late)
	d.want(Done, Stock{d.by(), "pi", -5})
	d.want(SoldOut, Confirm{late.ID})
	d.want(Done, Stock{d.by(), "pi", 1})
	d.want(Done, CloseSale{d.by(), "pi"})
	d.want(SoldOut, Confirm{late.ID})
	d.want(Done, OpenSale{d.by(), "pi"})
	d.want(Done, Confirm{late.ID})
	d.wantCounts("the last", 6, 0, 0)
}

// A stranger who confirms an order to somebody's street does not keep that person out: both count and are marked. The
// limit of the e-mail address stays.
func TestANeighbourIsMarkedAndNotRefused(t *testing.T) {
	d := newConfirmBook(t, func(o *Offer) { o.LimitByAddress = true })
	var ids []ID
	for n := range 3 {
		c := d.newOrder(n, KindOrder)
		c.Person.Line1 = "5 Victoria Road"
		d.want(Placed, c)
		d.want(Done, Confirm{c.ID})
		ids = append(ids, c.ID)
	}
	for n, want := range []ID{ids[1], ids[0], ids[0]} {
		if got := d.order(ids[n]).SameAddress; got != want {
			t.Errorf("order %d is marked with %v, want %v", n, got, want)
		}
	}
	again := d.newOrder(1, KindOrder)
	d.want(Placed, again)
	d.want(OverLimit, Confirm{again.ID})
	alone := d.newOrder(9, KindOrder)
	d.want(Placed, alone)
	d.want(Done, Confirm{alone.ID})
	if d.order(alone.ID).SameAddress != 0 {
		t.Error("an order of its own address is marked")
	}
	d.recount()
	restored := openBook(t)
	if err := restored.Restore(bytes.NewReader(dump(t, d.book))); err != nil {
		t.Fatal(err)
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
		if j.Kind == JobMailCancelled {
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

// likeVera are addresses that the limit takes for one, and that can be mailboxes of others.
func likeVera() [][2]string {
	const vera, fin = "vera@corp.example", "fin@corp.example"
	return [][2]string{{vera, "vera+bounce@corp.example"}, {vera, "Vera@corp.example"}, {vera, "\uff56era@corp.example"},
		{"sam@corp.example", "\u017fam@corp.example"}, {fin, "\ufb01n@corp.example"}, {vera, "ve\u200bra@corp.example"},
		{"jo.e@gmail.com", "joe@gmail.com"}, {"joe@gmail.com", "joe@googlemail.com"}}
}

// Only mails to exactly an address keep another one to it back, and its link shows and confirms only what was sent
// with exactly that address. The limit is one for all of them.
func TestAMailboxIsExact(t *testing.T) {
	for _, pair := range likeVera() {
		t.Run(pair[1], func(t *testing.T) {
			d := newConfirmBook(t, func(o *Offer) { o.Stock = 1000 })
			form := func(email string) PlaceOrder {
				c := d.newOrder(1, KindOrder)
				c.Person.Email = email
				d.want(Placed, c)
				return c
			}
			p := newPostman(d)
			var others []PlaceOrder
			for range 2 * maxMailboxScan { // they do not push the own one off its page
				others = append(others, form(pair[1]))
			}
			own := form(pair[0])
			for range maxMailboxScan {
				others = append(others, form(pair[1]))
			}
			form(strings.ReplaceAll(pair[0], ".example", ".Example"))
			p.wait(1)
			if p.last[own.ID] != JobMailConfirm || len(p.sent[pair[0]]) != 1 || len(p.sent[pair[1]]) != 1 {
				t.Fatalf("%q: %d mails to %q and %d to the other", pair, len(p.sent[pair[0]]), pair[0], len(p.sent[pair[1]]))
			}
			for n, id := range []ID{own.ID, others[0].ID} {
				_, waiting, err := d.book.OrdersOfMailbox(id)
				for _, o := range waiting {
					if !strings.EqualFold(o.Person.Email, pair[n]) || n == 1 && o.Person.Email != pair[1] {
						t.Errorf("%q: the link of %q shows a form of %q", pair, pair[n], o.Person.Email)
					}
				}
				if err != nil || len(waiting) != 1 {
					t.Errorf("%q: behind the link of %q are %d forms, %v", pair, pair[n], len(waiting), err)
				}
			}
			d.want(Done, Confirm{others[0].ID})
			d.want(OverLimit, Confirm{own.ID})
			if live, _, err := d.book.OrdersOfMailbox(own.ID); err != nil || len(live) != 0 {
				t.Errorf("%q: the link shows an order of another mailbox, %v", pair, err)
			}
			d.recount()
			restored := openBook(t)
			if err := restored.Restore(bytes.NewReader(dump(t, d.book))); err != nil {
				t.Fatal(err)
			}
			kept := p.addressesKept()
			mine, theirs, err := d.book.OrdersOfPerson(pair[0])
			if err != nil || len(mine) != 2 || len(theirs) != len(others) {
				t.Fatalf("%q: %d orders and %d of other spellings, %v", pair, len(mine), len(theirs), err)
			}
			if a := d.want(Done, Erase{Operation: d.by(), Email: pair[0]}); a.Count != 2 || a.Remaining != 0 {
				t.Errorf("%q: %+v", pair, a)
			}
			if d.order(own.ID).State != StateErased || d.order(others[0].ID).State != StateOpen || d.sale().Sold != 1 || p.addressesKept() >= kept {
				t.Errorf("%q: erasing one changed another person's order: %+v, %d times", pair, d.order(others[0].ID), p.addressesKept())
			}
			if mine, theirs, err = d.book.OrdersOfPerson(pair[0]); err != nil || len(mine) != 0 || len(theirs) != len(others) {
				t.Errorf("%q: afterwards %d orders and %d of other spellings, %v", pair, len(mine), len(theirs), err)
			}
			d.recount()
			d.want(Done, Erase{Operation: d.by(), Email: pair[1]})
			if p.addressesKept() != 0 {
				t.Errorf("%q: %d times of erased mailboxes are kept", pair, p.addressesKept())
			}
			d.recount()
		})
	}
}

// Under rules 1 and 2 an Erase reaches all spellings, because ledgers of those rules recorded it so. The preview of an erasure says the same.
func TestOldRulesEraseEverySpelling(t *testing.T) {
	for version := uint32(1); version <= MaxRules; version++ {
		d := newTestBook(t)
		d.rules = version
		o := d.someOffer()
		o.Stock, o.Limit, o.Invitations = 100, 20, 0
		d.want(Done, o)
		first, second := d.newOrder(1, KindOrder), d.newOrder(2, KindOrder)
		first.Person.Email, second.Person.Email, second.InAddition = "nora@x.example", "nora+a@x.example", true
		d.want(Placed, first)
		d.want(Placed, second)
		want := 2
		if version > 2 {
			want = 1
		}
		own, others, err := d.book.OrdersOfPerson("nora+a@X.example")
		if err != nil || len(own) != want || len(others) != 2-want {
			t.Errorf("rules %d: %d orders and %d of other spellings, %v", version, len(own), len(others), err)
		}
		if a := d.want(Done, Erase{Operation: d.by(), Email: "nora+a@X.example"}); a.Count != want || a.Remaining != 0 {
			t.Errorf("rules %d: %+v", version, a)
		}
		if s := d.order(first.ID).State; (s == StateErased) != (want == 2) || d.order(second.ID).State != StateErased {
			t.Errorf("rules %d: the other spelling is %v", version, s)
		}
		d.recount()
	}
}

// Without confirmation, too: the mail with the link goes to the order's owner only if the form has exactly that address, and
// mails to one address delay none to another.
func TestALinkGoesToTheAddressThatWasTyped(t *testing.T) {
	for _, pair := range likeVera() {
		t.Run(pair[1], func(t *testing.T) {
			d := newTestBook(t)
			o := d.someOffer()
			o.Stock = 1000
			d.want(Done, o)
			p := newPostman(d)
			form := func(email string) PlaceOrder { c := d.newOrder(1, KindOrder); c.Person.Email = email; return c }
			for range 10 { // rounds that use up the mails of an hour
				c := form(pair[1])
				d.want(Placed, c)
				p.wait(1)
				d.want(Done, Cancel{ID: c.ID})
				p.wait(1)
			}
			own := form(pair[0])
			d.want(Placed, own)
			p.wait(1)
			if p.last[own.ID] != JobMailPlaced {
				t.Errorf("%q: the own mail is %v", pair, p.last[own.ID])
			}
			d.now = d.now.Add(2 * time.Hour)
			p.wait(1)
			d.want(Differs, form(pair[1]))
			p.wait(1)
			if n := len(p.sent[pair[0]]); n != 1 {
				t.Errorf("%q: a form of %q causes a mail to the other", pair, pair[1])
			}
			d.want(Differs, form(pair[0]))
			p.wait(1)
			if n := len(p.sent[pair[0]]); n != 2 {
				t.Errorf("%q: the own form causes %d mails", pair, n-1)
			}
		})
	}
}

// The end of a form's time, and its effect on those that follow, are the same whether its address got a mail
// before or not, and whether its mailbox may get one.
func TestTheTimeOfAFormTellsNothing(t *testing.T) {
	var untils [3][]time.Duration
	for known := range untils {
		d := newConfirmBook(t, func(o *Offer) { o.Stock = 1000 })
		for n := range 50 { // mails wait
			d.want(Placed, d.newOrder(n, KindOrder))
		}
		for n := range 20 {
			c := d.newOrder(100+n, KindOrder)
			if known == 1 && n%2 == 0 {
				c.Person = person(n)
			}
			if known == 2 { // beyond maxLinkMails
				c.Person.Email = fmt.Sprintf("bomb+%d@buyer.example", n)
			}
			d.want(Placed, c)
			untils[known] = append(untils[known], d.order(c.ID).Until.Sub(start))
			d.now = d.now.Add(150 * time.Millisecond)
		}
	}
	if fmt.Sprint(untils[0]) != fmt.Sprint(untils[1]) || fmt.Sprint(untils[0]) != fmt.Sprint(untils[2]) {
		t.Errorf("unknown and known addresses differ:\n%v", untils)
	}
}

// A stranger's forms that equal a person's are one with it behind the link, so that they do not push it off the page. The one
// that holds units is shown.
func TestEqualFormsAreOne(t *testing.T) {
	d := newConfirmBook(t, nil)
	own := d.newOrder(1, KindOrder)
	d.want(Placed, own)
	for range 20 {
		c := d.newOrder(1, KindOrder)
		c.Unheld, c.Person.Name = true, strings.ToUpper(c.Person.Name)
		d.want(Placed, c)
	}
	two := d.newOrder(1, KindOrder)
	two.Person.Line1 = "2 Elsewhere"
	d.want(Placed, two)
	_, waiting, err := d.book.OrdersOfMailbox(two.ID)
	if err != nil || len(waiting) != 2 || waiting[0].ID != two.ID || waiting[1].ID != own.ID {
		t.Errorf("behind the link: %d forms, %v", len(waiting), err)
	}
}

// After all links ended, a form sent again gets its mail at once.
func TestEndedLinksAreMailedAgain(t *testing.T) {
	d := newConfirmBook(t, nil)
	p := newPostman(d)
	for round := range 3 {
		c := d.newOrder(1, KindOrder)
		d.want(Placed, c)
		d.want(Placed, d.newOrder(1, KindOrder))
		p.wait(1)
		if n := len(p.sent["person1@example.org"]); p.last[c.ID] != JobMailConfirm || n != round+1 {
			t.Errorf("round %d: %d mails", round, n)
		}
		d.want(Done, SetReceiptSecret{Operation: d.by(), Secret: [32]byte{byte(round + 1)}, Revoke: true})
		d.now = d.now.Add(time.Millisecond)
	}
	d.recount()
}

func TestStreets(t *testing.T) {
	at := func(line1, line2, postcode, city string) string {
		p := Person{Line1: line1, Line2: line2, Postcode: postcode, City: city, Country: "GB"}
		return p.Street()
	}
	want := at("12 Long Road", "", "CB1 1AA", "Cambridge")
	for _, same := range []string{at("97b Long Road", "", "cb11aa", "Elsewhere"), at("97 b long road", "", "CB1-1AA", ""), at("Long", "Road, 7/8", "CB1 1AA", ""),
		at("\uff11\uff12 Ｌong Road", "", "CB1 1AA", ""), at("Long Road \u0663", "", "CB1 1AA", "")} {
		if same != want {
			t.Errorf("%q is not %q", same, want)
		}
	}
	for _, other := range []string{at("12 Short Road", "", "CB1 1AA", ""), at("12 Long Road", "", "CB1 1AB", ""), at("12 Long Road", "", "", "Cambridge"), at("12", "", "CB1 1AA", "")} {
		if other == want {
			t.Errorf("%q is another street", other)
		}
	}
}

// An invitation that was confirmed by mail is accepted on its receipt only: its form may have been a stranger's, who knows
// the token. One that nobody had to confirm is its form's.
func TestAConfirmedInvitationIsAcceptedFromItsReceipt(t *testing.T) {
	for _, c := range []struct {
		confirmed, fromReceipt bool
		want                   Outcome
	}{{false, false, Placed}, {false, true, Placed}, {true, true, Placed}, {true, false, Differs}} {
		d := newConfirmBook(t, func(o *Offer) {
			if o.Mode = Interest; !c.confirmed {
				o.Confirm = 0
			}
		})
		form := d.newOrder(1, KindInterest)
		d.want(Placed, form)
		if c.confirmed {
			d.want(Done, Confirm{form.ID})
		}
		d.want(Done, Invite{d.by(), "pi", 1, d.now.Add(time.Hour)})
		form.Kind, form.FromReceipt = KindOrder, c.fromReceipt
		d.want(c.want, form)
		want := StateOpen
		if c.want != Placed {
			want = StateInvited
		}
		if o := d.order(form.ID); o.State != want || o.Confirmed != c.confirmed {
			t.Errorf("confirmed %t, from its receipt %t: it is %v", c.confirmed, c.fromReceipt, o.State)
		}
		d.recount()
	}
}
