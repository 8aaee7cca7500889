package cache

import "slices"

// purgeMarks records the purges that happened while an object was on its way into the
// store.
type purgeMarks struct {
	key      string
	purged   bool
	softened bool
	invalid  bool       // by an unsafe request
	expected int        // purges that the object itself causes
	tags     []tagPurge // purged while the object's tags were unknown
}

type tagPurge struct {
	tag  string
	soft bool
}

// maxGuardTags bounds purgeMarks.tags; with more the object counts as purged.
const maxGuardTags = 64

// notePurge records a purge of the object itself. It returns true: no request may join
// its flight any more.
func (m *purgeMarks) notePurge(s Selector) bool {
	if m.expected > 0 && s.Invalid {
		m.expected--
		return true
	}
	m.softened = m.softened || s.Soft
	m.invalid = m.invalid || s.Invalid
	m.purged = m.purged || !s.Soft
	return true
}

// noteTagPurge records a purge of a tag, and reports whether the object may have the tag.
// head is the object's, nil if unknown.
func (m *purgeMarks) noteTagPurge(tag string, soft bool, head *Object) bool {
	switch {
	case head != nil:
		return head.hasTag(tag) && m.notePurge(Selector{Soft: soft})
	case len(m.tags) == maxGuardTags:
		m.purged = true
	case !slices.Contains(m.tags, tagPurge{tag, soft}):
		m.tags = append(m.tags, tagPurge{tag, soft})
	}
	return true
}

// applyTagPurges applies the recorded purges of tags to the object, whose tags are known
// now.
func (m *purgeMarks) applyTagPurges(o *Object) {
	for _, t := range m.tags {
		if o.hasTag(t.tag) {
			m.notePurge(Selector{Soft: t.soft})
		}
	}
}
