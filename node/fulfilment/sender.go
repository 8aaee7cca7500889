package fulfilment

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"bramble/node/orders"
)

const (
	// webhookWorkers and mailWorkers are how many are told at a time. Four keep a
	// receiver busy that is a quarter of a second away; mail servers are wary of more
	// connections from one customer.
	webhookWorkers = 4
	mailWorkers    = 2
	// jobPage is how many jobs are read from the outbox at a time.
	jobPage = 128
	// commitTimeout bounds the wait for the ledger before a job is told, and doneTimeout
	// afterwards: that is how long Run may go on after its context has ended.
	commitTimeout = 15 * time.Second
	doneTimeout   = 5 * time.Second
	// countInterval is how often the outbox is counted for Stats.
	countInterval = 10 * time.Second
	// refusedLogInterval is how often it is said that jobs are refused.
	refusedLogInterval = time.Hour
	// warnInterval is how often the same fault of a receiver is said.
	warnInterval = time.Minute
	// maxNamed is how many references such a line names.
	maxNamed = 10
)

// Sender tells what is in the outbox while its board leads.
type Sender struct {
	jobs     JobStore
	leading  func() bool
	now      func() time.Time
	poll     time.Duration
	log      *slog.Logger
	channels [2]*channel // webhook, mail
	poster   *poster     // nil if there is none
}

// channel is one receiver: who is told of one queue's jobs.
type channel struct {
	queue    orders.Queue
	name     string
	schedule *jobSchedule
	// deliver tries once; nil if the receiver is not configured.
	deliver func(context.Context, orders.Order, *task) attemptResult
	// retry asks for all that waits to be tried now; holds one.
	retry chan struct{}

	// loggedFailure is the fault that the log has heard of last, and when; none after it has heard
	// that all is well. Only run touches them.
	loggedFailure Failure
	loggedAt      time.Time

	mu    sync.Mutex // guards stats
	stats ChannelStats
}

// New makes a Sender. Its error matches ErrConfig and, for a bad secret, ErrSecret.
func New(cfg Config) (*Sender, error) {
	if cfg.Jobs == nil || cfg.Leading == nil {
		return nil, configError("Book and Leading must be given")
	}
	s := &Sender{jobs: cfg.Jobs, leading: cfg.Leading, now: cfg.Now, poll: cfg.Poll, log: cfg.Logger}
	if s.now == nil {
		s.now = time.Now
	}
	if s.poll <= 0 {
		s.poll = defaultPoll
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	jitter := cfg.Jitter
	if jitter == nil {
		jitter = rand.Int64N
	}
	hooks := &channel{queue: orders.QueueWebhook, name: "webhook", schedule: newJobSchedule(webhookWorkers, jitter), retry: make(chan struct{}, 1)}
	mails := &channel{queue: orders.QueueMail, name: "mail", schedule: newJobSchedule(mailWorkers, jitter), retry: make(chan struct{}, 1)}
	s.channels = [2]*channel{hooks, mails}
	if cfg.Webhook.URL != "" {
		u, err := checkURL(cfg.Webhook.URL)
		if err != nil {
			return nil, err
		}
		secret, err := ParseSecret(cfg.Webhook.Secret)
		if err != nil {
			return nil, configError("[webhook] secret: %w", err)
		}
		s.poster = newPoster(u, secret, cfg.Webhook.Timeout, cfg.Roots, webhookWorkers, s.now)
		hooks.deliver = func(ctx context.Context, p orders.Order, _ *task) attemptResult { return s.poster.postOrder(ctx, p) }
	}
	if cfg.Mail.Server != "" {
		m, err := newMailer(cfg, s.now)
		if err != nil {
			return nil, err
		}
		mails.deliver = func(ctx context.Context, p orders.Order, t *task) attemptResult {
			return m.deliverMail(ctx, p, t.kind, t.since)
		}
	}
	for _, l := range s.channels {
		l.stats.Configured = l.deliver != nil
	}
	return s, nil
}

// Run tells until ctx ends. What is under way then is broken off, and told again by
// whoever leads next.
func (s *Sender) Run(ctx context.Context) {
	var lanes sync.WaitGroup
	for _, l := range s.channels {
		lanes.Go(func() { s.runChannel(ctx, l) })
	}
	lanes.Wait()
	if s.poster != nil {
		s.poster.close()
	}
}

// Retry has all that waits tried now, for whoever has just repaired a receiver.
func (s *Sender) Retry() {
	for _, l := range s.channels {
		select {
		case l.retry <- struct{}{}:
		default: // it was asked for already
		}
	}
}

// Stats tells how it stands.
func (s *Sender) Stats() Stats {
	return Stats{Webhook: s.channels[0].readStats(), Mail: s.channels[1].readStats()}
}

func (l *channel) readStats() ChannelStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// attempt is a try that has ended.
type attempt struct {
	task   *task
	result attemptResult
}

// runChannel is a lane's one goroutine that touches its plan; a try has a goroutine of its own.
func (s *Sender) runChannel(ctx context.Context, l *channel) {
	var (
		results  = make(chan attempt, l.schedule.workers)
		ticker   = time.NewTicker(s.poll)
		feed     = jobFeeder{jobs: s.jobs, queue: l.queue}
		counted  time.Time
		reminded = s.now()
	)
	defer ticker.Stop()
	defer func() { // the tries end with ctx
		for range l.schedule.running {
			<-results
		}
	}()
	for {
		now := s.now()
		if now.Sub(counted) >= countInterval {
			counted = now
			s.countWaiting(l, now)
		}
		leading := s.leading()
		if leading && l.deliver != nil {
			feed.fillSchedule(l.schedule, now)
			for t := l.schedule.nextTask(now); t != nil; t = l.schedule.nextTask(now) {
				go func() { results <- attempt{t, s.attemptJob(ctx, l, t)} }()
			}
			if now.Sub(reminded) >= refusedLogInterval {
				reminded = now
				s.logRefused(l)
			}
		} else {
			l.schedule.dropWaiting()
			feed.restart()
		}
		l.publishStats(leading)
		select {
		case <-ctx.Done():
			return
		case r := <-results:
			s.recordResult(ctx, l, r)
		case <-l.retry:
			l.schedule.retryNow(s.now())
		case <-ticker.C:
			feed.startTick()
		}
	}
}

// attemptJob does one job once.
func (s *Sender) attemptJob(ctx context.Context, l *channel, t *task) attemptResult {
	how := t.resolution
	if how == "" {
		if !s.leading() {
			return attemptResult{obsolete: true}
		}
		paper, err := s.jobs.Order(t.id)
		switch {
		case errors.Is(err, orders.ErrNoOrder):
			return attemptResult{obsolete: true}
		case err != nil:
			return attemptResult{failure: FailureLedger, channelFailed: true}
		}
		v := s.beginFulfilment(ctx, l, paper)
		if v == (attemptResult{}) {
			v = l.deliver(ctx, paper, t)
		}
		if v.resolution == "" {
			return v
		}
		how = v.resolution
	}
	// Told is told, also if the board is about to stop.
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), doneTimeout)
	defer cancel()
	if err := s.jobs.FinishJob(commit, t.id, t.kind, how); err != nil {
		return attemptResult{resolution: how, failure: FailureLedger}
	}
	return attemptResult{resolution: how}
}

