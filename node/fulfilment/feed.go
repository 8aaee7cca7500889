package fulfilment

import (
	"time"

	"bramble/node/orders"
)

// maxKnownPerTick limits the jobs read per tick that the schedule already has.
const maxKnownPerTick = 4 * jobPage

// jobFeeder walks through a queue of the outbox from start to end, again and again, and
// adds jobs to a schedule while it has room. So no job waits long for its first attempt,
// even if many before it are failing.
type jobFeeder struct {
	jobs  JobStore
	queue orders.Queue
	after orders.Job // the last job read that the schedule has
	known int        // jobs read since the last tick that the schedule already had
	ended bool       // the walk has reached the end, or the book failed
}

func (f *jobFeeder) restart() { *f = jobFeeder{jobs: f.jobs, queue: f.queue} }

// startTick begins at the start if the end was reached: there may be new jobs.
func (f *jobFeeder) startTick() {
	f.known = 0
	if f.ended {
		f.restart()
	}
}

// fillSchedule reads on while half the room for untried jobs is free, so that it reads a
// page once for many finished jobs rather than once per job. After an error of the book it tries again
// at the next tick.
func (f *jobFeeder) fillSchedule(p *jobSchedule, now time.Time) {
	for !f.ended && f.known < maxKnownPerTick && p.untried <= maxUntried/2 {
		jobs, err := f.jobs.Outbox(f.queue, now, f.after, jobPage)
		if err != nil {
			f.ended = true
			return
		}
		for _, j := range jobs {
			before := len(p.tasks)
			if !p.addJob(j) {
				return
			}
			if f.after = j; len(p.tasks) == before {
				f.known++
			}
		}
		f.ended = len(jobs) < jobPage
	}
}
