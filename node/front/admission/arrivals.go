package admission

import "time"

// ArrivalBurst is the number of connections that may arrive at once before they are
// spread: as many as the kernel's backlog would hold anyway.
const ArrivalBurst = 128

// ArrivalPacer spreads arriving connections. One goroutine uses it.
type ArrivalPacer struct {
	Rate int // connections per second; 0: no limit
	due  time.Time
}

// DelayNext counts an arrival and returns the pause before the next should be accepted.
func (p *ArrivalPacer) DelayNext(now time.Time) time.Duration {
	if p.Rate <= 0 {
		return 0
	}
	gap := time.Second / time.Duration(p.Rate)
	if p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(gap)
	return p.due.Sub(now) - ArrivalBurst*gap
}
