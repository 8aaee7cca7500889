package node

import (
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"bramble/cluster"
	"bramble/node/backup"
	"bramble/node/fulfilment"
)

// metricSet holds the metrics of one board and writes them in Prometheus' text form.
// The names follow Prometheus' conventions: base units, _total for counters, _ratio for
// ratios from 0 to 1.
type metricSet struct{ set *metrics.Set }

func (m metricSet) writeMetrics(w io.Writer) {
	m.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}

// addGauge registers a gauge whose value read returns. Counters are read from the
// subsystems at each scrape.
func (m metricSet) addGauge(name string, read func() int64) {
	m.set.NewGauge(name, func() float64 { return float64(read()) })
}

// addFlag registers a gauge that is 1 while read returns true, else 0.
func (m metricSet) addFlag(name string, read func() bool) {
	m.addGauge(name, func() int64 {
		if read() {
			return 1
		}
		return 0
	})
}

func (b *board) newMetrics() metricSet {
	m := metricSet{metrics.NewSet()}
	b.addFrontMetrics(m)
	b.addCacheMetrics(m)
	b.addRackMetrics(m)
	b.addLedgerMetrics(m)
	return m
}

func (b *board) addFrontMetrics(m metricSet) {
	counts := b.front.Counts
	m.addGauge("bramble_http_responses_total", func() int64 { return counts().Replies })
	m.addGauge("bramble_http_requests_in_flight", func() int64 { return counts().InFlight })
	m.addGauge("bramble_http_connections_open", func() int64 { return counts().Open })
	m.addGauge("bramble_http_fast_path_responses_total", func() int64 { return counts().Fast })
	m.addGauge("bramble_http_requests_limited_total", func() int64 { return counts().Limited })
	m.addGauge("bramble_shop_forms_limited_total", b.formsRefused.Load)
	m.addGauge("bramble_http_requests_shed_total", func() int64 { return counts().Shed })
	m.set.NewGauge("bramble_http_pressure_ratio", func() float64 { return counts().Pressure })
	m.addGauge("bramble_http_connections_refused_total", func() int64 { return counts().Refused })
	if b.certs == nil {
		return
	}
	m.addGauge("bramble_tls_handshakes_total", func() int64 { return counts().TLS.Handshakes })
	m.addGauge("bramble_tls_handshakes_resumed_total", func() int64 { return counts().TLS.Resumed })
	m.addGauge("bramble_tls_handshakes_failed_total", func() int64 { return counts().TLS.Failed })
	m.addGauge("bramble_tls_handshakes_refused_total", func() int64 { return counts().TLS.Refused })
	m.addGauge("bramble_http2_connections_open", func() int64 { return counts().TLS.HTTP2 })
}

func (b *board) addCacheMetrics(m metricSet) {
	stats := b.cache.Stats
	m.addGauge("bramble_cache_hits_total", func() int64 { return stats().Hits })
	m.addGauge("bramble_cache_requests_total", func() int64 { return stats().Requests })
	m.addGauge("bramble_cache_stale_hits_total", func() int64 { return stats().Stale })
	m.addGauge("bramble_cache_requests_coalesced_total", func() int64 { return stats().Coalesced })
	m.addGauge("bramble_cache_fetches_total", func() int64 { return stats().Fetches })
	m.addGauge("bramble_cache_objects", func() int64 { return stats().Objects })
	m.addGauge("bramble_cache_size_bytes", func() int64 { return stats().Bytes })
	m.addGauge("bramble_cache_budget_bytes", func() int64 { return stats().Budget })
	m.addGauge("bramble_cache_evictions_total", func() int64 { return stats().Evictions })
	m.addGauge("bramble_origin_requests_total", b.sites.Requests)
	m.addGauge("bramble_origin_failures_total", b.sites.Failures)
	m.addGauge("bramble_origin_permits", b.sites.Permits)
}

// addRackMetrics registers the metrics of the rack, and the board's state and faults
// with one series for each value, 1 if it applies.
func (b *board) addRackMetrics(m metricSet) {
	m.addGauge("bramble_rack_replicas_sent_total", func() int64 { return b.rackCache.Stats().ReplicasSent })
	m.addGauge("bramble_rack_replicas_dropped_total", func() int64 { return b.rackCache.Stats().ReplicasDropped })
	m.addGauge("bramble_rack_boards_alive", func() int64 { alive, _ := b.members.Known(); return int64(alive) })
	m.addGauge("bramble_rack_boards_known", func() int64 { _, known := b.members.Known(); return int64(known) })
	for state := cluster.Starting; state <= cluster.Stopping; state++ {
		m.addFlag(fmt.Sprintf("bramble_board_state{state=%q}", state), func() bool { return b.state.get() == state })
	}
	for fault := cluster.PeerLost; fault <= cluster.TooHot; fault <<= 1 {
		m.addFlag(fmt.Sprintf("bramble_board_fault{fault=%q}", fault), func() bool { return cluster.Faults(b.faults.Load())&fault != 0 })
	}
}

