package orders

import (
	"strings"
	"testing"
	"time"
)

func TestTheClockIsSetBack(t *testing.T) {
	d := newTestBook(t)
	d.now = start.Add(700 * 24 * time.Hour)
	d.want(Done, d.someOffer())
	early := d.want(Placed, d.newOrder(1, KindOrder))
	before := d.now
	d.now = start.Add(time.Minute)
	d.want(Done, SetClock{d.by(), before, d.now})
	later := d.want(Placed, d.newOrder(2, KindOrder))
	if made := d.order(later.Order).Made; !made.Equal(d.now) {
		t.Errorf("made %v", made)
	}
	audit, err := d.book.Audit(0, 10)
	if last := audit[len(audit)-1]; err != nil || !strings.Contains(last.Action, "set the ledger's clock from 20") || !last.At.Equal(d.now) {
		t.Errorf("audit %+v, %v", last, err)
	}
	// The order of the wrong year does not wait for it; the other one waits for its delay.
	jobs, err := d.book.Outbox(QueueWebhook, d.now, Job{}, 10)
	if err != nil || len(jobs) != 1 || jobs[0].Order.ID != early.Order {
		t.Errorf("jobs %+v, %v", jobs, err)
	}
	if again, err := d.book.Outbox(QueueWebhook, d.now, jobs[0], 10); err != nil || len(again) != 0 {
		t.Errorf("after the last job: %+v, %v", again, err)
	}
	jobs, err = d.book.Outbox(QueueWebhook, d.now.Add(2*time.Hour), Job{}, 10)
	if err != nil || len(jobs) != 2 || jobs[0].Order.ID != later.Order {
		t.Errorf("jobs %+v, %v", jobs, err)
	}
	d.recount()
}

func TestATickDoesNothingBeyondItsTime(t *testing.T) {
	d := newTestBook(t)
	d.want(Done, d.ballotOffer())
	entry := d.want(Placed, d.newOrder(1, KindEntry))
	d.now = start.Add(400 * 24 * time.Hour) // the clock went forward after the Tick was sent
	d.want(Done, Tick{Until: start.Add(time.Minute)})
	if s := d.sale(); !s.Draw.At.IsZero() || d.order(entry.Order).State != StateOpen {
		t.Fatalf("drawn: %+v", s.Draw)
	}
	// Back in time the ballot is open again; once its draw has begun it is not.
	d.now = start.Add(2 * time.Minute)
	d.want(Placed, d.newOrder(2, KindEntry))
	d.now = start.Add(time.Hour)
	d.want(Done, Tick{Until: d.now})
	d.now = start.Add(3 * time.Minute)
	if s := d.sale(); s.StateAt(d.now) != SaleDrawing && s.StateAt(d.now) != SaleDrawn {
		t.Errorf("during the draw: %v", s.StateAt(d.now))
	}
	d.ticks()
	if s := d.sale(); s.Draw.At.IsZero() {
		t.Error("the draw does not end")
	}
	d.recount()
}
