package handover

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
	// page is how many jobs are read from the outbox at a time.
	page = 128
	// commitTimeout bounds the wait for the ledger before a job is told, and doneTimeout
	// afterwards: that is how long Run may go on after its context has ended.
	commitTimeout = 15 * time.Second
	doneTimeout   = 5 * time.Second
	// countEvery is how often the outbox is counted for Stats.
	countEvery = 10 * time.Second
	// remindEvery is how often it is said that jobs are refused.
	remindEvery = time.Hour
	// warnEvery is how often the same fault of a receiver is said.
	warnEvery = time.Minute
	// maxNamed is how many references such a line names.
	maxNamed = 10
)

// Sender tells what is in the outbox while its board leads.
type Sender struct {
	book    Book
	leading func() bool
	now     func() time.Time
	poll    time.Duration
	log     *slog.Logger
	lanes   [2]*lane // webhook, mail
	hook    *poster  // nil if there is none
}

// lane is one receiver: who is told of one queue's jobs.
type lane struct {
	queue orders.Queue
	name  string
	plan  *plan
	// tell tries once; nil if the receiver is not configured.
	tell func(context.Context, orders.Paper, *task) verdict
	// retry asks for all that waits to be tried now; holds one.
	retry chan struct{}

	// said is the fault that the log has heard of last, and when; none after it has heard
	// that all is well. Only run touches them.
	said   Fault
	saidAt time.Time

	mu    sync.Mutex // guards stats
	stats LaneStats
}

// New makes a Sender. Its error matches ErrConfig and, for a bad secret, ErrSecret.
func New(cfg Config) (*Sender, error) {
	if cfg.Book == nil || cfg.Leading == nil {
		return nil, wrong("Book and Leading must be given")
	}
	s := &Sender{book: cfg.Book, leading: cfg.Leading, now: cfg.Now, poll: cfg.Poll, log: cfg.Logger}
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
	hooks := &lane{queue: orders.QueueWebhook, name: "webhook", plan: newPlan(webhookWorkers, jitter), retry: make(chan struct{}, 1)}
	mails := &lane{queue: orders.QueueMail, name: "mail", plan: newPlan(mailWorkers, jitter), retry: make(chan struct{}, 1)}
	s.lanes = [2]*lane{hooks, mails}
	if cfg.Webhook.URL != "" {
		u, err := checkURL(cfg.Webhook.URL)
		if err != nil {
			return nil, err
		}
		secret, err := ParseSecret(cfg.Webhook.Secret)
		if err != nil {
			return nil, wrong("[webhook] secret: %w", err)
		}
		s.hook = newPoster(u, secret, cfg.Webhook.Timeout, cfg.Roots, webhookWorkers, s.now)
		hooks.tell = func(ctx context.Context, p orders.Paper, _ *task) verdict { return s.hook.tell(ctx, p) }
	}
	if cfg.Mail.Server != "" {
		m, err := newMailer(cfg, s.now)
		if err != nil {
			return nil, err
		}
		mails.tell = func(ctx context.Context, p orders.Paper, t *task) verdict { return m.tell(ctx, p, t.what, t.since) }
	}
	for _, l := range s.lanes {
		l.stats.On = l.tell != nil
	}
	return s, nil
}

// Run tells until ctx ends. What is under way then is broken off, and told again by
// whoever leads next.
func (s *Sender) Run(ctx context.Context) {
	var lanes sync.WaitGroup
	for _, l := range s.lanes {
		lanes.Go(func() { s.run(ctx, l) })
	}
	lanes.Wait()
	if s.hook != nil {
		s.hook.close()
	}
}

// Retry has all that waits tried now, for whoever has just repaired a receiver.
func (s *Sender) Retry() {
	for _, l := range s.lanes {
		select {
		case l.retry <- struct{}{}:
		default: // it was asked for already
		}
	}
}

// Stats tells how it stands.
func (s *Sender) Stats() Stats {
	return Stats{Webhook: s.lanes[0].read(), Mail: s.lanes[1].read()}
}

func (l *lane) read() LaneStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// result is a try that has ended.
type result struct {
	task    *task
	verdict verdict
}

// run is a lane's one goroutine that touches its plan; a try has a goroutine of its own.
func (s *Sender) run(ctx context.Context, l *lane) {
	var (
		results  = make(chan result, l.plan.workers)
		ticker   = time.NewTicker(s.poll)
		feed     = feeder{book: s.book, queue: l.queue}
		counted  time.Time
		reminded = s.now()
	)
	defer ticker.Stop()
	defer func() { // the tries end with ctx
		for range l.plan.running {
			<-results
		}
	}()
	for {
		now := s.now()
		if now.Sub(counted) >= countEvery {
			counted = now
			s.count(l, now)
		}
		leading := s.leading()
		if leading && l.tell != nil {
			feed.fill(l.plan, now)
			for t := l.plan.take(now); t != nil; t = l.plan.take(now) {
				go func() { results <- result{t, s.try(ctx, l, t)} }()
			}
			if now.Sub(reminded) >= remindEvery {
				reminded = now
				s.remind(l)
			}
		} else {
			l.plan.forget()
			feed.restart()
		}
		l.publish(leading)
		select {
		case <-ctx.Done():
			return
		case r := <-results:
			s.settle(ctx, l, r)
		case <-l.retry:
			l.plan.retry(s.now())
		case <-ticker.C:
			feed.tick()
		}
	}
}

