package orders

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSpellings(t *testing.T) {
	r := rulesOf(MaxRules)
	for email, want := range map[string]byte{
		"vera@corp.example": plainSpelling, "vera.m@corp.example": plainSpelling, "vera@CORP.example": plainSpelling, "joe@gmail.com": plainSpelling,
		"jörg@corp.example": plainSpelling, "+vera@corp.example": plainSpelling,
		"vera+a@corp.example": taggedSpelling, "Vera+@corp.example": taggedSpelling, "j.o.e+x@gmail.com": taggedSpelling,
		"Vera@corp.example": otherSpelling, "VERA@corp.example": otherSpelling, "jo.e@gmail.com": otherSpelling, "joe@googlemail.com": otherSpelling,
		"vera\uff0ba@corp.example": otherSpelling, "\u017fam@corp.example": otherSpelling, "ve\u200bra@corp.example": otherSpelling,
	} {
		if got := r.spellingOf(email); got != want {
			t.Errorf("%q: %d, want %d", email, got, want)
		}
	}
}

// However many spellings, sales and senders, a mailbox gets few mails with links in an hour, and no spelling of another kind keeps
// the mail of the plain address back. Nor does the plain address itself in another sale.
func TestLinksToAMailboxAreFew(t *testing.T) {
	const sales = 12
	for _, c := range []struct {
		name     string
		spelling func(n int) string
		want     int // mails of the first hour to these spellings
	}{
		{"tags", func(n int) string { return fmt.Sprintf("bomb+%d@gmail.com", n) }, maxLinkMails},
		{"capitals", func(n int) string { return []string{"Bomb", "bOmb", "boMb", "bomB"}[n%4] + "@gmail.com" }, maxLinkMails},
		{"dots", func(n int) string { return []string{"b.omb", "bo.mb", "bom.b", "b.o.mb"}[n%4] + "@gmail.com" }, maxLinkMails},
		{"dots, capitals and googlemail", func(n int) string { return []string{"b.omb@gmail.com", "Bomb@gmail.com", "bomb@googlemail.com"}[n%3] }, maxLinkMails},
		{"every kind", func(n int) string { return []string{"Bomb@gmail.com", fmt.Sprintf("bomb+%d@gmail.com", n)}[n%2] }, 2 * maxLinkMails},
		{"the plain one", func(n int) string { return "bomb@gmail.com" }, sales},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newTestBook(t)
			typed := map[string]bool{}
			form := func(n int, email string) PlaceOrder {
				typed[email] = true
				o := d.newOrder(1, KindOrder)
				o.Product, o.Network, o.Person.Email, o.Person.Line1 = fmt.Sprint("pi-", n%sales), uint16(n), email, fmt.Sprint(n, " Elsewhere")
				d.want(Placed, o)
				return o
			}
			for n := range sales {
				o := d.someOffer()
				o.Product, o.Stock, o.Confirm = fmt.Sprint("pi-", n), 10_000, 24*time.Hour
				d.want(Done, o)
			}
			p := newPostman(d)
			flood := func() {
				for n := range 120 {
					form(n, c.spelling(n))
				}
				p.wait(1)
			}
			count := func() (mails int) {
				for to, sent := range p.sent {
					if NormalEmail(to) == "BOMB@GMAIL.COM" {
						mails += len(sent)
					}
				}
				return mails
			}
			for range 3 {
				flood()
				p.wait(15)
			}
			if n := count(); n != c.want {
				t.Errorf("%s: %d mails in an hour, want %d", c.name, n, c.want)
			}
			other := form(0, "someone@gmail.com")
			plain := form(sales-1, "bomb@gmail.com") // the others went to the other sales first
			p.wait(1)
			if p.last[other.ID] != JobMailConfirm || c.name != "the plain one" && p.last[plain.ID] != JobMailConfirm {
				t.Errorf("%s: another person's mail %v, the plain address's %v", c.name, p.last[other.ID], p.last[plain.ID])
			}
			restored := openBook(t)
			if err := restored.Restore(bytes.NewReader(dump(t, d.book))); err != nil {
				t.Fatal(err)
			}
			d.want(Done, SetReceiptSecret{Operation: d.by(), Secret: [32]byte{7}, Revoke: true}) // then nobody waits
			d.now = d.now.Add(time.Millisecond)
			before := count()
			form(0, c.spelling(0))
			p.wait(1)
			if n := count(); n != before+1 {
				t.Errorf("%s: %d mails after all links ended", c.name, n-before)
			}
			d.now = d.now.Add(time.Hour)
			before = count()
			flood()
			if n := count() - before; n != c.want {
				t.Errorf("%s: %d mails in a later hour, want %d", c.name, n, c.want)
			}
			for email := range typed {
				for d.want(Done, Erase{Operation: d.by(), Email: email}).Remaining > 0 {
				}
			}
			if p.addressesKept() != 0 {
				t.Errorf("%s: the times of %d erased mailboxes are kept", c.name, p.addressesKept())
			}
			d.recount()
		})
	}
}

// Forms of another spelling that use up the plain address's first mails do not lock it out: it gets one an hour for each sale.
func TestThePlainAddressIsNeverKeptBack(t *testing.T) {
	d := newTestBook(t)
	for n := range 3 * maxLinkMails {
		o := d.someOffer()
		o.Product, o.Stock, o.Confirm = fmt.Sprint("pi-", n), 10, 24*time.Hour
		d.want(Done, o)
	}
	p := newPostman(d)
	for n := range 3 * maxLinkMails {
		c := d.newOrder(1, KindOrder)
		c.Product = fmt.Sprint("pi-", n)
		d.want(Placed, c)
		p.wait(1)
		if p.last[c.ID] != JobMailConfirm {
			t.Errorf("sale %d: no mail", n)
		}
	}
	d.recount()
}

