package fulfilment

import (
	"context"
	"errors"
	"time"

	"bramble/node/orders"
)

// JobStore is the order book and the ledger under it, as fulfilment uses them. All methods
// must be safe for concurrent use.
type JobStore interface {
	// Outbox returns up to limit jobs of a queue whose Since is not after now, oldest
	// first, after a job (the zero Job: from the start). It reads this board's copy.
	Outbox(q orders.Queue, now time.Time, after orders.Job, limit int) ([]orders.Job, error)
	// Order returns an order as it stands in this board's copy; orders.ErrNoOrder if there
	// is none.
	Order(id orders.ID) (orders.Order, error)
	// BeginFulfilment commits that an order is being passed on, so that the buyer cannot
	// cancel it any more. The error matches ErrGone if the order was cancelled or erased
	// before. After any other error it may or may not be committed.
	BeginFulfilment(ctx context.Context, id orders.ID) error
	// FinishJob commits that a job is done, and how it ended. It is idempotent, and a job
	// that does not exist is not an error.
	FinishJob(ctx context.Context, id orders.ID, kind orders.JobKind, how Resolution) error
}

// ErrGone: BeginFulfilment came too late. There is nothing left to pass on.
var ErrGone = errors.New("fulfilment: the order was cancelled or erased")

// Resolution is how a job ended.
type Resolution string

// The ends of a job.
const (
	ByWebhook     Resolution = "webhook"       // the fulfiller has acknowledged it
	ByMail        Resolution = "mail"          // the mail server has accepted it
	Undeliverable Resolution = "undeliverable" // mail cannot be delivered to the address
	Superseded    Resolution = "superseded"    // the mail would no longer be true
)

// Failure is why an attempt failed.
type Failure string

// The reasons.
const (
	NoFailure          Failure = ""
	FailureLedger      Failure = "ledger"      // the rack could not commit
	FailureUnreachable Failure = "unreachable" // no connection, or it was lost
	FailureTimeout     Failure = "timeout"     // no response in time
	FailureTLS         Failure = "tls"         // no TLS, or a certificate that cannot be trusted
	FailureLogin       Failure = "login"       // the mail server rejects user and password
	FailureBusy        Failure = "busy"        // the receiver requests a later attempt
	FailureServer      Failure = "server"      // the receiver failed: 5xx from a web server
	FailureRedirect    Failure = "redirect"    // a redirect, which is not followed
	FailureRefused     Failure = "refused"     // the receiver rejects this job
	FailureGone        Failure = "gone"        // 410: the receiver has unsubscribed
)

type attemptResult struct {
	resolution Resolution // not empty: nothing more will be sent
	obsolete   bool       // the job does not exist any more
	failure    Failure    // otherwise; detail adds to it, and holds nothing personal
	detail     string

	channelFailed bool // the failure concerns every job of this receiver
	jobFailed     bool // the failure concerns this job alone, and a stranger can cause it: the receiver answers
	refused       bool // the receiver's answer is final: another attempt will not change it
	unsubscribed  bool // the receiver has unsubscribed (410)
	retryAfter    time.Duration
}
