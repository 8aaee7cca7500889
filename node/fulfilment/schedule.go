package fulfilment

import (
	"cmp"
	"slices"
	"time"

	"bramble/node/orders"
)

const (
	// maxUntried bounds the jobs that wait in memory for their first attempt. The others
	// wait in the order book, where they cost no memory.
	maxUntried = 256
	// maxTasks limits the failed jobs that a board remembers. At the limit it begins no new
	// ones: if that many fail, the jobs are not the reason.
	maxTasks = 8192
	// refusedAfter is the time after which a refused job counts as refused. Before that the
	// refusal may be the receiver's mistake, and a fix within the time needs no report.
	refusedAfter = 24 * time.Hour
	// maxRetryAfter limits the pause that a receiver can request with Retry-After.
	maxRetryAfter = time.Hour
)

// task is a job that this board has in memory. It holds nothing personal: each attempt
// reads the order again.
type task struct {
	id         orders.ID
	kind       orders.JobKind
	since      time.Time
	failures   int
	next       time.Time  // of the next attempt
	resolution Resolution // not empty: it is delivered, and only FinishJob remains
	failure    Failure    // of the last attempt; detail adds to it
	detail     string
	isRunning  bool // an attempt is in progress, and reads the task
	refused    bool // for longer than refusedAfter
}

// jobSchedule decides which job of a channel is attempted next, and when. It has no clock,
// network or goroutines. It is not safe for concurrent use.
type jobSchedule struct {
	workers int
	jitter  func(int64) int64
	breaker

	tasks   map[orders.ID]*task // an order has at most one job in each of the book's queues
	running int
	untried int // tasks that have not failed
}

func newJobSchedule(workers int, jitter func(int64) int64) *jobSchedule {
	return &jobSchedule{workers: workers, jitter: jitter, tasks: map[orders.ID]*task{}}
}

// addJob adds a job, and reports whether it is in memory now; false if there is no room.
func (s *jobSchedule) addJob(j orders.Job) bool {
	if t, ok := s.tasks[j.Order.ID]; ok {
		if !t.isRunning && t.resolution == "" {
			t.kind, t.since = j.Kind, j.Since // the order has a newer job in its place
		}
		return true
	}
	if s.untried >= maxUntried || len(s.tasks) >= maxTasks {
		return false
	}
	t := &task{id: j.Order.ID, kind: j.Kind, since: j.Since, next: j.Since}
	s.tasks[t.id] = t
	s.untried++
	return true
}

// nextTask returns the task to attempt now, or nil. It counts as running until
// recordResult.
func (s *jobSchedule) nextTask(now time.Time) (next *task) {
	if s.running >= s.workers {
		return nil
	}
	allowed := s.allows(now, s.running)
	for _, t := range s.tasks {
		isDue := !t.isRunning && !t.next.After(now) && (allowed || t.resolution != "")
		if isDue && (next == nil || t.compare(next) < 0) {
			next = t
		}
	}
	if next != nil {
		s.running++
		next.isRunning = true
	}
	return next
}

// compare orders tasks by their next attempt, those first that only lack their FinishJob. A job without an attempt
// has the time at which it became due, and so comes before those that have failed since.
func (t *task) compare(other *task) int {
	if isDelivered := t.resolution != ""; isDelivered != (other.resolution != "") {
		if isDelivered {
			return -1
		}
		return 1
	}
	return cmp.Or(t.next.Compare(other.next), cmp.Compare(t.id, other.id))
}

// recordResult removes a task whose attempt succeeded, and schedules the next attempt of
// one that failed.
func (s *jobSchedule) recordResult(t *task, r attemptResult, now time.Time) {
	s.running--
	t.isRunning = false
	if r.obsolete || r.resolution != "" && r.failure == NoFailure {
		s.removeTask(t)
		if r.resolution != "" && r.resolution != Superseded && t.resolution == "" {
			s.reset() // the receiver has just answered
		}
		return
	}
	if t.failures == 0 {
		s.untried--
	}
	t.failures++
	t.failure, t.detail = r.failure, r.detail
	t.next = now.Add(max(jobBackoff().drawDelay(t.failures, s.jitter), min(r.retryAfter, maxRetryAfter)))
	t.refused = r.refused && now.Sub(t.since) >= refusedAfter
	if t.resolution = r.resolution; t.resolution == "" {
		s.recordFailure(r, now, s.jitter)
	}
}

// retryNow makes every task due at now and closes the breaker.
func (s *jobSchedule) retryNow(now time.Time) {
	s.reset()
	for _, t := range s.tasks {
		if t.next.After(now) {
			t.next = now
		}
	}
}

// dropWaiting drops the tasks that another board delivers from now on. Tasks that only
// lack their FinishJob stay.
func (s *jobSchedule) dropWaiting() {
	for _, t := range s.tasks {
		if !t.isRunning && t.resolution == "" {
			s.removeTask(t)
		}
	}
	s.reset()
}

func (s *jobSchedule) removeTask(t *task) {
	if t.failures == 0 {
		s.untried--
	}
	delete(s.tasks, t.id)
}

// listRefused returns the tasks that are refused for good.
func (s *jobSchedule) listRefused() (refused []orders.ID) {
	for _, t := range s.tasks {
		if t.refused {
			refused = append(refused, t.id)
		}
	}
	slices.Sort(refused)
	return refused
}
