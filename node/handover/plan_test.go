package handover

import (
	"testing"
	"time"

	"bramble/node/orders"
)

// longest draws the longest wait.
func longest(n int64) int64 { return n - 1 }

func testJob(n int) orders.Job {
	return orders.Job{What: orders.JobWebhook, Since: launch.Add(time.Duration(n) * time.Millisecond), Paper: testPaper(n)}
}

// taken takes a job that must be there.
func takeOne(t *testing.T, p *plan, now time.Time) *task {
	t.Helper()
	got := p.take(now)
	if got == nil {
		t.Fatalf("nothing to do at %v", now.Sub(launch))
	}
	return got
}

var (
	told   = verdict{how: ByWebhook}
	fails  = verdict{fault: FaultServer}
	away   = verdict{fault: FaultUnreachable, lane: true}
	refuse = verdict{fault: FaultRefused, refused: true}
)

func TestPlanIsBounded(t *testing.T) {
	p := newPlan(4, longest)
	for n := range window {
		if !p.offer(testJob(n)) {
			t.Fatalf("no room for job %d", n)
		}
	}
	if p.offer(testJob(window)) {
		t.Error("more jobs than the window taken on")
	}
	if !p.offer(testJob(0)) {
		t.Error("a job in hand must not hold up those behind it")
	}
	now := launch.Add(time.Hour)
	for range 4 {
		takeOne(t, p, now)
	}
	if p.take(now) != nil {
		t.Error("more tries than workers")
	}
}

func TestPlanRemembersNoMoreThanItMay(t *testing.T) {
	p := newPlan(1, longest)
	now := launch
	for n := range maxTasks {
		if !p.offer(testJob(n)) {
			t.Fatalf("no room for job %d", n)
		}
		// Old jobs are not due; each new one is tried once and fails.
		p.until, p.rests = time.Time{}, 0
		p.settle(takeOne(t, p, now.Add(time.Duration(n)*time.Millisecond)), verdict{fault: FaultServer, pause: maxPause}, now)
	}
	if p.offer(testJob(maxTasks)) {
		t.Error("one more than maxTasks taken on")
	}
}

func TestPlanBacksOff(t *testing.T) {
	p := newPlan(4, longest)
	p.offer(testJob(0))
	now := launch
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32} {
		p.settle(takeOne(t, p, now), fails, now)
		if p.take(now.Add(want*time.Second-1)) != nil {
			t.Fatalf("tried before %d s were over", want)
		}
		now = now.Add(want * time.Second)
	}
	task := takeOne(t, p, now)
	p.settle(task, told, now)
	if len(p.tasks) != 0 || p.fresh != 0 || p.running != 0 {
		t.Errorf("after the last one: %d tasks, %d fresh, %d running", len(p.tasks), p.fresh, p.running)
	}
}

// A receiver that is away is asked by one job at a time, each time another one.
func TestPlanRestsWhenTheReceiverIsAway(t *testing.T) {
	p := newPlan(4, longest)
	for n := range 10 {
		p.offer(testJob(n))
	}
	now := launch.Add(time.Second)
	var first []*task
	for range 4 {
		first = append(first, takeOne(t, p, now))
	}
	for _, task := range first {
		p.settle(task, away, now)
	}
	if p.take(now) != nil {
		t.Fatal("no rest after the receiver was away")
	}
	if p.rests != 1 {
		t.Errorf("four tries at once count as %d rests", p.rests)
	}
	now = now.Add(time.Second)
	probe := takeOne(t, p, now)
	if probe.failures != 0 {
		t.Error("a job that has failed is tried before one that was not")
	}
	if p.take(now) != nil {
		t.Error("two at once while the receiver is away")
	}
	p.settle(probe, told, now)
	takeOne(t, p, now)
	takeOne(t, p, now)
}

// One job that always fails holds up nobody; many in a row are the receiver's fault.
func TestPlanTellsABadJobFromABadReceiver(t *testing.T) {
	p := newPlan(1, longest)
	for n := range 40 {
		p.offer(testJob(n))
	}
	now := launch.Add(time.Second)
	p.settle(takeOne(t, p, now), fails, now)
	for range 5 {
		p.settle(takeOne(t, p, now), told, now)
	}
	for range maxStrikes {
		p.settle(takeOne(t, p, now), fails, now)
	}
	if p.take(now) != nil {
		t.Errorf("no rest after %d failures in a row", maxStrikes)
	}
	now = now.Add(time.Second)
	p.settle(takeOne(t, p, now), told, now)
	takeOne(t, p, now)
}

func TestPlanOwesDoneWhateverTheReceiverDoes(t *testing.T) {
	p := newPlan(2, longest)
	p.offer(testJob(0))
	p.offer(testJob(1))
	now := launch.Add(time.Second)
	one, two := takeOne(t, p, now), takeOne(t, p, now)
	p.settle(one, verdict{how: ByWebhook, fault: FaultLedger}, now)
	p.settle(two, verdict{fault: FaultGone, lane: true, stop: true}, now)
	p.forget() // another board leads
	if len(p.tasks) != 1 {
		t.Fatalf("%d tasks kept, want the one that is told", len(p.tasks))
	}
	p.stopped, p.until = true, now.Add(goneRest)
	now = now.Add(time.Second)
	owed := takeOne(t, p, now)
	if owed.id != one.id || owed.how != ByWebhook {
		t.Fatalf("got %v how %q", owed.id, owed.how)
	}
	p.settle(owed, told, now)
	if !p.stopped {
		t.Error("a Done ends the receiver's rest")
	}
}

func TestPlanStopsAndIsWoken(t *testing.T) {
	p := newPlan(2, longest)
	for n := range 3 {
		p.offer(testJob(n))
	}
	now := launch.Add(time.Second)
	p.settle(takeOne(t, p, now), verdict{fault: FaultGone, lane: true, refused: true, stop: true}, now)
	if p.take(now.Add(goneRest-1)) != nil || !p.stopped {
		t.Fatal("asked again after it was gone")
	}
	p.retry(now)
	if takeOne(t, p, now); p.stopped {
		t.Error("still stopped after Retry")
	}
	p = newPlan(2, longest)
	p.offer(testJob(0))
	p.settle(takeOne(t, p, now), verdict{fault: FaultGone, lane: true, refused: true, stop: true}, now)
	takeOne(t, p, now.Add(goneRest))
}

func TestPlanKnowsWhatIsRefusedForGood(t *testing.T) {
	p := newPlan(2, longest)
	p.offer(testJob(0))
	p.offer(testJob(1))
	now := launch.Add(refusedAfter - time.Hour)
	p.settle(takeOne(t, p, now), refuse, now)
	p.settle(takeOne(t, p, now), fails, now)
	if _, n := p.refused(10); n != 0 {
		t.Errorf("%d refused within the day", n)
	}
	now = now.Add(2 * time.Hour)
	p.settle(takeOne(t, p, now), refuse, now)
	p.settle(takeOne(t, p, now), fails, now)
	some, n := p.refused(10)
	if n != 1 || len(some) != 1 {
		t.Errorf("%d refused after a day, %d named", n, len(some))
	}
	if some, n := p.refused(0); n != 1 || len(some) != 0 {
		t.Errorf("%d refused, %d named, want 1 and none", n, len(some))
	}
}
