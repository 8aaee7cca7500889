package purge

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// Kind is the kind of objects that a purge names.
type Kind uint8

const (
	URL Kind = iota + 1 // one cache key, all its variants
	Tag                 // every object with a tag
	All                 // everything
)

func (k Kind) String() string {
	switch k {
	case URL:
		return "url"
	case Tag:
		return "tag"
	case All:
		return "all"
	}
	return fmt.Sprintf("purge kind %d", uint8(k))
}

// Purge names the objects that a rack must drop or revalidate. Applying one twice is harmless.
type Purge struct {
	Kind   Kind   `json:"k"`
	Target string `json:"w,omitempty"` // the cache key or tag, at most MaxTarget bytes
	Soft   bool   `json:"s,omitempty"` // do not drop the objects, but revalidate them with the origin before the next use
	// Invalid, with Soft: an unsafe request changed the page, so it is not served while it is revalidated either.
	Invalid bool `json:"v,omitempty"`
}

// Bounds of a purge log. A board that needs a record which no log holds any more drops
// its whole cache, which is always safe and costs only hits.
const (
	MaxTarget  = 8 << 10 // bytes in a cache key or tag
	maxRecords = 4096    // records over all issuers
	maxIssuers = 4096    // processes that ever issued a purge
	maxBatch   = 512     // records in one message
)

// Valid returns an error if a purge names nothing, or if its target is too long.
func (p Purge) Valid() error {
	switch {
	case p.Kind == All && p.Target == "":
		return nil
	case p.Kind != URL && p.Kind != Tag:
		return fmt.Errorf("purge: %v with %q names nothing", p.Kind, p.Target)
	case p.Target == "":
		return fmt.Errorf("purge: the %v is empty", p.Kind)
	case len(p.Target) > MaxTarget:
		return fmt.Errorf("purge: the %v has %d bytes; the limit is %d", p.Kind, len(p.Target), MaxTarget)
	}
	return nil
}

// Applier applies a purge to a board's memory before Apply returns. It is called with
// the log locked, one purge at a time. The purges of one issuer come in the order in
// which they were issued.
type Applier interface{ Apply(Purge) }

// Issuer is a process that issues purges. A restarted board is a new issuer: its
// memory is empty, so its earlier number does not matter.
type Issuer uint64

// Vector is a version vector: the number of the last purge of each issuer that a
// board has applied.
type Vector map[Issuer]uint64

// Covers reports whether v includes everything that w does.
func (v Vector) Covers(w Vector) bool {
	for issuer, seq := range w {
		if v[issuer] < seq {
			return false
		}
	}
	return true
}

// Digest returns a hash of v: equal for equal vectors and, except with
// probability 2^-64, different for different ones.
func (v Vector) Digest() uint64 {
	if len(v) == 0 {
		return 0
	}
	b := make([]byte, 0, 16*len(v))
	for _, issuer := range slices.Sorted(maps.Keys(v)) {
		b = binary.BigEndian.AppendUint64(b, uint64(issuer))
		b = binary.BigEndian.AppendUint64(b, v[issuer])
	}
	return xxhash.Sum64(b)
}

// Range is a run of one issuer's purges, numbered After+1, After+2, … A receiver
// that has not applied all up to After has missed purges that no log holds any more,
// and must drop its whole cache.
type Range struct {
	Issuer Issuer  `json:"o"`
	After  uint64  `json:"a"`
	Purges []Purge `json:"p,omitempty"`
}

// ReplicatedLog is one board's copy of the rack's purge log. It holds the latest
// purges of each issuer, in order and without gaps.
type ReplicatedLog struct {
	self    Issuer
	applier Applier

	mu        sync.Mutex // guards what follows, and is held while applier applies
	histories map[Issuer]*issuerHistory
	records   int
	digest    uint64
}

// issuerHistory holds the latest purges of one issuer.
type issuerHistory struct {
	floor   uint64 // the number of purges issued before records[0]
	records []Purge
}

func (h *issuerHistory) lastSeq() uint64 { return h.floor + uint64(len(h.records)) }

