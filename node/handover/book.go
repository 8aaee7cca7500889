package handover

import (
	"context"
	"errors"
	"time"

	"bramble/node/orders"
)

// Book is the order book and the ledger under it, as the hand-over needs them. All
// methods are called from several goroutines at once.
type Book interface {
	// Outbox lists jobs of a queue whose Since is not after now, oldest first, those
	// after a job (the zero Job: from the start), at most limit of them. It reads this
	// board's copy.
	Outbox(q orders.Queue, now time.Time, after orders.Job, limit int) ([]orders.Job, error)
	// Paper is how a paper stands in this board's copy; orders.ErrNoPaper if there is none.
	Paper(id orders.ID) (orders.Paper, error)
	// Handing commits that a paper is on its way, so that the buyer cannot cancel it any
	// more. It matches ErrGone if that came too late: the paper was cancelled or forgotten.
	// Any other error says that it was not, or perhaps not, committed.
	Handing(ctx context.Context, id orders.ID) error
	// Done commits that a job needs nothing more, and how it ended. Doing so again, or for
	// a job that is not there, is no error.
	Done(ctx context.Context, id orders.ID, what orders.What, how How) error
}

// ErrGone is what Handing matches when there is nothing to hand over any more.
var ErrGone = errors.New("handover: the paper is not to be handed over any more")

// How is how a job ended.
type How string

// The ends of a job.
const (
	ByWebhook     How = "webhook"       // the fulfiller has acknowledged it
	ByMail        How = "mail"          // the mail server has taken it over
	Undeliverable How = "undeliverable" // no mail reaches that address
	Superseded    How = "superseded"    // what the mail would say is no longer so
)

// Fault is what kept a job from being done.
type Fault string

// The faults.
const (
	FaultNone        Fault = ""
	FaultLedger      Fault = "ledger"      // the rack could not commit
	FaultUnreachable Fault = "unreachable" // no connection, or it broke
	FaultTimeout     Fault = "timeout"     // no answer in time
	FaultTLS         Fault = "tls"         // no TLS, or a certificate that is not to be trusted
	FaultLogin       Fault = "login"       // the mail server does not take user and password
	FaultBusy        Fault = "busy"        // it asks to come back later
	FaultServer      Fault = "server"      // it failed: 5xx from a web server
	FaultRedirect    Fault = "redirect"    // it points elsewhere, which is not followed
	FaultRefused     Fault = "refused"     // it does not want this one
	FaultGone        Fault = "gone"        // 410: it wants none any more
)

// verdict is what one try has come to.
type verdict struct {
	how     How    // not empty: nothing more is to be sent
	drop    bool   // there is no such job any more
	fault   Fault  // otherwise; detail adds to it, and holds nothing personal
	detail  string //
	lane    bool   // the fault is the receiver's as a whole, and not this job's
	refused bool   // the receiver gave an answer that the same try will not change
	stop    bool   // the receiver wants nothing any more
	pause   time.Duration
}
