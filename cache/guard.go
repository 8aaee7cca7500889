package cache

import "slices"

// purgeMarks remembers purges that happened while an object was on its way.
type purgeMarks struct {
	key      string
	purged   bool
	softened bool
	expected int        // purges that are the object's own doing
	tags     []tagPurge // purged while the object's tags were not known
}

type tagPurge struct {
	tag  string
	soft bool
}

// maxGuardTags bounds guard.tags; with more the object counts as purged.
const maxGuardTags = 64

// notePurge notes a purge of the object itself. It reports true, as every purge does
// after which nobody may join its flight.
func (g *purgeMarks) notePurge(soft bool) bool {
	if g.expected > 0 && !soft {
		g.expected--
		return true
	}
	g.softened = g.softened || soft
	g.purged = g.purged || !soft
	return true
}

// noteTagPurge notes a purge of a tag, and reports whether it may be about the
// object. head is the object's, nil if unknown.
func (g *purgeMarks) noteTagPurge(tag string, soft bool, head *Object) bool {
	switch {
	case head != nil:
		return head.hasTag(tag) && g.notePurge(soft)
	case len(g.tags) == maxGuardTags:
		g.purged = true
	case !slices.Contains(g.tags, tagPurge{tag, soft}):
		g.tags = append(g.tags, tagPurge{tag, soft})
	}
	return true
}

// applyTagPurges draws the conclusion for an object whose tags are known now.
func (g *purgeMarks) applyTagPurges(o *Object) {
	for _, t := range g.tags {
		if o.hasTag(t.tag) {
			g.notePurge(t.soft)
		}
	}
}
