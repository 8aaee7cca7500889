package fulfilment

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"bramble/node/orders"
)

const (
	// webhookWorkers and mailWorkers limit the concurrent attempts of a channel. Four
	// keep a receiver with a round trip of a quarter of a second busy; mail servers
	// distrust more connections from one customer.
	webhookWorkers = 4
	mailWorkers    = 2
	// jobPage is the number of jobs that are read from the outbox at a time.
	jobPage = 128
	// commitTimeout bounds the wait for the ledger before a job is delivered.
	commitTimeout = 15 * time.Second
	// finishTimeout bounds the wait for the ledger after a job is delivered, and so the
	// time that Run takes to return after its context has ended.
	finishTimeout = 5 * time.Second
	// refusedLogInterval is the interval at which refused jobs are logged.
	refusedLogInterval = time.Hour
	// warnInterval is the minimum time between two warnings about a receiver.
	warnInterval = time.Minute
	// maxLoggedReferences bounds the references that one log line names.
	maxLoggedReferences = 10
)

// Sender delivers the jobs of the outbox while its board leads.
type Sender struct {
	jobs     JobStore
	leading  func() bool
	now      func() time.Time
	poll     time.Duration
	log      *slog.Logger
	channels [2]*channel // webhook, mail
	poster   *poster     // nil: no webhook is configured
}

// channel delivers the jobs of one queue to one receiver.
type channel struct {
	queue    orders.Queue
	name     string
	schedule *jobSchedule
	// deliver makes one attempt; nil if the receiver is not configured.
	deliver func(context.Context, orders.Order, *task) attemptResult
	// retry requests that every waiting job is attempted now; capacity 1.
	retry chan struct{}

	// The failure that was logged last, and when; NoFailure once a recovery was logged.
	// Only runChannel uses them.
	loggedFailure Failure
	loggedAt      time.Time

	mu    sync.Mutex // protects stats
	stats ChannelStats
}

// New returns a Sender. Its error matches ErrConfig and, for a bad secret, ErrSecret.
func New(cfg Config) (*Sender, error) {
	if cfg.Jobs == nil || cfg.Leading == nil {
		return nil, configError("Jobs and Leading must be set")
	}
	s := &Sender{jobs: cfg.Jobs, leading: cfg.Leading, now: cfg.Now, poll: cmp.Or(cfg.Poll, defaultPoll), log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))}
	if s.now == nil {
		s.now = time.Now
	}
	jitter := cfg.Jitter
	if jitter == nil {
		jitter = rand.Int64N
	}
	webhook := &channel{queue: orders.QueueWebhook, name: "webhook", schedule: newJobSchedule(webhookWorkers, jitter), retry: make(chan struct{}, 1)}
	mail := &channel{queue: orders.QueueMail, name: "mail", schedule: newJobSchedule(mailWorkers, jitter), retry: make(chan struct{}, 1)}
	s.channels = [2]*channel{webhook, mail}
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
		webhook.deliver = func(ctx context.Context, o orders.Order, t *task) attemptResult {
			return s.poster.postOrder(ctx, o, t.kind)
		}
	}
	if cfg.Mail.Server != "" {
		m, err := newMailer(cfg, s.now)
		if err != nil {
			return nil, err
		}
		mail.deliver = func(ctx context.Context, o orders.Order, t *task) attemptResult {
			return m.deliverMail(ctx, o, t.kind, t.since)
		}
	}
	for _, c := range s.channels {
		c.stats.Configured = c.deliver != nil
	}
	return s, nil
}

// Run delivers until ctx ends. Attempts in progress are then cancelled, and the next leader
// repeats them.
func (s *Sender) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, c := range s.channels {
		running.Go(func() { s.runChannel(ctx, c) })
	}
	running.Wait()
	if s.poster != nil {
		s.poster.close()
	}
}

// Retry attempts every waiting job now. An operator calls it after fixing a receiver.
func (s *Sender) Retry() {
	for _, c := range s.channels {
		select {
		case c.retry <- struct{}{}:
		default: // a retry is already requested
		}
	}
}

// Stats returns the state of both channels.
func (s *Sender) Stats() Stats {
	return Stats{Webhook: s.channels[0].readStats(), Mail: s.channels[1].readStats()}
}

func (c *channel) readStats() ChannelStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

type attempt struct {
	task   *task
	result attemptResult
}

