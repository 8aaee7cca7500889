package node

import (
	"io"

	"github.com/VictoriaMetrics/metrics"
)

// meters are the figures of one board in Prometheus' text form.
type meters struct{ set *metrics.Set }

func (m meters) write(w io.Writer) {
	m.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}

// metrics reads the parts' own totals when it is asked; nothing is counted twice.
func (b *board) metrics() meters {
	set := metrics.NewSet()
	total := func(name string, read func() int64) {
		set.NewGauge(name, func() float64 { return float64(read()) })
	}
	total("bramble_http_replies_total", func() int64 { return b.front.Counts().Replies })
	total("bramble_http_in_flight", func() int64 { return b.front.Counts().InFlight })
	total("bramble_http_connections", func() int64 { return b.front.Counts().Open })
	total("bramble_http_fast_total", func() int64 { return b.front.Counts().Fast })
	total("bramble_http_limited_total", func() int64 { return b.front.Counts().Limited })
	total("bramble_http_shed_total", func() int64 { return b.front.Counts().Shed })
	set.NewGauge("bramble_http_pressure", func() float64 { return b.front.Counts().Pressure })
	total("bramble_http_refused_total", func() int64 { return b.front.Counts().Refused })
	if b.certs != nil {
		total("bramble_tls_handshakes_total", func() int64 { return b.front.Counts().TLS.Handshakes })
		total("bramble_tls_resumed_total", func() int64 { return b.front.Counts().TLS.Resumed })
		total("bramble_tls_failed_total", func() int64 { return b.front.Counts().TLS.Failed })
		total("bramble_tls_refused_total", func() int64 { return b.front.Counts().TLS.Refused })
		total("bramble_http2_connections", func() int64 { return b.front.Counts().TLS.HTTP2 })
	}
	total("bramble_origin_requests_total", b.sites.Asked)
	total("bramble_origin_failures_total", b.sites.Failed)
	total("bramble_origin_places", b.sites.Places)
	total("bramble_cache_hits_total", func() int64 { return b.cache.Stats().Hits })
	total("bramble_cache_requests_total", func() int64 { return b.cache.Stats().Requests })
	total("bramble_cache_stale_total", func() int64 { return b.cache.Stats().Stale })
	total("bramble_cache_coalesced_total", func() int64 { return b.cache.Stats().Coalesced })
	total("bramble_cache_fills_total", func() int64 { return b.cache.Stats().Fills })
	total("bramble_cache_objects", func() int64 { return b.cache.Stats().Objects })
	total("bramble_cache_bytes", func() int64 { return b.cache.Stats().Bytes })
	total("bramble_cache_budget_bytes", func() int64 { return b.cache.Stats().Budget })
	total("bramble_cache_evictions_total", func() int64 { return b.cache.Stats().Evictions })
	total("bramble_copies_sent_total", b.copies.sent.Load)
	total("bramble_copies_dropped_total", b.copies.dropped.Load)
	total("bramble_rack_boards_alive", func() int64 { alive, _ := b.members.Known(); return int64(alive) })
	total("bramble_rack_boards_known", func() int64 { _, known := b.members.Known(); return int64(known) })
	total("bramble_state", func() int64 { return int64(b.health.get()) })
	total("bramble_faults", func() int64 { return int64(b.faults.Load()) })
	if b.counter != nil {
		status := b.counter.ledger.Status
		total("bramble_ledger_applied", func() int64 { return int64(status().Applied) })
		total("bramble_ledger_term", func() int64 { return int64(status().Term) })
		total("bramble_ledger_leading", func() int64 { return oneIf(status().Leading) })
		total("bramble_ledger_voters", func() int64 { return int64(len(status().Voters)) })
		total("bramble_ledger_log_bytes", func() int64 { return status().LogBytes })
	}
	return meters{set}
}

func oneIf(is bool) int64 {
	if is {
		return 1
	}
	return 0
}
