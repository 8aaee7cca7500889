package node

import (
	"sync/atomic"
	"time"

	"bramble/cache"
	"bramble/cluster"
	"bramble/node/front"
)

// heartbeatInterval is the board's heartbeat: one sample of vitals, gossiped, shown
// on the console and told by the panel.
const heartbeatInterval = time.Second

// earliestYear is before any day on which this program can run. A board
// without a clock starts in 1970.
const earliestYear = 2026

// lifecycleState is what a board is doing. Whoever changes it is the lifecycle (node.go).
type lifecycleState struct{ state atomic.Uint32 }

func (h *lifecycleState) get() cluster.State  { return cluster.State(h.state.Load()) }
func (h *lifecycleState) set(s cluster.State) { h.state.Store(uint32(s)) }

// changeFrom goes from one state to another, and reports whether that was the state.
func (h *lifecycleState) changeFrom(from, to cluster.State) bool {
	return h.state.CompareAndSwap(uint32(from), uint32(to))
}

// sampler turns totals into the figures of the last second.
type sampler struct {
	born   time.Time
	counts func() front.Counts
	stats  func() cache.Stats
	use    func() usage
	load   func(now time.Time) (part float64, known bool) // of the machine's capacity; nil: others use the machine too

	last reading // of the sample before
}

// usage is what the operating system says of this process.
type usage struct {
	cpu    time.Duration // user and system time since the start
	memory int64         // resident bytes
}

// reading is what a sample is the difference of.
type reading struct {
	at          time.Time
	replies     int64
	hits, asked int64
	cpu         time.Duration
}

// takeSample returns the figures since the last call. Of a board whose machine
// does not tell its load, that is the part of one processor that it uses. State
// and faults are the caller's to add. It is called by one goroutine.
func (s *sampler) takeSample(now time.Time) cluster.Vitals {
	counts, stats, use := s.counts(), s.stats(), s.use()
	is := reading{at: now, replies: counts.Replies, hits: stats.Hits + stats.Stale, asked: stats.Requests, cpu: use.cpu}
	was := s.last
	s.last = is
	v := cluster.Vitals{
		Memory:      use.memory,
		Connections: counts.Open,
		CacheBytes:  stats.Bytes,
		CacheBudget: stats.Budget,
		Uptime:      now.Sub(s.born),
	}
	if took := is.at.Sub(was.at).Seconds(); took > 0 {
		v.HitsPerSecond = float32(float64(is.replies-was.replies) / took)
		v.CPU = float32((is.cpu - was.cpu).Seconds() / took)
	}
	v.Load = min(v.CPU, 1)
	if s.load != nil {
		if part, known := s.load(now); known {
			v.Load = float32(part)
		}
	}
	if asked := is.asked - was.asked; asked > 0 {
		v.HitRatio = float32(is.hits-was.hits) / float32(asked)
	}
	return v
}
