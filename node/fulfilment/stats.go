package fulfilment

import (
	"time"

	"bramble/node/orders"
)

// maxCounted bounds the count of waiting jobs. It is the largest page of an outbox.
const maxCounted = orders.MaxPage

// Stats is the state of fulfilment, for metrics and status.
type Stats struct {
	Webhook, Mail ChannelStats
}

// ChannelStats is the state of one receiver. Waiting and Oldest come from this board's copy
// of the outbox and are some seconds old; the rest counts this board's work since it
// started.
type ChannelStats struct {
	Configured   bool
	Leading      bool      // this board does the delivering
	Waiting      int       // jobs that are due and not done; the count ends at 1,000
	Oldest       time.Time // when the oldest of them became due; zero if none waits
	Refused      int       // of those: refused for more than a day, and still attempted
	Unsubscribed bool      // the receiver has unsubscribed (410)

	Delivered      uint64    // jobs done
	Undeliverable  uint64    // of those: mail that could not be delivered
	FailedAttempts uint64    // attempts that failed
	Failure        Failure   // of the last attempt; NoFailure if it succeeded
	Detail         string    // more about it; nothing personal
	FailureAt      time.Time // time of the last failure
}
