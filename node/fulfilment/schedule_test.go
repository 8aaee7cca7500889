package fulfilment

import (
	"testing"
	"time"

	"bramble/node/orders"
)

// longest draws the longest delay.
func longest(n int64) int64 { return n - 1 }

func testJob(n int) orders.Job {
	return orders.Job{Kind: orders.JobWebhook, Since: launch.Add(time.Duration(n) * time.Millisecond), Order: testOrder(n)}
}

// takeOne returns the next task, which must exist.
func takeOne(t *testing.T, p *jobSchedule, now time.Time) *task {
	t.Helper()
	got := p.nextTask(now)
	if got == nil {
		t.Fatalf("nothing to do at %v", now.Sub(launch))
	}
	return got
}

var (
	delivered = attemptResult{resolution: ByWebhook}
	failed    = attemptResult{failure: FailureServer}
	away      = attemptResult{failure: FailureUnreachable, channelFailed: true}
	refuse    = attemptResult{failure: FailureRefused, refused: true}
)

func TestScheduleIsBounded(t *testing.T) {
	p := newJobSchedule(4, longest)
	for n := range maxUntried {
		if !p.addJob(testJob(n)) {
			t.Fatalf("no room for job %d", n)
		}
	}
	if p.addJob(testJob(maxUntried)) {
		t.Error("more untried jobs than maxUntried")
	}
	if !p.addJob(testJob(0)) {
		t.Error("a known job must not hold up those behind it")
	}
	now := launch.Add(time.Hour)
	for range 4 {
		takeOne(t, p, now)
	}
	if p.nextTask(now) != nil {
		t.Error("more attempts than workers")
	}
}

func TestScheduleBoundsFailedTasks(t *testing.T) {
	p := newJobSchedule(1, longest)
	now := launch
	for n := range maxTasks {
		if !p.addJob(testJob(n)) {
			t.Fatalf("no room for job %d", n)
		}
		// Old jobs are not due; each new one is attempted once and fails.
		p.openUntil, p.opens = time.Time{}, 0
		p.recordResult(takeOne(t, p, now.Add(time.Duration(n)*time.Millisecond)), attemptResult{failure: FailureServer, retryAfter: maxRetryAfter}, now)
	}
	if p.addJob(testJob(maxTasks)) {
		t.Error("one more than maxTasks")
	}
}

func TestScheduleBacksOff(t *testing.T) {
	p := newJobSchedule(4, longest)
	p.addJob(testJob(0))
	now := launch
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32} {
		p.recordResult(takeOne(t, p, now), failed, now)
		if p.nextTask(now.Add(want*time.Second-1)) != nil {
			t.Fatalf("attempted before %d s had passed", want)
		}
		now = now.Add(want * time.Second)
	}
	task := takeOne(t, p, now)
	p.recordResult(task, delivered, now)
	if len(p.tasks) != 0 || p.untried != 0 || p.running != 0 {
		t.Errorf("after the last one: %d tasks, %d untried, %d running", len(p.tasks), p.untried, p.running)
	}
}

// A receiver that is away gets one attempt at a time, each with another job.
func TestBreakerOpensWhenTheReceiverIsAway(t *testing.T) {
	p := newJobSchedule(4, longest)
	for n := range 10 {
		p.addJob(testJob(n))
	}
	now := launch.Add(time.Second)
	var first []*task
	for range 4 {
		first = append(first, takeOne(t, p, now))
	}
	for _, task := range first {
		p.recordResult(task, away, now)
	}
	if p.nextTask(now) != nil {
		t.Fatal("the breaker is closed although the receiver is away")
	}
	if p.opens != 1 {
		t.Errorf("four attempts at once opened the breaker %d times", p.opens)
	}
	now = now.Add(time.Second)
	probe := takeOne(t, p, now)
	if probe.failures != 0 {
		t.Error("a job that has failed is attempted before one that has not")
	}
	if p.nextTask(now) != nil {
		t.Error("two at once while the receiver is away")
	}
	p.recordResult(probe, delivered, now)
	takeOne(t, p, now)
	takeOne(t, p, now)
}

// One job that always fails delays no other; many in a row are the receiver's failure.
func TestBreakerToleratesOneBadJob(t *testing.T) {
	p := newJobSchedule(1, longest)
	for n := range 40 {
		p.addJob(testJob(n))
	}
	now := launch.Add(time.Second)
	p.recordResult(takeOne(t, p, now), failed, now)
	for range 5 {
		p.recordResult(takeOne(t, p, now), delivered, now)
	}
	for range maxFailuresInRow {
		p.recordResult(takeOne(t, p, now), failed, now)
	}
	if p.nextTask(now) != nil {
		t.Errorf("the breaker is closed after %d failures in a row", maxFailuresInRow)
	}
	now = now.Add(time.Second)
	p.recordResult(takeOne(t, p, now), delivered, now)
	takeOne(t, p, now)
}

