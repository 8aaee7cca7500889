package cache

import "slices"

// guard remembers purges that happened while an object was on its way.
type guard struct {
	key      string
	purged   bool
	softened bool
	expected int        // purges that are the object's own doing
	tags     []guardTag // purged while the object's tags were not known
}

type guardTag struct {
	tag  string
	soft bool
}

// maxGuardTags bounds guard.tags; with more the object counts as purged.
const maxGuardTags = 64

// note notes a purge of the object itself. It reports true, as every purge does
// after which nobody may join its flight.
func (g *guard) note(soft bool) bool {
	if g.expected > 0 && !soft {
		g.expected--
		return true
	}
	g.softened = g.softened || soft
	g.purged = g.purged || !soft
	return true
}

// purgeTag notes a purge of a tag, and reports whether it may be about the
// object. head is the object's, nil if unknown.
func (g *guard) purgeTag(tag string, soft bool, head *Object) bool {
	switch {
	case head != nil:
		return head.hasTag(tag) && g.note(soft)
	case len(g.tags) == maxGuardTags:
		g.purged = true
	case !slices.Contains(g.tags, guardTag{tag, soft}):
		g.tags = append(g.tags, guardTag{tag, soft})
	}
	return true
}

// settle draws the conclusion for an object whose tags are known now.
func (g *guard) settle(o *Object) {
	for _, t := range g.tags {
		if o.hasTag(t.tag) {
			g.note(t.soft)
		}
	}
}
