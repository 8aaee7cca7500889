package fulfilment

import "time"

// backoff is how long to wait after failures in a row: a time drawn evenly from
// nothing to a ceiling that doubles ("full jitter"), so that what failed together
// does not come back together.
type backoff struct {
	first time.Duration // ceiling after the first failure
	most  time.Duration // ceiling that is never exceeded
}

// jobBackoff is for one job. An hour is what a receiver that was repaired waits
// at most for what it missed.
func jobBackoff() backoff { return backoff{first: time.Second, most: time.Hour} }

// channelBackoff is for a whole receiver that is away or fails at everything. One
// try in five minutes costs it nothing, and finds out soon that it is back.
func channelBackoff() backoff { return backoff{first: time.Second, most: 5 * time.Minute} }

// delayCeiling is the longest wait after a number of failures in a row, from 1.
func (b backoff) delayCeiling(failures int) time.Duration {
	wait := b.first
	for range failures - 1 {
		if wait >= b.most/2 {
			return b.most
		}
		wait *= 2
	}
	return min(wait, b.most)
}

// drawDelay draws the wait; jitter(n) is an even draw from 0 to n-1, such as
// math/rand/v2's Int64N. It is at least a millisecond.
func (b backoff) drawDelay(failures int, jitter func(n int64) int64) time.Duration {
	return max(time.Duration(jitter(int64(b.delayCeiling(failures))+1)), time.Millisecond)
}