// runChannel is the only goroutine that touches the channel's schedule; each attempt has a
// goroutine of its own.
func (s *Sender) runChannel(ctx context.Context, c *channel) {
	var (
		attempts = make(chan attempt, c.schedule.workers)
		ticker   = time.NewTicker(s.poll)
		feed     = jobFeeder{jobs: s.jobs, queue: c.queue}
		counted  time.Time
		reminded = s.now()
	)
	defer ticker.Stop()
	defer func() { // the attempts end with ctx
		for range c.schedule.running {
			<-attempts
		}
	}()
	for {
		now := s.now()
		if c.isCountDue(counted, now) {
			counted = now
			s.countWaiting(c, now)
		}
		leading := s.leading()
		if leading && c.deliver != nil {
			feed.fillSchedule(c.schedule, now)
			for t := c.schedule.nextTask(now); t != nil; t = c.schedule.nextTask(now) {
				go func() { attempts <- attempt{t, s.attemptJob(ctx, c, t)} }()
			}
			if now.Sub(reminded) >= refusedLogInterval {
				reminded = now
				s.logRefused(c)
			}
		} else {
			c.schedule.dropWaiting()
			feed.restart()
		}
		c.publishStats(leading, now)
		select {
		case <-ctx.Done():
			return
		case a := <-attempts:
			s.recordAttempt(ctx, c, a)
			if a.result.failure != NoFailure && c.readStats().Waiting <= fewWaiting {
				counted = time.Time{} // Stats names the failing job at once
			}
		case <-c.retry:
			c.schedule.retryNow(s.now())
			counted = time.Time{} // so that Stats soon shows the effect
		case <-ticker.C:
			feed.startTick()
		}
	}
}

// attemptJob makes one attempt at a job: it delivers the job unless that is already done,
// and commits that it is finished.
func (s *Sender) attemptJob(ctx context.Context, c *channel, t *task) attemptResult {
	resolution := t.resolution
	if resolution == "" {
		if !s.leading() {
			return attemptResult{obsolete: true}
		}
		o, err := s.jobs.Order(t.id)
		switch {
		case errors.Is(err, orders.ErrNoOrder):
			return attemptResult{obsolete: true}
		case err != nil:
			return attemptResult{failure: FailureLedger, channelFailed: true}
		}
		r := s.beginFulfilment(ctx, t.kind, o)
		if r == (attemptResult{}) {
			r = c.deliver(ctx, o, t)
		}
		if r.resolution == "" {
			return r
		}
		resolution = r.resolution
	}
	// A delivery must be recorded, even if the board is about to stop.
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err := s.jobs.FinishJob(commit, t.id, t.kind, resolution); err != nil {
		return attemptResult{resolution: resolution, failure: FailureLedger}
	}
	return attemptResult{resolution: resolution}
}

// beginFulfilment commits, before the first attempt of an order.placed, that the order is being
// passed on. The zero result means that it can be delivered.
func (s *Sender) beginFulfilment(ctx context.Context, kind orders.JobKind, o orders.Order) attemptResult {
	if kind != orders.JobWebhook {
		if kind == orders.JobCancelled && !o.HandedOver {
			return attemptResult{resolution: Superseded} // the fulfiller has never heard of it
		}
		return attemptResult{}
	}
	switch o.State {
	case orders.StateFulfilling:
		return attemptResult{}
	case orders.StateOpen, orders.StateWon:
	default:
		return attemptResult{obsolete: true}
	}
	commit, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err := s.jobs.BeginFulfilment(commit, o.ID)
	switch {
	case errors.Is(err, ErrGone):
		return attemptResult{obsolete: true}
	case err != nil:
		return attemptResult{failure: FailureLedger, channelFailed: true}
	}
	return attemptResult{}
}

// recordAttempt records how an attempt ended, and logs it if that has changed.
func (s *Sender) recordAttempt(ctx context.Context, c *channel, a attempt) {
	now := s.now()
	r := a.result
	c.schedule.recordResult(a.task, r, now)
	if ctx.Err() != nil {
		return // it was cancelled
	}
	c.countAttempt(a.task, r, now)
	log := s.log.With("channel", c.name, "reference", a.task.id.String())
	switch {
	case r.obsolete:
		log.Debug("fulfilment: the job does not exist any more")
	case r.failure != NoFailure:
		level := slog.LevelDebug
		if r.failure != c.loggedFailure && now.Sub(c.loggedAt) >= warnInterval || c.loggedAt.IsZero() {
			level, c.loggedFailure, c.loggedAt = slog.LevelWarn, r.failure, now
		}
		log.Log(ctx, level, "fulfilment: an attempt failed and will be repeated", "failure", string(r.failure), "detail", r.detail)
	case r.resolution == Undeliverable:
		log.Warn("fulfilment: the mail to the buyer cannot be delivered", "detail", r.detail)
	case c.loggedFailure != NoFailure:
		c.loggedFailure = NoFailure
		log.Info("fulfilment: the receiver works again")
	}
}

// logRefused logs the jobs that stay in the outbox because their receiver refuses them.
func (s *Sender) logRefused(c *channel) {
	if refused := c.schedule.listRefused(); len(refused) > 0 {
		var references []string
		for _, id := range refused[:min(len(refused), maxLoggedReferences)] {
			references = append(references, id.String())
		}
		s.log.Warn("fulfilment: the receiver has refused these for more than a day; they stay in the outbox and are attempted about once an hour",
			"channel", c.name, "count", len(refused), "references", references)
	}
	if c.schedule.unsubscribed {
		s.log.Warn("fulfilment: the receiver has answered 410 Gone and so unsubscribed; the orders stay in the outbox, and one is attempted once a day",
			"channel", c.name)
	}
}