// beginFulfilment has it committed that an order is on its way, before the first try. The zero
// verdict lets the paper be told.
func (s *Sender) beginFulfilment(ctx context.Context, l *channel, p orders.Order) attemptResult {
	if l.queue != orders.QueueWebhook {
		return attemptResult{}
	}
	switch p.State {
	case orders.StateFulfilling:
		return attemptResult{}
	case orders.StateOpen, orders.StateWon:
	default:
		return attemptResult{obsolete: true}
	}
	commit, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err := s.jobs.BeginFulfilment(commit, p.ID)
	switch {
	case errors.Is(err, ErrGone):
		return attemptResult{obsolete: true}
	case err != nil:
		return attemptResult{failure: FailureLedger, channelFailed: true}
	}
	return attemptResult{}
}

// recordResult notes how a try has ended, and says it where it is news.
func (s *Sender) recordResult(ctx context.Context, l *channel, r attempt) {
	now := s.now()
	v := r.result
	id := r.task.id
	l.schedule.recordResult(r.task, v, now)
	if ctx.Err() != nil {
		return // it was broken off
	}
	l.mu.Lock()
	switch {
	case v.failure != NoFailure:
		l.stats.FailedAttempts++
		l.stats.Failure, l.stats.Detail, l.stats.FailureAt = v.failure, v.detail, now
	case v.resolution != "":
		l.stats.Delivered++
		if v.resolution == Undeliverable {
			l.stats.Undeliverable++
		}
		l.stats.Failure, l.stats.Detail = NoFailure, ""
	}
	l.mu.Unlock()
	log := s.log.With("to", l.name, "reference", id.String())
	switch {
	case v.obsolete:
		log.Debug("hand-over: there is nothing to tell any more")
	case v.failure != NoFailure:
		level := slog.LevelDebug
		if v.failure != l.loggedFailure && now.Sub(l.loggedAt) >= warnInterval || l.loggedAt.IsZero() {
			level, l.loggedFailure, l.loggedAt = slog.LevelWarn, v.failure, now
		}
		log.Log(ctx, level, "hand-over: it could not be told and is tried again", "fault", string(v.failure), "detail", v.detail)
	case v.resolution == Undeliverable:
		log.Warn("hand-over: no mail reaches the buyer", "detail", v.detail)
	case l.loggedFailure != NoFailure:
		l.loggedFailure = NoFailure
		log.Info("hand-over: it goes on again")
	}
}

// countWaiting has Stats tell what waits in this board's copy of the outbox.
func (s *Sender) countWaiting(l *channel, now time.Time) {
	jobs, err := s.jobs.Outbox(l.queue, now, orders.Job{}, maxCounted)
	if err != nil {
		return // the counts are those of before
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Waiting, l.stats.Oldest = len(jobs), time.Time{}
	if len(jobs) > 0 {
		l.stats.Oldest = jobs[0].Since
	}
}

// publishStats puts what only the plan knows into Stats.
func (l *channel) publishStats(leading bool) {
	_, refused := l.schedule.listRefused(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Leading, l.stats.Refused, l.stats.Stopped = leading, refused, l.schedule.unsubscribed
	if !leading {
		l.stats.Failure, l.stats.Detail = NoFailure, ""
	}
}

// logRefused says what stays in the outbox because its receiver refuses it.
func (s *Sender) logRefused(l *channel) {
	some, count := l.schedule.listRefused(maxNamed)
	if count > 0 {
		names := make([]string, len(some))
		for i, id := range some {
			names[i] = id.String()
		}
		s.log.Warn("hand-over: the receiver has refused these for more than a day; they stay in the outbox and are tried about once an hour",
			"to", l.name, "count", count, "references", names)
	}
	if l.schedule.unsubscribed {
		s.log.Warn("hand-over: the receiver answers 410 Gone, it wants no orders any more; they stay in the outbox, and one is tried once a day",
			"to", l.name)
	}
}