// try does one job once.
func (s *Sender) try(ctx context.Context, l *lane, t *task) verdict {
	how := t.how
	if how == "" {
		if !s.leading() {
			return verdict{drop: true}
		}
		paper, err := s.book.Paper(t.id)
		switch {
		case errors.Is(err, orders.ErrNoPaper):
			return verdict{drop: true}
		case err != nil:
			return verdict{fault: FaultLedger, lane: true}
		}
		v := s.prepare(ctx, l, paper)
		if v == (verdict{}) {
			v = l.tell(ctx, paper, t)
		}
		if v.how == "" {
			return v
		}
		how = v.how
	}
	// Told is told, also if the board is about to stop.
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), doneTimeout)
	defer cancel()
	if err := s.book.Done(commit, t.id, t.what, how); err != nil {
		return verdict{how: how, fault: FaultLedger}
	}
	return verdict{how: how}
}

// prepare has it committed that an order is on its way, before the first try. The zero
// verdict lets the paper be told.
func (s *Sender) prepare(ctx context.Context, l *lane, p orders.Paper) verdict {
	if l.queue != orders.QueueWebhook {
		return verdict{}
	}
	switch p.State {
	case orders.StateHandingOver:
		return verdict{}
	case orders.StateOpen, orders.StateWon:
	default:
		return verdict{drop: true}
	}
	commit, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err := s.book.Handing(commit, p.ID)
	switch {
	case errors.Is(err, ErrGone):
		return verdict{drop: true}
	case err != nil:
		return verdict{fault: FaultLedger, lane: true}
	}
	return verdict{}
}

// settle notes how a try has ended, and says it where it is news.
func (s *Sender) settle(ctx context.Context, l *lane, r result) {
	now := s.now()
	v := r.verdict
	id := r.task.id
	l.plan.settle(r.task, v, now)
	if ctx.Err() != nil {
		return // it was broken off
	}
	l.mu.Lock()
	switch {
	case v.fault != FaultNone:
		l.stats.Failures++
		l.stats.Fault, l.stats.Detail, l.stats.FaultAt = v.fault, v.detail, now
	case v.how != "":
		l.stats.Told++
		if v.how == Undeliverable {
			l.stats.Undeliverable++
		}
		l.stats.Fault, l.stats.Detail = FaultNone, ""
	}
	l.mu.Unlock()
	log := s.log.With("to", l.name, "reference", id.String())
	switch {
	case v.drop:
		log.Debug("hand-over: there is nothing to tell any more")
	case v.fault != FaultNone:
		level := slog.LevelDebug
		if v.fault != l.said && now.Sub(l.saidAt) >= warnEvery || l.saidAt.IsZero() {
			level, l.said, l.saidAt = slog.LevelWarn, v.fault, now
		}
		log.Log(ctx, level, "hand-over: it could not be told and is tried again", "fault", string(v.fault), "detail", v.detail)
	case v.how == Undeliverable:
		log.Warn("hand-over: no mail reaches the buyer", "detail", v.detail)
	case l.said != FaultNone:
		l.said = FaultNone
		log.Info("hand-over: it goes on again")
	}
}

// count has Stats tell what waits in this board's copy of the outbox.
func (s *Sender) count(l *lane, now time.Time) {
	jobs, err := s.book.Outbox(l.queue, now, orders.Job{}, maxCounted)
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

// publish puts what only the plan knows into Stats.
func (l *lane) publish(leading bool) {
	_, refused := l.plan.refused(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Leading, l.stats.Refused, l.stats.Stopped = leading, refused, l.plan.stopped
	if !leading {
		l.stats.Fault, l.stats.Detail = FaultNone, ""
	}
}

// remind says what stays in the outbox because its receiver refuses it.
func (s *Sender) remind(l *lane) {
	some, count := l.plan.refused(maxNamed)
	if count > 0 {
		names := make([]string, len(some))
		for i, id := range some {
			names[i] = id.String()
		}
		s.log.Warn("hand-over: the receiver has refused these for more than a day; they stay in the outbox and are tried about once an hour",
			"to", l.name, "count", count, "references", names)
	}
	if l.plan.stopped {
		s.log.Warn("hand-over: the receiver answers 410 Gone, it wants no orders any more; they stay in the outbox, and one is tried once a day",
			"to", l.name)
	}
}
