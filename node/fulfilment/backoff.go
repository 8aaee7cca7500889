package fulfilment

import "time"

// backoff computes the delay after failures in a row: uniformly random between zero and a
// ceiling that doubles with each failure ("full jitter"), so that jobs that failed together
// are not retried together.
type backoff struct {
	first time.Duration // ceiling after the first failure
	most  time.Duration // largest ceiling
}

// jobBackoff is the backoff of one job. A receiver that was fixed gets everything it
// missed within an hour.
func jobBackoff() backoff { return backoff{first: time.Second, most: time.Hour} }

// channelBackoff is the backoff of a receiver that is unreachable or fails every job. One
// attempt per five minutes costs it nothing, and soon finds that it is back.
func channelBackoff() backoff { return backoff{first: time.Second, most: 5 * time.Minute} }

// delayCeiling returns the longest delay after a number of failures in a row, from 1.
func (b backoff) delayCeiling(failures int) time.Duration {
	delay := b.first
	for range failures - 1 {
		if delay >= b.most/2 {
			return b.most
		}
		delay *= 2
	}
	return min(delay, b.most)
}

// drawDelay draws the delay. jitter(n) is uniform from 0 to n-1, such as math/rand/v2's
// Int64N. The delay is at least a millisecond.
func (b backoff) drawDelay(failures int, jitter func(n int64) int64) time.Duration {
	return max(time.Duration(jitter(int64(b.delayCeiling(failures))+1)), time.Millisecond)
}
