package orderservice

import (
	"strings"
	"testing"
	"time"

	"bramble/node/fulfilment"
)

// No job waits unseen: whatever keeps it, a notice says so.
func TestFulfilmentNotices(t *testing.T) {
	now := time.Date(2012, 2, 29, 6, 30, 0, 0, time.UTC)
	old, young := now.Add(-stuckAfter), now.Add(-time.Minute)
	for name, tt := range map[string]struct {
		board   string
		channel fulfilment.ChannelStats
		want    string // of the webhook; "" = nothing
	}{
		"nothing waits":    {"board-1", fulfilment.ChannelStats{Configured: true}, ""},
		"busy":             {"board-1", fulfilment.ChannelStats{Configured: true, Waiting: 9, Oldest: young}, ""},
		"a short failure":  {"board-1", fulfilment.ChannelStats{Configured: true, Waiting: 9, Oldest: young, Failing: 9, Failure: fulfilment.FailureTimeout, Breaker: fulfilment.BreakerOpen}, ""},
		"a long failure":   {"board-1", fulfilment.ChannelStats{Configured: true, Waiting: 9, Oldest: old, Failure: fulfilment.FailureServer, Detail: "status 500"}, "Fulfilment is late (server, status 500). Waiting: 9 webhook posts, since 2012-02-29 06:15 UTC."},
		"gone":             {"board-1", fulfilment.ChannelStats{Configured: true, Waiting: 1, Oldest: young, Breaker: fulfilment.BreakerGone, Refused: 1}, "has unsubscribed (410 Gone), so it gets one attempt a day. Waiting: 1 webhook post, since 2012-02-29 06:29 UTC."},
		"gone, none waits": {"board-1", fulfilment.ChannelStats{Configured: true, Breaker: fulfilment.BreakerGone}, "has unsubscribed (410 Gone), so it gets one attempt a day. Waiting: 0 webhook posts. When"},
		"refused":          {"board-1", fulfilment.ChannelStats{Configured: true, Waiting: 1, Oldest: young, Refused: 1, Failure: fulfilment.FailureRefused, Detail: "status 422"}, "refuses 1 webhook post (refused, status 422). Nothing is lost"},
		"not configured":   {"board-1", fulfilment.ChannelStats{Waiting: 2, Oldest: young}, "because [webhook] url is not set on board-1. Waiting: 2 webhook posts"},
		"no leader":        {"", fulfilment.ChannelStats{Waiting: 2, Oldest: old}, "Fulfilment is late. Waiting: 2 webhook posts"},
	} {
		got := strings.Join(FulfilmentJSON{Board: tt.board, Stats: fulfilment.Stats{Webhook: tt.channel}}.Notices(now), "\n")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	mail := fulfilment.ChannelStats{Configured: true, UndeliverableJobs: []fulfilment.FailingJob{{Reference: "K7QM-2XD9-5VB", Since: now.Add(-time.Hour)}}}
	if got := (FulfilmentJSON{Stats: fulfilment.Stats{Mail: mail}}).Notices(now); len(got) != 1 || !strings.Contains(got[0], "K7QM-2XD9-5VB could not be delivered") {
		t.Errorf("undeliverable mail: %q", got)
	}
	if got := (FulfilmentJSON{Stats: fulfilment.Stats{Mail: mail}}).Notices(now.Add(24 * time.Hour)); len(got) != 0 {
		t.Errorf("a day later: %q", got)
	}
}
