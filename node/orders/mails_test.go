package orders

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// postman sends what is due, and counts for each address.
type postman struct {
	*testBook
	sent  map[string][]time.Time
	last  map[ID]JobKind // the newest mail about each order
	links map[string]int
}

func newPostman(d *testBook) *postman {
	return &postman{d, map[string][]time.Time{}, map[ID]JobKind{}, map[string]int{}}
}

// wait lets time pass, by the minute and while forms wait for their turn.
func (p *postman) wait(minutes int) {
	p.t.Helper()
	for end := p.now.Add(time.Duration(minutes) * time.Minute); ; {
		p.send()
		next := p.now.Add(time.Minute)
		if p.book.WaitingForms() > 0 {
			next = p.now.Add(time.Second)
		}
		if next.After(end) {
			return
		}
		p.now = next
	}
}

func (p *postman) send() {
	p.t.Helper()
	p.ticks()
	jobs, err := p.book.Outbox(QueueMail, p.now, Job{}, MaxPage)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, j := range jobs {
		to := j.Order.Person.Email
		p.sent[to] = append(p.sent[to], p.now)
		if j.Kind == JobMailConfirm {
			p.links[to]++ // at most three an hour: see TestOneLinkIsEnough
		}
		if j.Kind != JobMailExists { // that one replaces no other, and says nothing new
			p.last[j.Order.ID] = j.Kind
		}
		p.want(Done, FinishMail{j.Order.ID, j.Kind})
		inHour := slices.DeleteFunc(slices.Clone(p.sent[to]), func(at time.Time) bool { return !at.After(p.now.Add(-time.Hour)) })
		if len(inHour) > maxMailsPerHour+p.links[to] {
			p.t.Fatalf("%d mails to one address in an hour", len(inHour))
		}
	}
}

