package fulfilment

import (
	"time"

	"bramble/node/orders"
)

// maxKnownPerTick is how many jobs are read at one tick that the plan has in hand already.
const maxKnownPerTick = 4 * jobPage

// jobFeeder walks through a queue of the outbox from the start to the end, again and again,
// and gives a plan what it has room for. So no job is left out for long, however many
// before it are failing.
type jobFeeder struct {
	jobs  JobStore
	queue orders.Queue
	after orders.Job // the last one that the plan has in hand
	known int        // jobs read since the last tick that it had already
	ended bool       // nothing is after it, as of the last look
}

// restart begins at the start.
func (f *jobFeeder) restart() { *f = jobFeeder{jobs: f.jobs, queue: f.queue} }

// startTick begins at the start if the end was reached: there may be new jobs.
func (f *jobFeeder) startTick() {
	f.known = 0
	if f.ended {
		f.restart()
	}
}

// fillSchedule reads on while there is room for half a window, so that a page is not read for
// each job that ends. After an error of the book it is tried anew at the next tick.
func (f *jobFeeder) fillSchedule(p *jobSchedule, now time.Time) {
	for !f.ended && f.known < maxKnownPerTick && p.untried <= maxUntried/2 {
		jobs, err := f.jobs.Outbox(f.queue, now, f.after, jobPage)
		if err != nil {
			f.ended = true
			return
		}
		for _, j := range jobs {
			held := len(p.tasks)
			if !p.addJob(j) {
				return
			}
			if f.after = j; len(p.tasks) == held {
				f.known++
			}
		}
		f.ended = len(jobs) < jobPage
	}
}
