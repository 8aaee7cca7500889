package handover

import (
	"time"

	"bramble/node/orders"
)

// maxOld is how many jobs are read at one tick that the plan has in hand already.
const maxOld = 4 * page

// feeder walks through a queue of the outbox from the start to the end, again and again,
// and gives a plan what it has room for. So no job is left out for long, however many
// before it are failing.
type feeder struct {
	book  Book
	queue orders.Queue
	after orders.Job // the last one that the plan has in hand
	old   int        // jobs read since the last tick that it had already
	ended bool       // nothing is after it, as of the last look
}

// restart begins at the start.
func (f *feeder) restart() { *f = feeder{book: f.book, queue: f.queue} }

// tick begins at the start if the end was reached: there may be new jobs.
func (f *feeder) tick() {
	f.old = 0
	if f.ended {
		f.restart()
	}
}

// fill reads on while there is room for half a window, so that a page is not read for
// each job that ends. After an error of the book it is tried anew at the next tick.
func (f *feeder) fill(p *plan, now time.Time) {
	for !f.ended && f.old < maxOld && p.fresh <= window/2 {
		jobs, err := f.book.Outbox(f.queue, now, f.after, page)
		if err != nil {
			f.ended = true
			return
		}
		for _, j := range jobs {
			held := len(p.tasks)
			if !p.offer(j) {
				return
			}
			if f.after = j; len(p.tasks) == held {
				f.old++
			}
		}
		f.ended = len(jobs) < page
	}
}
