package host

const (
	// minOverloadLoad is the load below which missed gossip replies are not caused
	// by clients, but by a dead board or a bad cable.
	minOverloadLoad = 0.5
	// Load shedding begins when a board misses more than minMissed of its gossip
	// replies; from maxMissed on it sheds every request that memory cannot answer.
	// A single missed reply does not count.
	minMissed, maxMissed = 0.25, 0.75
)

// Overload returns how much the rack's own traffic suffers from this board's
// load, 0 to 1. missed is the share of gossip replies that did not arrive in time
// (memberlist's awareness), load the share of the machine's capacity in use.
// Package front measures scheduling delays itself.
func Overload(missed, load float64) float64 {
	if load < minOverloadLoad {
		return 0
	}
	return min(max((missed-minMissed)/(maxMissed-minMissed), 0), 1)
}