// Anybody can order with an address that the mail server defers: that holds no other mail back, also while the server is
// tried after a failure of its own.
func TestStrangersAddressesDoNotOpenTheBreaker(t *testing.T) {
	p := newJobSchedule(1, longest)
	for n := range 5 * maxFailuresInRow {
		p.addJob(testJob(n))
	}
	now := launch.Add(time.Second)
	deferred := attemptResult{failure: FailureBusy, jobFailed: true, retryAfter: recipientPause}
	for n := range 2 * maxFailuresInRow {
		if n == maxFailuresInRow {
			p.recordResult(takeOne(t, p, now), attemptResult{failure: FailureUnreachable, channelFailed: true}, now)
			if now = now.Add(time.Second); p.stateAt(now) != BreakerHalfOpen {
				t.Fatalf("%v after the server was away", p.stateAt(now))
			}
		}
		one := takeOne(t, p, now)
		if p.recordResult(one, deferred, now); p.stateAt(now) != BreakerClosed || one.next.Before(now.Add(recipientPause)) {
			t.Fatalf("%v after %d such mails; the next attempt at this one is in %v", p.stateAt(now), n+1, one.next.Sub(now))
		}
	}
	p.recordResult(takeOne(t, p, now), delivered, now)
}

func TestFinishJobIgnoresTheBreaker(t *testing.T) {
	p := newJobSchedule(2, longest)
	p.addJob(testJob(0))
	p.addJob(testJob(1))
	now := launch.Add(time.Second)
	one, two := takeOne(t, p, now), takeOne(t, p, now)
	p.recordResult(one, attemptResult{resolution: ByWebhook, failure: FailureLedger}, now)
	p.recordResult(two, attemptResult{failure: FailureGone, channelFailed: true, unsubscribed: true}, now)
	p.dropWaiting() // another board leads
	if len(p.tasks) != 1 {
		t.Fatalf("%d tasks left, want the delivered one", len(p.tasks))
	}
	p.unsubscribed, p.openUntil = true, now.Add(unsubscribedPause)
	now = now.Add(time.Second)
	owed := takeOne(t, p, now)
	if owed.id != one.id || owed.resolution != ByWebhook {
		t.Fatalf("got %v how %q", owed.id, owed.resolution)
	}
	p.recordResult(owed, delivered, now)
	if !p.unsubscribed {
		t.Error("a FinishJob closes the breaker")
	}
}

func TestBreakerOfAnUnsubscribedReceiver(t *testing.T) {
	p := newJobSchedule(2, longest)
	for n := range 3 {
		p.addJob(testJob(n))
	}
	now := launch.Add(time.Second)
	p.recordResult(takeOne(t, p, now), attemptResult{failure: FailureGone, channelFailed: true, refused: true, unsubscribed: true}, now)
	if p.nextTask(now.Add(unsubscribedPause-1)) != nil || !p.unsubscribed {
		t.Fatal("attempted after 410 Gone")
	}
	p.retryNow(now)
	if takeOne(t, p, now); p.unsubscribed {
		t.Error("still open after Retry")
	}
	p = newJobSchedule(2, longest)
	p.addJob(testJob(0))
	p.recordResult(takeOne(t, p, now), attemptResult{failure: FailureGone, channelFailed: true, refused: true, unsubscribed: true}, now)
	takeOne(t, p, now.Add(unsubscribedPause))
}

func TestScheduleListsRefusedTasks(t *testing.T) {
	p := newJobSchedule(2, longest)
	p.addJob(testJob(0))
	p.addJob(testJob(1))
	now := launch.Add(refusedAfter - time.Hour)
	p.recordResult(takeOne(t, p, now), refuse, now)
	p.recordResult(takeOne(t, p, now), failed, now)
	if refused := p.listRefused(); len(refused) != 0 {
		t.Errorf("%v refused within the day", refused)
	}
	now = now.Add(2 * time.Hour)
	p.recordResult(takeOne(t, p, now), refuse, now)
	p.recordResult(takeOne(t, p, now), failed, now)
	if refused := p.listRefused(); len(refused) != 1 {
		t.Errorf("%v refused after a day", refused)
	}
}

func TestBreakerStates(t *testing.T) {
	p := newJobSchedule(1, longest)
	now := launch
	for _, step := range []struct {
		result attemptResult
		pass   time.Duration
		want   BreakerState
	}{
		{failed, 0, BreakerClosed},
		{away, 0, BreakerOpen},
		{delivered, time.Second, BreakerClosed},
		{attemptResult{failure: FailureGone, channelFailed: true, refused: true, unsubscribed: true}, 0, BreakerGone},
	} {
		now = now.Add(step.pass)
		p.addJob(testJob(0))
		if step.pass > 0 && p.stateAt(now) != BreakerHalfOpen {
			t.Errorf("after the pause the breaker is %s", p.stateAt(now))
		}
		for _, h := range p.tasks {
			h.next = now
		}
		p.recordResult(takeOne(t, p, now), step.result, now)
		if got := p.stateAt(now); got != step.want {
			t.Errorf("after %+v the breaker is %s, want %s", step.result, got, step.want)
		}
	}
}

// A cancellation takes the place of the post that waits, also of one that has failed.
func TestScheduleTakesTheNewerJob(t *testing.T) {
	p := newJobSchedule(2, longest)
	p.addJob(testJob(0))
	running := takeOne(t, p, launch)
	newer := testJob(0)
	newer.Kind = orders.JobCancelled
	p.addJob(newer)
	if running.kind != orders.JobWebhook {
		t.Error("the job of an attempt in progress has changed")
	}
	p.recordResult(running, failed, launch)
	p.addJob(newer)
	if again := takeOne(t, p, launch.Add(time.Hour)); again != running || again.kind != orders.JobCancelled {
		t.Errorf("the next attempt is %v", again.kind)
	}
}
