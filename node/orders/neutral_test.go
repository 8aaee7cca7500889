package orders

import (
	"testing"
	"time"
)

// A person gets at most one mail an hour about each order, however often forms are sent for them, and never in place of
// a mail that says more.
func TestFormsOfStrangersCauseFewMails(t *testing.T) {
	d := newTestBook(t)
	d.now = start.Add(200 * time.Hour)
	o := d.someOffer()
	o.Stock, o.Limit = 100, 8
	d.want(Done, o)
	for range 7 {
		c := d.newOrder(1, KindOrder)
		c.InAddition = true
		d.want(Placed, c)
	}
	again := func() (mails int) {
		for range 50 {
			d.want(Differs, d.newOrder(1, KindOrder))
		}
		jobs, err := d.book.Outbox(QueueMail, d.now, Job{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			mails++
			d.want(Done, FinishMail{j.Order.ID, j.Kind})
		}
		return mails
	}
	if n := again(); n != maxMailsPerHour {
		t.Errorf("%d mails instead of those about the orders", n)
	}
	d.now = d.now.Add(time.Hour)
	for hour := range 3 {
		for quarter, want := range []int{maxExistsMails, 0, 0, 0} {
			if hour == 0 && quarter == 0 {
				want++ // the one about the seventh order
			}
			if n := again(); n != want {
				t.Errorf("hour %d, quarter %d: %d mails, want %d", hour, quarter, n, want)
			}
			d.now = d.now.Add(15 * time.Minute)
		}
	}
	d.now = d.now.Add(-100 * time.Hour) // an operator sets the clock back
	if n := again(); n != maxExistsMails {
		t.Errorf("after the clock: %d mails", n)
	}
	d.recount()
}
