package handover

import (
	"container/heap"
	"time"

	"bramble/node/orders"
)

const (
	// window is how many jobs wait in memory for their first try. The others wait in
	// the order book, where they cost none.
	window = 256
	// maxTasks bounds the jobs that a board remembers to have failed. Beyond it no new
	// ones are begun: with so many failing it is not the jobs that are wrong.
	maxTasks = 8192
	// maxStrikes is how many jobs may fail in a row before the receiver counts as failing.
	maxStrikes = 8
	// refusedAfter is how long a receiver that refuses a job may be mistaken: for the
	// time of a repair it is not said that the job is refused.
	refusedAfter = 24 * time.Hour
	// goneRest is how long a receiver is left alone that said it wants nothing any more.
	goneRest = 24 * time.Hour
	// maxPause bounds what a receiver may ask for with Retry-After.
	maxPause = time.Hour
)

// task is a job that this board has in hand. It holds nothing personal: the paper is
// read anew for each try.
type task struct {
	id       orders.ID
	what     orders.What
	since    time.Time
	failures int
	next     time.Time // of the next try
	how      How       // not empty: it is told, and only Done remains
	fault    Fault     // of the last try
	refused  bool      // for longer than refusedAfter
}

// plan says which job is tried next and when: a lane without clock, network and
// goroutines. It is not safe for concurrent use.
type plan struct {
	workers int
	jitter  func(int64) int64

	tasks   map[orders.ID]*task // a paper has at most one job in each of the book's queues
	waiting queue               // to be told
	owed    queue               // told; Done is owed
	running int
	fresh   int // tasks that have not failed

	strikes int       // failures in a row that were a job's own
	rests   int       // rests in a row
	until   time.Time // nothing is told before
	stopped bool      // the receiver wants nothing any more
}

func newPlan(workers int, jitter func(int64) int64) *plan {
	return &plan{workers: workers, jitter: jitter, tasks: map[orders.ID]*task{}}
}

// offer takes a job on. It is false if there is no room for it now.
func (p *plan) offer(j orders.Job) bool {
	if _, ok := p.tasks[j.Paper.ID]; ok {
		return true
	}
	if p.fresh >= window || len(p.tasks) >= maxTasks {
		return false
	}
	t := &task{id: j.Paper.ID, what: j.What, since: j.Since, next: j.Since}
	p.tasks[t.id] = t
	p.fresh++
	heap.Push(&p.waiting, t)
	return true
}

// take gives the next job to try now, or nil. It runs until it is settled. While the
// receiver is failing only one is tried at a time.
func (p *plan) take(now time.Time) *task {
	if p.running >= p.workers {
		return nil
	}
	from := &p.owed
	if !from.due(now) {
		from = &p.waiting
		if !from.due(now) || now.Before(p.until) || p.rests > 0 && p.running > 0 {
			return nil
		}
	}
	p.running++
	return heap.Pop(from).(*task)
}

// settle puts a task that was running where its try has brought it.
func (p *plan) settle(t *task, v verdict, now time.Time) {
	p.running--
	if v.drop || v.how != "" && v.fault == FaultNone {
		p.remove(t)
		if v.how != "" && v.how != Superseded && t.how == "" {
			p.wake() // it has just answered
		}
		return
	}
	if t.failures == 0 {
		p.fresh--
	}
	t.failures++
	t.fault = v.fault
	pause := min(v.pause, maxPause)
	t.next = now.Add(max(jobBackoff().wait(t.failures, p.jitter), pause))
	t.refused = v.refused && now.Sub(t.since) >= refusedAfter
	if t.how = v.how; t.how != "" {
		heap.Push(&p.owed, t)
		return
	}
	heap.Push(&p.waiting, t)
	switch {
	case v.stop:
		p.stopped, p.until = true, now.Add(goneRest)
	case v.lane:
		p.rest(now, pause)
	default:
		if p.strikes++; p.strikes >= maxStrikes {
			p.rest(now, pause)
		} else if !p.stopped {
			p.rests = 0 // it answers again
		}
	}
}

// rest leaves the receiver alone for a while. Tries that were under way when the rest
// began do not lengthen it.
func (p *plan) rest(now time.Time, pause time.Duration) {
	if now.Before(p.until) {
		return
	}
	p.rests++
	p.until = now.Add(max(laneBackoff().wait(p.rests, p.jitter), pause))
}

// wake ends a rest.
func (p *plan) wake() {
	p.strikes, p.rests, p.until, p.stopped = 0, 0, time.Time{}, false
}

// retry makes all that waits due at now.
func (p *plan) retry(now time.Time) {
	p.wake()
	for _, q := range []*queue{&p.waiting, &p.owed} {
		for _, t := range *q {
			if t.next.After(now) {
				t.next = now
			}
		}
		heap.Init(q)
	}
}

// forget drops all that another board does from now on. What only lacks its Done is kept.
func (p *plan) forget() {
	for _, t := range p.waiting {
		if t.failures == 0 {
			p.fresh--
		}
		delete(p.tasks, t.id)
	}
	p.waiting = nil
	p.wake()
}

func (p *plan) remove(t *task) {
	if t.failures == 0 {
		p.fresh--
	}
	delete(p.tasks, t.id)
}

// refused lists the jobs that are refused for good, at most most of them, and counts them.
func (p *plan) refused(most int) (some []orders.ID, count int) {
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

func (q *queue) due(now time.Time) bool { return len(*q) > 0 && !(*q)[0].next.After(now) }

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