// NewLog returns an empty log of a board that has just started.
func NewLog(applier Applier) *ReplicatedLog {
	return newLog(Issuer(rand.Uint64()), applier)
}

func newLog(self Issuer, applier Applier) *ReplicatedLog {
	return &ReplicatedLog{self: self, applier: applier, histories: map[Issuer]*issuerHistory{}}
}

// Issue applies a purge here and assigns this board's next number to it.
func (l *ReplicatedLog) Issue(p Purge) error {
	if err := p.Valid(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applier.Apply(p)
	h := l.histories[l.self]
	if h == nil {
		h = &issuerHistory{}
		l.histories[l.self] = h
	}
	l.appendPurge(h, p)
	l.digest = l.vectorLocked().Digest()
	return nil
}

// appendPurge appends to h. Above maxRecords it drops the oldest record of the
// longest history.
func (l *ReplicatedLog) appendPurge(h *issuerHistory, p Purge) {
	h.records = append(h.records, p)
	if l.records++; l.records <= maxRecords {
		return
	}
	longest := h
	for _, other := range l.histories {
		if len(other.records) > len(longest.records) {
			longest = other
		}
	}
	longest.records[0] = Purge{}
	longest.records = longest.records[1:]
	longest.floor++
	l.records--
}

// Digest returns the digest of Vector. It is precomputed, because every request between
// boards carries it.
func (l *ReplicatedLog) Digest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.digest
}

// Vector returns the version vector of what this board has applied.
func (l *ReplicatedLog) Vector() Vector {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.vectorLocked()
}

// vectorLocked is Vector with mu held.
func (l *ReplicatedLog) vectorLocked() Vector {
	v := make(Vector, len(l.histories))
	for issuer, h := range l.histories {
		v[issuer] = h.lastSeq()
	}
	return v
}

// Missing returns the purges that a board with the given vector has not applied, at most
// maxBatch records; the rest follow when it has applied these.
func (l *ReplicatedLog) Missing(theirs Vector) []Range {
	l.mu.Lock()
	defer l.mu.Unlock()
	var batch []Range
	room := maxBatch
	for _, issuer := range slices.Sorted(maps.Keys(l.histories)) {
		h := l.histories[issuer]
		has := theirs[issuer]
		if has >= h.lastSeq() {
			continue
		}
		if room == 0 {
			break
		}
		after := max(has, h.floor)
		purges := h.records[after-h.floor:]
		purges = purges[:min(len(purges), room)]
		room -= len(purges)
		batch = append(batch, Range{Issuer: issuer, After: after, Purges: slices.Clone(purges)})
	}
	return batch
}

// Merge applies the new purges of a batch. A gap that no record fills is one purge, of everything.
func (l *ReplicatedLog) Merge(batch []Range) error {
	for _, r := range batch {
		if len(r.Purges) > maxBatch {
			return fmt.Errorf("purges: a batch of %d records; the limit is %d", len(r.Purges), maxBatch)
		}
		for _, p := range r.Purges {
			if err := p.Valid(); err != nil {
				return err
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range batch {
		l.mergeRange(r)
	}
	l.digest = l.vectorLocked().Digest()
	return nil
}

// mergeRange applies the new purges of a range. It is called with mu held.
func (l *ReplicatedLog) mergeRange(r Range) {
	if r.After == 0 && len(r.Purges) == 0 {
		return
	}
	h := l.histories[r.Issuer]
	if h == nil {
		if len(l.histories) >= maxIssuers {
			// There is no room to record another issuer's purges, so purge everything.
			// The range will be sent again.
			l.applier.Apply(Purge{Kind: All})
			return
		}
		h = &issuerHistory{}
		l.histories[r.Issuer] = h
	}
	if h.lastSeq() < r.After {
		l.applier.Apply(Purge{Kind: All})
		l.records -= len(h.records)
		h.floor, h.records = r.After, nil
	}
	known := min(h.lastSeq()-r.After, uint64(len(r.Purges)))
	for _, p := range r.Purges[known:] {
		l.applier.Apply(p)
		l.appendPurge(h, p)
	}
}
