package orders

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// sendNext lets time pass until the next mails are due, sends them, and returns the names of their orders' people.
func (p *postman) sendNext() (names []string) {
	p.t.Helper()
	jobs, err := p.book.Outbox(QueueMail, p.now, Job{}, MaxPage)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, j := range jobs {
		names = append(names, j.Order.Person.Name)
	}
	p.send()
	p.now = p.now.Add(confirmMailPace)
	return names
}

// Networks take turns, in the order in which their forms came, and each network's forms stay in order. A letter is a network, and its
// form comes at once. "." is a pause in which a mail is sent. A board that restores a snapshot in between goes on in the same order.
func TestNetworksTakeTurns(t *testing.T) {
	flood := strings.Repeat("a", 40)
	for _, c := range []struct{ name, forms, want string }{
		{"one network", "aaaa", "aaaa"},
		{"two", "aaaabbbb", "abababab"},
		{"one that came late", "aaaab", "abaaa"},
		{"three of different sizes", "aaabbc", "abcaba"},
		{"a round begins after the network that was last", "ccccb", "bcccc"},
		{"one that comes back", "aab.b.b", "ababb"},
		{"none overtakes twice", "aaab.b.b.b", "abababb"},
		{"a flood", flood + "b", "ab" + flood[1:]},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newConfirmBook(t, func(o *Offer) { o.Stock = 1000 })
			// What comes before has its time already, and is not overtaken.
			before := int(confirmMailAhead/confirmMailPace) + 1
			for n := range before {
				d.want(Placed, d.newOrder(n, KindOrder))
			}
			p := newPostman(d)
			got, sent := "", 0
			step := func() {
				t.Helper()
				for _, name := range p.sendNext() {
					if sent++; sent > before {
						got += name[:1]
					}
				}
			}
			for n, network := range c.forms {
				if network == '.' {
					step()
					continue
				}
				form := d.newOrder(1000+n, KindOrder)
				form.Network, form.Person.Name = uint16(network), fmt.Sprintf("%c %d", network, n)
				d.want(Placed, form)
			}
			d.recount()
			if err := d.book.Restore(bytes.NewReader(dump(t, d.book))); err != nil {
				t.Fatal(err)
			}
			for range 200 {
				step()
			}
			if got != c.want {
				t.Errorf("%s: %s is sent as %s, want %s", c.name, c.forms, got, c.want)
			}
			if d.book.WaitingForms() != 0 {
				t.Errorf("%s: %d forms wait at the end", c.name, d.book.WaitingForms())
			}
			d.recount()
		})
	}
}

// floodFrom sends forms with invented addresses from networks, the same number from each, and returns how many were accepted.
func (p *postman) floodFrom(networks, each int) (accepted int) {
	p.t.Helper()
	for n := range networks * each {
		form := p.newOrder(100_000*(int(p.index)+1)+n, KindOrder)
		form.Network = uint16(1000 + n%networks)
		switch a := p.do(form); a.Outcome {
		case Placed:
			accepted++
		case Full:
		default:
			p.t.Fatal(a.Outcome)
		}
	}
	return accepted
}

// However long a flood from many networks goes on, before the mail of a buyer in another network come no more than those that
// have left the queue, and one of each network. That holds with a mail server that sends ten a second, and with a slow one.
func TestAFloodDelaysAnotherNetworkByFewMails(t *testing.T) {
	const networks = 24
	for _, interval := range []time.Duration{confirmMailPace, time.Second} {
		d := newConfirmBook(t, func(o *Offer) { o.Stock, o.Confirm = 100_000, 24*time.Hour })
		p := newPostman(d)
		for minutes := range 3 {
			p.floodFrom(networks, 30)
			buyer := d.newOrder(minutes, KindOrder)
			buyer.Network = 60_000
			d.want(Placed, buyer)
			mails, most := 0, maxUnsentMails+networks
			for p.last[buyer.ID] == 0 && mails <= most {
				d.ticks()
				jobs, err := d.book.Outbox(QueueMail, d.now, Job{}, 1) // a slow server sends one at a time
				if err != nil {
					t.Fatal(err)
				}
				for _, j := range jobs {
					p.last[j.Order.ID] = j.Kind
					d.want(Done, FinishMail{j.Order.ID, j.Kind})
					mails++
				}
				d.now = d.now.Add(interval)
			}
			if mails > most {
				t.Fatalf("%v for a mail: after %d the buyer has none; %d forms wait", interval, mails, d.book.WaitingForms())
			}
			t.Logf("%v for a mail: the buyer's was number %d, before %d forms that wait", interval, mails, d.book.WaitingForms())
		}
		d.recount()
	}
}

// The queue has a bound, for one network and for all. A flood that fills it leaves room for another network, and what is
// refused leaves nothing behind.
func TestTheQueueOfFormsIsBounded(t *testing.T) {
	for _, c := range []struct {
		forms, waiting int64
		want           bool
	}{
		{0, 0, true}, {1000, 1000, true}, {2665, 2665, true}, {2667, 2667, false},
		{0, maxWaitingForms, true}, {1, maxWaitingForms, false}, {0, 3 * maxWaitingForms, true}, {1, maxWaitingForms - 16, true}, {2, maxWaitingForms - 16, false},
	} {
		if got := mayWait(c.forms, c.waiting); got != c.want {
			t.Errorf("%d of %d: %t", c.forms, c.waiting, got)
		}
	}
	d := newConfirmBook(t, func(o *Offer) { o.Stock = 100_000 })
	p := newPostman(d)
	left := int64(confirmMailAhead/confirmMailPace) + 1
	if got := int64(p.floodFrom(1, 3000)) - left; got < maxWaitingForms/(waitingFormsPart+1)-1 || got > maxWaitingForms/(waitingFormsPart+1)+1 {
		t.Errorf("one network has %d forms that wait", got)
	}
	before := d.book.Count()
	refused := d.newOrder(1, KindOrder)
	refused.Network = 1000
	d.want(Full, refused)
	if d.book.Count() != before {
		t.Error("a refused form left an order")
	}
	other := d.newOrder(1, KindOrder)
	other.Network = 7
	d.want(Placed, other)
	p.wait(1)
	d.want(Placed, refused) // the same form, later
	d.recount()
}

// Addresses that the mail server does not take stop the queue for no longer than a minute.
func TestMailsThatFailDoNotStopTheQueue(t *testing.T) {
	d := newConfirmBook(t, func(o *Offer) { o.Stock, o.Confirm = 1000, 24*time.Hour })
	p := newPostman(d)
	p.floodFrom(1, 3*maxUnsentMails)
	for range 60 {
		d.ticks()
		d.now = d.now.Add(time.Second)
	}
	if left := 3*maxUnsentMails - d.book.WaitingForms(); left < maxUnsentMails || left > maxUnsentMails+int64(confirmMailAhead/confirmMailPace)+1 {
		t.Errorf("%d have left, want %d", left, maxUnsentMails)
	}
	for range 120 {
		d.ticks()
		d.now = d.now.Add(time.Second)
	}
	if n := d.book.WaitingForms(); n != 0 {
		t.Errorf("%d forms still wait", n)
	}
	d.recount()
}
