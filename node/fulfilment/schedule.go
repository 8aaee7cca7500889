package fulfilment

import (
	"container/heap"
	"time"

	"bramble/node/orders"
)

const (
	// maxUntried is how many jobs wait in memory for their first try. The others wait in
	// the order book, where they cost none.
	maxUntried = 256
	// maxTasks bounds the jobs that a board remembers to have failed. Beyond it no new
	// ones are begun: with so many failing it is not the jobs that are wrong.
	maxTasks = 8192
	// maxFailuresInRow is how many jobs may fail in a row before the receiver counts as failing.
	maxFailuresInRow = 8
	// refusedAfter is how long a receiver that refuses a job may be mistaken: for the
	// time of a repair it is not said that the job is refused.
	refusedAfter = 24 * time.Hour
	// unsubscribedPause is how long a receiver is left alone that said it wants nothing any more.
	unsubscribedPause = 24 * time.Hour
	// maxPause bounds what a receiver may ask for with Retry-After.
	maxPause = time.Hour
)

// task is a job that this board has in hand. It holds nothing personal: the paper is
// read anew for each try.
type task struct {
	id         orders.ID
	kind       orders.JobKind
	since      time.Time
	failures   int
	next       time.Time  // of the next try
	resolution Resolution // not empty: it is told, and only Done remains
	failure    Failure    // of the last try
	refused    bool       // for longer than refusedAfter
}

// jobSchedule says which job is tried next and when: a lane without clock, network and
// goroutines. It is not safe for concurrent use.
type jobSchedule struct {
	workers int
	jitter  func(int64) int64

	tasks      map[orders.ID]*task // a paper has at most one job in each of the book's queues
	waiting    queue               // to be told
	unfinished queue               // told; Done is owed
	running    int
	untried    int // tasks that have not failed

	failures     int       // failures in a row that were a job's own
	opens        int       // rests in a row
	openUntil    time.Time // nothing is told before
	unsubscribed bool      // the receiver wants nothing any more
}

func newJobSchedule(workers int, jitter func(int64) int64) *jobSchedule {
	return &jobSchedule{workers: workers, jitter: jitter, tasks: map[orders.ID]*task{}}
}

// addJob takes a job on. It is false if there is no room for it now.
func (p *jobSchedule) addJob(j orders.Job) bool {
	if _, ok := p.tasks[j.Order.ID]; ok {
		return true
	}
	if p.untried >= maxUntried || len(p.tasks) >= maxTasks {
		return false
	}
	t := &task{id: j.Order.ID, kind: j.Kind, since: j.Since, next: j.Since}
	p.tasks[t.id] = t
	p.untried++
	heap.Push(&p.waiting, t)
	return true
}

// nextTask gives the next job to try now, or nil. It runs until it is settled. While the
// receiver is failing only one is tried at a time.
func (p *jobSchedule) nextTask(now time.Time) *task {
	if p.running >= p.workers {
		return nil
	}
	from := &p.unfinished
	if !from.hasDue(now) {
		from = &p.waiting
		if !from.hasDue(now) || now.Before(p.openUntil) || p.opens > 0 && p.running > 0 {
			return nil
		}
	}
	p.running++
	return heap.Pop(from).(*task)
}

// recordResult puts a task that was running where its try has brought it.
func (p *jobSchedule) recordResult(t *task, v attemptResult, now time.Time) {
	p.running--
	if v.obsolete || v.resolution != "" && v.failure == NoFailure {
		p.removeTask(t)
		if v.resolution != "" && v.resolution != Superseded && t.resolution == "" {
			p.closeBreaker() // it has just answered
		}
		return
	}
	if t.failures == 0 {
		p.untried--
	}
	t.failures++
	t.failure = v.failure
	pause := min(v.retryAfter, maxPause)
	t.next = now.Add(max(jobBackoff().drawDelay(t.failures, p.jitter), pause))
	t.refused = v.refused && now.Sub(t.since) >= refusedAfter
	if t.resolution = v.resolution; t.resolution != "" {
		heap.Push(&p.unfinished, t)
		return
	}
	heap.Push(&p.waiting, t)
	switch {
	case v.unsubscribed:
		p.unsubscribed, p.openUntil = true, now.Add(unsubscribedPause)
	case v.channelFailed:
		p.openBreaker(now, pause)
	default:
		if p.failures++; p.failures >= maxFailuresInRow {
			p.openBreaker(now, pause)
		} else if !p.unsubscribed {
			p.opens = 0 // it answers again
		}
	}
}

// openBreaker leaves the receiver alone for a while. Tries that were under way when the rest
// began do not lengthen it.
func (p *jobSchedule) openBreaker(now time.Time, pause time.Duration) {
	if now.Before(p.openUntil) {
		return
	}
	p.opens++
	p.openUntil = now.Add(max(channelBackoff().drawDelay(p.opens, p.jitter), pause))
}

// closeBreaker ends a rest.
func (p *jobSchedule) closeBreaker() {
	p.failures, p.opens, p.openUntil, p.unsubscribed = 0, 0, time.Time{}, false
}

// retryNow makes all that waits due at now.
func (p *jobSchedule) retryNow(now time.Time) {
	p.closeBreaker()
	for _, q := range []*queue{&p.waiting, &p.unfinished} {
		for _, t := range *q {
			if t.next.After(now) {
				t.next = now
			}
		}
		heap.Init(q)
	}
}

// dropWaiting drops all that another board does from now on. What only lacks its Done is kept.
func (p *jobSchedule) dropWaiting() {
	for _, t := range p.waiting {
		if t.failures == 0 {
			p.untried--
		}
		delete(p.tasks, t.id)
	}
	p.waiting = nil
	p.closeBreaker()
}

func (p *jobSchedule) removeTask(t *task) {
	if t.failures == 0 {
		p.untried--
	}
	delete(p.tasks, t.id)
}

// listRefused lists the jobs that are refused for good, at most most of them, and counts them.
func (p *jobSchedule) listRefused(most int) (some []orders.ID, count int) {
	for _, t := range p.waiting {
		if t.refused {
			if count++; len(some) < most {
				some = append(some, t.id)
			}
		}
	}
	return some, count
}

// queue is a heap of tasks by the time of their next try. A job that was not tried yet
// counts from when it was due, and so comes before those that have failed since.
type queue []*task

func (q *queue) hasDue(now time.Time) bool { return len(*q) > 0 && !(*q)[0].next.After(now) }

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].next.Before(q[j].next) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push and Pop are container/heap's.
func (q *queue) Push(x any) {
	*q = append(*q, x.(*task))
}

func (q *queue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return t
}