func (b *board) addLedgerMetrics(m metricSet) {
	if b.orders == nil {
		return
	}
	status := b.orders.ledger.Status
	m.addGauge("bramble_ledger_applied_index", func() int64 { return int64(status().Applied) })
	m.addGauge("bramble_ledger_term", func() int64 { return int64(status().Term) })
	m.addFlag("bramble_ledger_is_leader", func() bool { return status().Leading })
	m.addGauge("bramble_ledger_voters", func() int64 { return int64(len(status().Voters)) })
	m.addFlag("bramble_ledger_clock_is_held", func() bool { return status().Clock.Held != "" })
	m.addFlag("bramble_ledger_clock_is_trusted", func() bool { return status().Clock.Trusted })
	m.addGauge("bramble_ledger_clock_own_ahead_milliseconds", func() int64 { return int64(status().Clock.OwnAhead * 1000) })
	m.addGauge("bramble_ledger_log_bytes", func() int64 { return status().LogBytes })
	m.addGauge("bramble_ledger_log_commands", func() int64 { return status().LogCommands })
	m.addGauge("bramble_ledger_lag_entries", func() int64 { return int64(status().Lag) })
	m.addFlag("bramble_ledger_is_catching_up", func() bool { return status().CatchingUp })
	b.addFulfilmentMetrics(m, "webhook", func() fulfilment.ChannelStats { return b.orders.sender.Stats().Webhook })
	m.addGauge("bramble_fulfilment_mails_held_back_total", func() int64 { return int64(b.orders.book.UnsentMails()) })
	m.addGauge("bramble_fulfilment_forms_waiting", b.orders.book.WaitingForms)
	b.addBackupMetrics(m)
	b.addFulfilmentMetrics(m, "mail", func() fulfilment.ChannelStats { return b.orders.sender.Stats().Mail })
}

// addBackupMetrics registers the metrics of this board's scheduled backups, by the key that
// names the destination.
func (b *board) addBackupMetrics(m metricSet) {
	backups := b.orders.backups
	for i, target := range backups.Status() {
		status := func() backup.TargetStatus { return backups.Status()[i] }
		label := fmt.Sprintf("{to=%q}", target.Kind)
		m.addGauge("bramble_backup_last_success_timestamp_seconds"+label, func() int64 {
			if last := status().LastSuccess; last != nil {
				return last.Unix()
			}
			return 0
		})
		m.addGauge("bramble_backup_size_bytes"+label, func() int64 { return status().Bytes })
		m.addGauge("bramble_backup_failures_total"+label, func() int64 { return status().Failures })
	}
}

// addFulfilmentMetrics registers the metrics of one channel. Every board counts what waits;
// the rest is 0 except on the board that delivers, the leader of the ledger.
func (b *board) addFulfilmentMetrics(m metricSet, channel string, stats func() fulfilment.ChannelStats) {
	add := func(name string, read func(fulfilment.ChannelStats) int64) {
		m.addGauge(fmt.Sprintf("%s{channel=%q}", name, channel), func() int64 { return read(stats()) })
	}
	add("bramble_fulfilment_jobs_waiting", func(c fulfilment.ChannelStats) int64 { return int64(c.Waiting) })
	add("bramble_fulfilment_oldest_job_age_seconds", func(c fulfilment.ChannelStats) int64 {
		if c.Oldest.IsZero() {
			return 0
		}
		return int64(max(time.Since(c.Oldest), 0) / time.Second)
	})
	add("bramble_fulfilment_jobs_failing", func(c fulfilment.ChannelStats) int64 { return int64(c.Failing) })
	add("bramble_fulfilment_jobs_refused", func(c fulfilment.ChannelStats) int64 { return int64(c.Refused) })
	add("bramble_fulfilment_jobs_delivered_total", func(c fulfilment.ChannelStats) int64 { return int64(c.Delivered) })
	add("bramble_fulfilment_jobs_undeliverable_total", func(c fulfilment.ChannelStats) int64 { return int64(c.Undeliverable) })
	add("bramble_fulfilment_attempts_failed_total", func(c fulfilment.ChannelStats) int64 { return int64(c.FailedAttempts) })
	for _, state := range []fulfilment.BreakerState{fulfilment.BreakerClosed, fulfilment.BreakerOpen, fulfilment.BreakerHalfOpen, fulfilment.BreakerGone} {
		m.addFlag(fmt.Sprintf("bramble_fulfilment_breaker_state{channel=%q,state=%q}", channel, state), func() bool { return stats().Leading && stats().Breaker == state })
	}
}
