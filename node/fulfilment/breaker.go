package fulfilment

import "time"

const (
	// maxFailuresInRow is the number of jobs that may fail in a row, each for its own
	// reason, before the receiver counts as failing.
	maxFailuresInRow = 8
	// unsubscribedPause is the interval between two attempts at a receiver that has
	// unsubscribed (410).
	unsubscribedPause = 24 * time.Hour
)

// breaker is the circuit breaker of one receiver. While it is open nothing is delivered;
// after openUntil it is half open and lets one attempt through at a time; a delivery closes
// it.
type breaker struct {
	failures     int       // jobs that failed in a row, each for its own reason, and none by a stranger's doing
	opens        int       // times that it has opened in a row; 0 = closed
	openUntil    time.Time // nothing is delivered before
	unsubscribed bool      // the receiver has unsubscribed (410)
}

// BreakerState is the state of a receiver's circuit breaker.
type BreakerState string

// The states.
const (
	BreakerClosed   BreakerState = "closed"    // jobs are delivered
	BreakerOpen     BreakerState = "open"      // nothing is delivered for some time, up to 5 minutes
	BreakerHalfOpen BreakerState = "half_open" // one attempt at a time finds out whether the receiver is back
	BreakerGone     BreakerState = "gone"      // the receiver has unsubscribed (410): one attempt a day
)

func (b *breaker) stateAt(now time.Time) BreakerState {
	switch {
	case b.unsubscribed:
		return BreakerGone
	case now.Before(b.openUntil):
		return BreakerOpen
	case b.opens > 0:
		return BreakerHalfOpen
	}
	return BreakerClosed
}

// allows reports whether an attempt may begin while running others are in progress.
func (b *breaker) allows(now time.Time, running int) bool {
	return !now.Before(b.openUntil) && (b.opens == 0 || running == 0)
}

// recordFailure counts an attempt that failed, and opens the breaker if the receiver as a
// whole is failing. jitter is that of backoff.drawDelay.
func (b *breaker) recordFailure(r attemptResult, now time.Time, jitter func(int64) int64) {
	switch {
	case r.unsubscribed:
		b.unsubscribed, b.openUntil = true, now.Add(unsubscribedPause)
		return
	case r.channelFailed:
	default:
		if !r.jobFailed {
			b.failures++
		}
		if r.jobFailed || b.failures < maxFailuresInRow {
			if !b.unsubscribed {
				b.opens = 0 // the receiver answers
			}
			return
		}
	}
	// An attempt that was in progress when the breaker opened does not prolong the pause.
	if !now.Before(b.openUntil) {
		b.opens++
		b.openUntil = now.Add(max(channelBackoff().drawDelay(b.opens, jitter), min(r.retryAfter, maxRetryAfter)))
	}
}

// reset closes the breaker.
func (b *breaker) reset() { *b = breaker{} }
