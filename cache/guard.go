package cache

import "slices"

// purgeMarks records the purges that happened while an object was on its way.
type purgeMarks struct {
	key      string
	purged   bool
	softened bool
	expected int        // purges that the object itself causes
	tags     []tagPurge // purged while the object's tags were unknown
}

type tagPurge struct {
	tag  string
	soft bool
}

// maxGuardTags bounds purgeMarks.tags; with more the object counts as purged.
const maxGuardTags = 64

// notePurge notes a purge of the object itself. It returns true: no request may join
// its flight any more.
func (g *purgeMarks) notePurge(soft bool) bool {
	if g.expected > 0 && !soft {
		g.expected--
		return true
	}
	g.softened = g.softened || soft
	g.purged = g.purged || !soft
	return true
}

// noteTagPurge notes a purge of a tag, and reports whether the object may have it.
// head is the object's, nil if unknown.
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

// applyTagPurges applies the purges of tags to the object, whose tags are known now.
func (g *purgeMarks) applyTagPurges(o *Object) {
	for _, t := range g.tags {
		if o.hasTag(t.tag) {
			g.notePurge(t.soft)
		}
	}
}
