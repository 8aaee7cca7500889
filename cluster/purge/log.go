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

// Kind says what a purge names.
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

// Purge names what a rack must forget. To obey one twice is harmless.
type Purge struct {
	Kind   Kind   `json:"k"`
	Target string `json:"w,omitempty"` // the cache key or tag, at most MaxPurgeLength bytes
	Soft   bool   `json:"s,omitempty"` // not forget, but ask the origin before it is shown again
}

// Bounds of what a board remembers about purges. What falls off the log is
// replaced by "forget everything", which is always right and only costs hits.
const (
	MaxTarget  = 8 << 10 // bytes in a cache key or tag
	maxRecords = 4096    // records over all origins
	maxIssuers = 4096    // processes that ever issued one
	maxBatch   = 512     // records in one message
)

// Valid returns an error that says what is wrong with a purge.
func (p Purge) Valid() error {
	switch {
	case p.Kind == All && p.Target == "":
		return nil
	case p.Kind != URL && p.Kind != Tag:
		return fmt.Errorf("purge: %v with %q names nothing", p.Kind, p.Target)
	case p.Target == "":
		return fmt.Errorf("purge: the %v is empty", p.Kind)
	case len(p.Target) > MaxTarget:
		return fmt.Errorf("purge: the %v has %d bytes, at most %d are possible", p.Kind, len(p.Target), MaxTarget)
	}
	return nil
}

// Applier forgets what a purge names before Obey returns. It is called with the
// log locked, one purge at a time, in an order in which each origin's purges
// keep theirs.
type Applier interface{ Apply(Purge) }

// Issuer is one process that issued purges. A restarted board is a new one: its
// memory is empty, so it need not remember its last number.
type Issuer uint64

// Vector says up to which number somebody has obeyed each origin's purges.
type Vector map[Issuer]uint64

// Covers reports whether v has obeyed everything that w has.
func (v Vector) Covers(w Vector) bool {
	for origin, seq := range w {
		if v[origin] < seq {
			return false
		}
	}
	return true
}

// Digest is the same for equal vectors and, but for a chance of 2^-64,
// different for different ones.
func (v Vector) Digest() uint64 {
	if len(v) == 0 {
		return 0
	}
	b := make([]byte, 0, 16*len(v))
	for _, origin := range slices.Sorted(maps.Keys(v)) {
		b = binary.BigEndian.AppendUint64(b, uint64(origin))
		b = binary.BigEndian.AppendUint64(b, v[origin])
	}
	return xxhash.Sum64(b)
}

// Range is a run of one origin's purges: those numbered After+1,
// After+2, … If the receiver has not obeyed up to After, it has missed
// something that nobody remembers, and must forget everything.
type Range struct {
	Issuer Issuer  `json:"o"`
	After  uint64  `json:"a"`
	Purges []Purge `json:"p,omitempty"`
}

// ReplicatedLog is what one board knows of the rack's purges. It holds each
// origin's latest ones, in order and without gaps.
type ReplicatedLog struct {
	self    Issuer
	applier Applier

	mu        sync.Mutex // guards what follows, and is held while obeyer obeys
	histories map[Issuer]*issuerHistory
	records   int
	digest    uint64
}

// issuerHistory is one origin's purges: floor were issued before the first kept one.
type issuerHistory struct {
	floor   uint64
	records []Purge
}

func (h *issuerHistory) lastSeq() uint64 { return h.floor + uint64(len(h.records)) }

// NewLog returns an empty log of a board that has just started.
func NewLog(obeyer Applier) *ReplicatedLog {
	return newLog(Issuer(rand.Uint64()), obeyer)
}

func newLog(self Issuer, obeyer Applier) *ReplicatedLog {
	return &ReplicatedLog{self: self, applier: obeyer, histories: map[Issuer]*issuerHistory{}}
}

// Issue obeys a purge here and gives it the next number of this board.
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

// appendPurge appends to h and, above the bound, lets the longest history's oldest go.
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

// Digest is that of Vector, ready made: it goes with every request between boards.
func (l *ReplicatedLog) Digest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.digest
}

// Vector returns what this board has obeyed.
func (l *ReplicatedLog) Vector() Vector {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.vectorLocked()
}

func (l *ReplicatedLog) vectorLocked() Vector {
	v := make(Vector, len(l.histories))
	for origin, h := range l.histories {
		v[origin] = h.lastSeq()
	}
	return v
}

// Missing returns what a board with the given vector has not obeyed, at most
// maxPurgeBatch records; the rest follows when it has obeyed these.
func (l *ReplicatedLog) Missing(theirs Vector) []Range {
	l.mu.Lock()
	defer l.mu.Unlock()
	var batch []Range
	room := maxBatch
	for _, origin := range slices.Sorted(maps.Keys(l.histories)) {
		h := l.histories[origin]
		has := theirs[origin]
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
		batch = append(batch, Range{Issuer: origin, After: after, Purges: slices.Clone(purges)})
	}
	return batch
}

// Merge obeys what is new in a batch and returns how many purges it obeyed.
// A gap that no record fills counts as one purge, of everything.
func (l *ReplicatedLog) Merge(batch []Range) (int, error) {
	for _, s := range batch {
		if len(s.Purges) > maxBatch {
			return 0, fmt.Errorf("purges: a batch of %d records, at most %d are possible", len(s.Purges), maxBatch)
		}
		for _, p := range s.Purges {
			if err := p.Valid(); err != nil {
				return 0, err
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	obeyed := 0
	for _, s := range batch {
		obeyed += l.mergeRange(s)
	}
	l.digest = l.vectorLocked().Digest()
	return obeyed, nil
}

func (l *ReplicatedLog) mergeRange(s Range) int {
	if s.After == 0 && len(s.Purges) == 0 {
		return 0
	}
	h := l.histories[s.Issuer]
	if h == nil {
		if len(l.histories) >= maxIssuers {
			// Too many to remember, so this one comes anew each time.
			l.applier.Apply(Purge{Kind: All})
			return 1
		}
		h = &issuerHistory{}
		l.histories[s.Issuer] = h
	}
	obeyed := 0
	if h.lastSeq() < s.After {
		l.applier.Apply(Purge{Kind: All})
		l.records -= len(h.records)
		h.floor, h.records = s.After, nil
		obeyed++
	}
	skip := h.lastSeq() - s.After
	if skip >= uint64(len(s.Purges)) {
		return obeyed
	}
	for _, p := range s.Purges[skip:] {
		l.applier.Apply(p)
		l.appendPurge(h, p)
		obeyed++
	}
	return obeyed
}
