package fulfilment

import (
	"context"
	"errors"
	"time"

	"bramble/node/orders"
)

// JobStore is the order book and the ledger under it, as the hand-over needs them. All
// methods are called from several goroutines at once.
type JobStore interface {
	// Outbox lists jobs of a queue whose Since is not after now, oldest first, those
	// after a job (the zero Job: from the start), at most limit of them. It reads this
	// board's copy.
	Outbox(q orders.Queue, now time.Time, after orders.Job, limit int) ([]orders.Job, error)
	// Order is how a paper stands in this board's copy; orders.ErrNoPaper if there is none.
	Order(id orders.ID) (orders.Order, error)
	// BeginFulfilment commits that a paper is on its way, so that the buyer cannot cancel it any
	// more. It matches ErrGone if that came too late: the paper was cancelled or forgotten.
	// Any other error says that it was not, or perhaps not, committed.
	BeginFulfilment(ctx context.Context, id orders.ID) error
	// FinishJob commits that a job needs nothing more, and how it ended. Doing so again, or for
	// a job that is not there, is no error.
	FinishJob(ctx context.Context, id orders.ID, what orders.JobKind, how Resolution) error
}

// ErrGone is what Handing matches when there is nothing to hand over any more.
var ErrGone = errors.New("handover: the paper is not to be handed over any more")

// Resolution is how a job ended.
type Resolution string

// The ends of a job.
const (
	ByWebhook     Resolution = "webhook"       // the fulfiller has acknowledged it
	ByMail        Resolution = "mail"          // the mail server has taken it over
	Undeliverable Resolution = "undeliverable" // no mail reaches that address
	Superseded    Resolution = "superseded"    // what the mail would say is no longer so
)

// Failure is what kept a job from being done.
type Failure string

// The faults.
const (
	NoFailure          Failure = ""
	FailureLedger      Failure = "ledger"      // the rack could not commit
	FailureUnreachable Failure = "unreachable" // no connection, or it broke
	FailureTimeout     Failure = "timeout"     // no answer in time
	FailureTLS         Failure = "tls"         // no TLS, or a certificate that is not to be trusted
	FailureLogin       Failure = "login"       // the mail server does not take user and password
	FailureBusy        Failure = "busy"        // it asks to come back later
	FailureServer      Failure = "server"      // it failed: 5xx from a web server
	FailureRedirect    Failure = "redirect"    // it points elsewhere, which is not followed
	FailureRefused     Failure = "refused"     // it does not want this one
	FailureGone        Failure = "gone"        // 410: it wants none any more
)

// attemptResult is what one try has come to.
type attemptResult struct {
	resolution    Resolution // not empty: nothing more is to be sent
	obsolete      bool       // there is no such job any more
	failure       Failure    // otherwise; detail adds to it, and holds nothing personal
	detail        string     //
	channelFailed bool       // the fault is the receiver's as a whole, and not this job's
	refused       bool       // the receiver gave an answer that the same try will not change
	unsubscribed  bool       // the receiver wants nothing any more
	retryAfter    time.Duration
}
