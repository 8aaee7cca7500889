package node

import (
	"fmt"
	"time"

	"bramble/cache"
	"bramble/cluster/purge"
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

// Apply drops, or marks stale, what a purge names before it returns.
func (o purgeApplier) Apply(p purge.Purge) {
	what := cache.Selector{Soft: p.Soft}
	switch p.Kind {
	case purge.URL:
		what.URL = p.Target
	case purge.Tag:
		what.Tag = p.Target
	case purge.All:
		what.All = true
	}
	dropped := o.cache.Purge(what)
	now := time.Now()
	o.events.Publish(purgeEvent(o.board, p, dropped, now))
	o.showPurge(now)
}

func purgeText(p purge.Purge, dropped int) string {
	what := "everything"
	switch p.Kind {
	case purge.URL:
		what = p.Target
	case purge.Tag:
		what = "tag " + p.Target
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
