package cache

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeferStaleLeavesStaleRepliesToUpstream: a page that upstream has refreshed is not
// served stale here (RFC 5861 §3); if upstream fails, it is.
func TestDeferStaleLeavesStaleRepliesToUpstream(t *testing.T) {
	const while = "Cache-Control: max-age=60, stale-while-revalidate=600"
	for _, deferred := range []bool{true, false} {
		t.Run(fmt.Sprint(deferred), func(t *testing.T) {
			owner := newBench(t, script(answers(200, "old", while), answers(200, "new", while), failsWith(errRefused)))
			board := newBench(t, &fakeUpstream{})
			board.route.Upstream, board.route.DeferStale = owner.upstream(), deferred
			board.get()
			board.clock.add(70 * time.Second)
			owner.clock.add(70 * time.Second)
			owner.get() // another request, which gets the old page
			owner.wantFetches(2)
			if deferred {
				board.want(board.get(), 200, "new", "hit; ttl=60") // as the owner says
			} else {
				board.want(board.get(), 200, "old", "hit; ttl=-10")
			}
			board.want(board.get(), 200, "new", "hit")

			board.clock.add(70 * time.Second)
			board.route.Upstream = script(failsWith(errRefused))
			board.want(board.get(), 200, "new", "hit; ttl=-10")
		})
	}
}

// A reply that arrives stale may be shared if it may be served stale.
func TestStaleReplyIsSharedIfItMayBeServed(t *testing.T) {
	const clients = 20
	for control, fetches := range map[string]int64{
		"max-age=60, stale-while-revalidate=600":                   1,
		"max-age=60, stale-while-revalidate=600, must-revalidate":  clients,
		"max-age=60, stale-while-revalidate=600, proxy-revalidate": clients,
		"max-age=60, stale-while-revalidate=600, no-cache":         clients,
		"max-age=60, stale-while-revalidate=5":                     clients,
		"max-age=60":                                               clients,
	} {
		t.Run(control, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up, open := gate(always(200, "page", "Cache-Control: "+control, "Age: 70").answer)
				b := newBench(t, up)
				b.route.MayStore = func(string) bool { return false }
				collect := b.crowd(clients, plainGet)
				close(open)
				for _, res := range collect() {
					if res.Code != 200 || res.Body.String() != "page" {
						t.Errorf("a client got %d %q", res.Code, res.Body)
					}
				}
				b.wantFetches(fetches)
			})
		})
	}
}