func (p *postman) addressesKept() (n int) {
	p.t.Helper()
	if err := p.book.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketRestore)).Cursor()
		for k, _ := c.Seek([]byte(mailTimesKey)); bytes.HasPrefix(k, []byte(mailTimesKey)); k, _ = c.Next() {
			n++
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// Forty rounds of ordering and cancelling sent forty mails. Now they send six, and the order that stays is told of.
func TestFewMailsForManyOrders(t *testing.T) {
	for _, pause := range []int{0, 1} { // minutes between a form and the next
		d := newTestBook(t)
		d.want(Done, d.someOffer())
		p := newPostman(d)
		var last PlaceOrder
		for round := range 40 {
			last = d.newOrder(1, KindOrder)
			d.want(Placed, last)
			p.wait(pause)
			if round < 39 {
				d.want(Done, Cancel{ID: last.ID})
				p.wait(pause)
			}
		}
		p.wait(60)
		all := len(p.sent[last.Person.Email])
		if p.last[last.ID] != JobMailPlaced || all > maxMailsPerHour*(80*pause+60+59)/60+1 || pause == 0 && all > maxMailsPerHour+1 {
			t.Errorf("%d minutes: %d mails, the last order got %v", pause, all, p.last[last.ID])
		}
		if n := d.book.UnsentMails(); n < 30 {
			t.Errorf("an operator sees %d mails that were not needed", n)
		}
		d.recount()
	}
}

// A mail that waits is replaced by the newest state, and an operator's cancellation is always told.
func TestAMailThatWaitsTellsTheNewestState(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Stock, o.Limit = 100, 20
	d.want(Done, o)
	p := newPostman(d)
	var ids []ID
	for range 10 {
		c := d.newOrder(1, KindOrder)
		c.InAddition = true
		d.want(Placed, c)
		ids = append(ids, c.ID)
	}
	p.wait(1)
	d.want(Done, Cancel{ID: ids[8], By: d.by(), Reason: "a flood"})
	d.want(Done, Cancel{ID: ids[9]}) // by the buyer, whom no mail has told
	p.wait(3 * 60)
	if p.last[ids[7]] != JobMailPlaced || p.last[ids[8]] != JobMailCancelled || p.last[ids[9]] != 0 {
		t.Errorf("mails %v", p.last)
	}
	secret := SetReceiptSecret{Operation: d.by(), Secret: [32]byte{7}, Revoke: true}
	d.want(Done, secret)
	p.wait(3 * 60)
	for _, id := range ids[:8] {
		if p.last[id] != JobMailLink {
			t.Errorf("order %v has no mail with its new link: %v", id, p.last[id])
		}
	}
	d.recount()
}

// The times of an address go with its person, and with time.
func TestTimesOfMailsAreForgotten(t *testing.T) {
	d := newTestBook(t)
	o := d.someOffer()
	o.Stock, o.Limit = 10_000, 1
	d.want(Done, o)
	p := newPostman(d)
	first := d.newOrder(1, KindOrder)
	d.want(Placed, first)
	print, mailbox := d.rulesInForce().fingerprintsOf(&first.Person).email, d.rulesInForce().fingerprintsOf(&first.Person).mailbox
	if p.addressesKept() != 1 || !bytes.Contains(dump(t, d.book), append([]byte(mailTimesKey), print[:]...)) {
		t.Fatal("the times of an address are not kept")
	}
	d.want(Done, Erase{Operation: d.by(), Email: first.Person.Email})
	if p.addressesKept() != 0 || bytes.Contains(dump(t, d.book), print[:]) || bytes.Contains(dump(t, d.book), mailbox[:]) {
		t.Error("an erased person's fingerprint is still there")
	}
	for n := range 2_000 {
		d.want(Placed, d.newOrder(2+n, KindOrder))
		d.now = d.now.Add(time.Minute)
	}
	if n := p.addressesKept(); n > 120 {
		t.Errorf("the times of %d addresses are kept, where 60 have got mail in the last hour", n)
	}
	d.recount()
}

func (t *testBook) rulesInForce() *ruleSet { r := rulesOf(MaxRules); return &r }

// Whatever people do, no address gets more than its mails in any hour, and in the end each live order's newest mail is
// about its state.
func TestModelOfMails(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := &testBook{t: t, book: openBook(t), now: start}
		o := d.someOffer()
		o.Stock, o.Limit, o.WaitingList = 8, 10, true
		o.Confirm = rapid.SampledFrom([]time.Duration{0, 2 * time.Hour}).Draw(rt, "confirm")
		d.want(Done, o)
		p := newPostman(d)
		var ids []ID
		some := func() ID {
			if len(ids) == 0 {
				return 1
			}
			return rapid.SampledFrom(ids).Draw(rt, "order")
		}
		for range rapid.IntRange(5, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 7).Draw(rt, "step") {
			case 0, 1, 2:
				c := d.newOrder(rapid.IntRange(1, 2).Draw(rt, "who"), rapid.SampledFrom([]Kind{KindOrder, KindWaiting}).Draw(rt, "kind"))
				c.InAddition = true
				if d.do(c).Outcome == Placed {
					ids = append(ids, c.ID)
				}
			case 3:
				d.do(Cancel{ID: some()})
			case 4:
				d.do(Confirm{some()})
			case 5:
				d.do(MarkSent{Operation: d.by(), ID: some(), Note: "it"})
			case 6:
				p.wait(rapid.IntRange(1, 30).Draw(rt, "minutes"))
			case 7: // a stranger's form, which may cause a mail to the person
				if c := d.newOrder(1, KindOrder); d.do(c).Outcome == Placed {
					ids = append(ids, c.ID)
				}
			}
		}
		p.wait(12 * 60)
		for _, id := range ids {
			order := d.order(id)
			got, want := p.last[id], JobMailPlaced
			switch order.State {
			case StateInvited:
				want = JobMailInvited
			case StateFulfilled:
				want = JobMailSent
			case StateOpen:
			default:
				continue
			}
			if got != want {
				rt.Fatalf("an order that is %v got %v last", order.State, got)
			}
		}
		d.recount()
		if err := d.book.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}
