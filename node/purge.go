package node

import (
	"fmt"
	"time"

	"bramble/cache"
	"bramble/cluster"
	"bramble/node/console"
)

// purgeReplyWait is how long a purge is waited for: live boards obey within it, and
// who has not answered by then is absent.
const purgeReplyWait = time.Second

// purgeApplier makes this board's memory forget what the rack purges.
type purgeApplier struct {
	board     string
	cache     *cache.Cache
	events    *console.Broadcaster
	showPurge func(at time.Time) // shows it on the lamps
}

// Obey drops, or marks stale, what a purge names before it returns.
func (o purgeApplier) Obey(p cluster.Purge) {
	what := cache.Selector{Soft: p.Soft}
	switch p.Kind {
	case cluster.PurgeURL:
		what.URL = p.What
	case cluster.PurgeTag:
		what.Tag = p.What
	case cluster.PurgeAll:
		what.All = true
	}
	dropped := o.cache.Purge(what)
	now := time.Now()
	o.events.Publish(purgeEvent(o.board, p, dropped, now))
	o.showPurge(now)
}

func purgeText(p cluster.Purge, dropped int) string {
	what := "everything"
	switch p.Kind {
	case cluster.PurgeURL:
		what = p.What
	case cluster.PurgeTag:
		what = "tag " + p.What
	}
	objects := "objects"
	if dropped == 1 {
		objects = "object"
	}
	did := "dropped"
	if p.Soft {
		did = "marked stale"
	}
	return fmt.Sprintf("purged %s: %d %s %s", what, dropped, objects, did)
}
