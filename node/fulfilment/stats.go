package fulfilment

import (
	"time"

	"bramble/node/orders"
)

// maxCounted is how many waiting jobs are counted. It is the longest page of an outbox.
const maxCounted = orders.MaxPage

// Stats is how the hand-over stands, for metrics and status.
type Stats struct {
	Webhook, Mail ChannelStats
}

// ChannelStats is how one receiver stands. Waiting and Oldest are this board's copy of the
// outbox, some seconds old; the rest is what this board has done since it started.
type ChannelStats struct {
	Configured bool      // it is configured
	Leading    bool      // this board does the telling
	Waiting    int       // jobs that are due and not done; at 1,000 the count ends
	Oldest     time.Time // since when the oldest of them is due; zero = none waits
	Refused    int       // of those: refused for more than a day, and still tried
	Stopped    bool      // the receiver has said that it wants nothing any more (410)

	Delivered      uint64    // jobs done
	Undeliverable  uint64    // of those: mail that reaches nobody
	FailedAttempts uint64    // tries that failed
	Failure        Failure   // of the last try that failed; none after one that did not
	Detail         string    // more about it; nothing personal
	FailureAt      time.Time // when that was
}
