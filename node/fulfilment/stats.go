package fulfilment

import (
	"cmp"
	"slices"
	"time"

	"bramble/node/orders"
)

const (
	// maxCounted bounds the count of waiting jobs. It is the largest page of an outbox.
	maxCounted = orders.MaxPage
	// maxListed bounds the jobs that Stats names, for each list.
	maxListed = 50
	// countInterval is the interval at which the outbox is counted for Stats, and
	// fewCountInterval the one while at most fewWaiting jobs wait, which costs little.
	countInterval    = 10 * time.Second
	fewCountInterval = time.Second
	fewWaiting       = 50
)

// Stats is the state of fulfilment, for metrics, status and notices.
type Stats struct {
	Webhook ChannelStats `json:"webhook"`
	Mail    ChannelStats `json:"mail"`
}

// ChannelStats is the state of one receiver. Waiting and Oldest come from this board's copy
// of the outbox and are some seconds old; the rest counts this board's work since it
// started.
type ChannelStats struct {
	Configured bool         `json:"configured"`
	Leading    bool         `json:"leading"` // this board does the delivering
	Breaker    BreakerState `json:"breaker"`
	// NextAttempt is when the next attempt begins at the earliest, while the breaker is
	// not closed.
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	Waiting     int       `json:"waiting"`         // jobs that are due and not done; the count ends at 1,000
	Oldest      time.Time `json:"oldest,omitzero"` // when the oldest of them became due; zero if none waits
	Failing     int       `json:"failing"`         // of those: the last attempt failed
	Refused     int       `json:"refused"`         // of those: the receiver rejects the job itself

	Delivered      uint64    `json:"delivered"`         // jobs done
	Undeliverable  uint64    `json:"undeliverable"`     // of those: mail that could not be delivered
	FailedAttempts uint64    `json:"failed_attempts"`   // attempts that failed
	Failure        Failure   `json:"failure,omitempty"` // of the last attempt; NoFailure if it succeeded
	Detail         string    `json:"detail,omitempty"`  // more about it; nothing personal
	FailureAt      time.Time `json:"failure_at,omitzero"`

	// FailingJobs names the first of Failing, oldest first, and UndeliverableJobs the last
	// mails that could not be delivered; at most maxListed each. Neither changes once
	// published.
	FailingJobs       []FailingJob `json:"failing_jobs,omitempty"`
	UndeliverableJobs []FailingJob `json:"undeliverable_jobs,omitempty"`
}

// FailingJob is a job whose last attempt failed, without personal data.
type FailingJob struct {
	Reference string    `json:"reference"`
	Job       string    `json:"job"`      // such as webhook or mail-placed
	Since     time.Time `json:"since"`    // when it became due
	Attempts  int       `json:"attempts"` // so far
	Failure   Failure   `json:"failure"`
	Detail    string    `json:"detail,omitempty"`
	Next      time.Time `json:"next,omitzero"` // the next attempt; zero if there will be none
}

// listFailing lists the tasks whose last attempt failed, oldest first. One that is being
// attempted again is among them until it succeeds.
func (s *jobSchedule) listFailing() []FailingJob {
	var failing []FailingJob
	for _, t := range s.tasks {
		if t.failures > 0 {
			failing = append(failing, t.describe())
		}
	}
	slices.SortFunc(failing, func(a, b FailingJob) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Reference, b.Reference))
	})
	return failing
}

func (t *task) describe() FailingJob {
	return FailingJob{
		Reference: t.id.String(), Job: t.kind.String(), Since: t.since.UTC(), Attempts: t.failures,
		Failure: t.failure, Detail: t.detail, Next: t.next.UTC(),
	}
}

// countWaiting counts the waiting jobs in this board's copy of the outbox, and the failing
// ones, for Stats.
func (s *Sender) countWaiting(c *channel, now time.Time) {
	failing := c.schedule.listFailing()
	refused := 0
	for _, j := range failing {
		if j.Failure == FailureRefused || j.Failure == FailureRedirect || j.Failure == FailureGone {
			refused++
		}
	}
	jobs, err := s.jobs.Outbox(c.queue, now, orders.Job{}, maxCounted)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Failing, c.stats.Refused, c.stats.FailingJobs = len(failing), refused, slices.Clip(failing[:min(len(failing), maxListed)])
	if err != nil {
		return // the previous counts stay
	}
	c.stats.Waiting, c.stats.Oldest = len(jobs), time.Time{}
	if len(jobs) > 0 {
		c.stats.Oldest = jobs[0].Since.UTC()
	}
}

// isCountDue reports whether countWaiting must count again.
func (c *channel) isCountDue(counted, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stats.Waiting <= fewWaiting {
		return now.Sub(counted) >= fewCountInterval
	}
	return now.Sub(counted) >= countInterval
}

// publishStats copies the breaker's state into Stats.
func (c *channel) publishStats(leading bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Leading, c.stats.Breaker, c.stats.NextAttempt = leading, c.schedule.stateAt(now), time.Time{}
	if c.stats.Breaker != BreakerClosed {
		c.stats.NextAttempt = c.schedule.openUntil.UTC()
	}
	if !leading {
		c.stats.Failure, c.stats.Detail = NoFailure, ""
	}
}

func (c *channel) countAttempt(t *task, r attemptResult, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.failure != NoFailure:
		c.stats.FailedAttempts++
		c.stats.Failure, c.stats.Detail, c.stats.FailureAt = r.failure, r.detail, now.UTC()
	case r.resolution != "":
		c.stats.Delivered++
		if r.resolution == Undeliverable {
			c.stats.Undeliverable++
			ended := t.describe()
			ended.Attempts, ended.Failure, ended.Detail, ended.Next = t.failures+1, FailureRefused, r.detail, time.Time{}
			list := c.stats.UndeliverableJobs
			c.stats.UndeliverableJobs = append(slices.Clone(list[max(0, len(list)+1-maxListed):]), ended)
		}
		c.stats.Failure, c.stats.Detail = NoFailure, ""
	}
}
