package admission

import "time"

const (
	// MinWriteTimeout is the time to read a reply when the board is full: 100 kB of it at
	// 160 kbit/s.
	MinWriteTimeout = 5 * time.Second
	// minBodyLag limits how far a body may be behind its rate when net/http has as many
	// connections as it may have.
	minBodyLag = time.Second
)

// ScaleTimeout returns the configured timeout while n is at most half of limit, and
// gradually less, down to least, as n reaches limit: clients that have left, and clients
// that only pretend, make room for those that arrive.
func ScaleTimeout(configured, least time.Duration, n, limit int64) time.Duration {
	free := limit - n
	if configured <= least || limit <= 0 || free*2 >= limit {
		return configured
	}
	return least + time.Duration(float64(configured-least)*float64(max(free, 0)*2)/float64(limit))
}