// Mails about orders have a limit for all spellings of a kind, too.
func TestMailsAboutOrdersToAMailboxAreFew(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Stock = 1000
	d.want(Done, o)
	p := newPostman(d)
	for n := range 40 {
		c := d.newOrder(1, KindOrder)
		c.Person.Email = fmt.Sprintf("bomb+%d@buyer.example", n)
		d.want(Placed, c)
		p.send()
		d.want(Done, Cancel{ID: c.ID})
		p.send()
	}
	mails := 0
	for _, sent := range p.sent {
		mails += len(sent)
	}
	if mails != maxMailsPerHour {
		t.Errorf("%d mails to spellings of one mailbox", mails)
	}
	plain := d.newOrder(1, KindOrder)
	plain.Person.Email = "bomb@buyer.example"
	d.want(Placed, plain)
	if p.send(); p.last[plain.ID] != JobMailPlaced {
		t.Errorf("the plain address's mail is %v", p.last[plain.ID])
	}
	d.recount()
}

// Of equal forms behind the link the oldest counts that holds units, so that a stranger's later one is not the person's. Then the others hold
// nothing, are not offered again, and look as before to those who sent them. What was sent after it is offered if the limit has room.
func TestTheOldestOfEqualFormsCounts(t *testing.T) {
	for _, c := range []struct {
		name           string
		limit          int
		forms          string // each holds its unit (h) or not (u)
		counts         int
		sold, held     int64
		before, after  int // forms behind the link, before and after a further form
		further, twice Outcome
	}{
		{"one", 1, "h", 0, 1, 0, 0, 0, OverLimit, AlreadyDone},
		{"the oldest", 1, "hhh", 0, 1, 0, 0, 0, OverLimit, OverLimit},
		{"the oldest that holds", 1, "uhh", 1, 1, 0, 0, 0, OverLimit, OverLimit},
		{"none holds", 1, "uuu", 0, 1, 0, 0, 0, OverLimit, OverLimit},
		{"room for another", 2, "hhh", 0, 1, 0, 0, 1, Done, OverLimit},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newConfirmBook(t, func(o *Offer) { o.Stock, o.Limit = 100, c.limit })
			var forms []PlaceOrder
			place := func(isUnheld bool) PlaceOrder {
				form := d.newOrder(1, KindOrder)
				form.Unheld = isUnheld
				d.want(Placed, form)
				return form
			}
			for n, held := range c.forms {
				forms = append(forms, place(held == 'u'))
				if n == 0 {
					for house := range 2 { // others of the mailbox, between them
						other := d.newOrder(1, KindOrder)
						other.Unheld, other.Person.Line1 = true, fmt.Sprint(house, " Elsewhere")
						d.want(Placed, other)
					}
				}
			}
			own := forms[c.counts]
			equal := func() (ids []ID) {
				_, waiting, err := d.book.OrdersOfMailbox(own.ID)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range waiting {
					if o.Person.Line1 == own.Person.Line1 {
						ids = append(ids, o.ID)
					}
				}
				return ids
			}
			if ids := equal(); len(ids) != 1 || ids[0] != own.ID {
				t.Errorf("%s: the link offers %v, want %v", c.name, ids, own.ID)
			}
			var receipts []Order
			for _, f := range forms {
				receipts = append(receipts, d.order(f.ID))
			}
			d.want(Done, Confirm{own.ID})
			d.wantCounts(c.name, c.sold, c.held, 100-c.sold-c.held)
			for n, f := range forms {
				if o := d.order(f.ID); n != c.counts && o != receipts[n] {
					t.Errorf("%s: form %d has become %+v", c.name, n, o)
				}
			}
			if ids := equal(); len(ids) != c.before {
				t.Errorf("%s: after the confirmation it offers %v", c.name, ids)
			}
			further := place(false)
			if ids := equal(); len(ids) != c.after {
				t.Errorf("%s: it offers %v after a further form", c.name, ids)
			}
			d.want(c.further, Confirm{further.ID})
			d.want(c.twice, Confirm{forms[len(forms)-1].ID})
			restored := openBook(t)
			if err := restored.Restore(bytes.NewReader(dump(t, d.book))); err != nil {
				t.Fatal(err)
			}
			d.now = d.now.Add(time.Hour)
			d.ticks()
			live, waiting, err := d.book.OrdersOfMailbox(own.ID)
			if err != nil || len(waiting) != 0 || len(live) < 1 || strings.Contains(fmt.Sprint(d.order(own.ID).State), "unconfirmed") {
				t.Errorf("%s: in the end %d and %d, %v", c.name, len(live), len(waiting), err)
			}
			d.wantCounts(c.name+", in the end", int64(len(live)), 0, 100-int64(len(live)))
		})
	}
}

// A form whose equal one counts takes no units that are not free.
func TestAnEqualFormTakesOnlyFreeUnits(t *testing.T) {
	d := newConfirmBook(t, func(o *Offer) { o.Stock, o.Limit = 4, 2 })
	one, two := d.newOrder(1, KindOrder), d.newOrder(1, KindOrder)
	d.want(Placed, one)
	d.want(Placed, two)
	d.want(Done, Confirm{one.ID})
	d.want(Done, Stock{d.by(), "pi", -3})
	d.want(SoldOut, Confirm{two.ID})
	d.want(Done, Stock{d.by(), "pi", 1})
	d.want(Done, Confirm{two.ID})
	d.wantCounts("both", 2, 0, 0)
}
