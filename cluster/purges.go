package cluster

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// PurgeKind says what a purge names.
type PurgeKind uint8

const (
	PurgeURL PurgeKind = iota + 1 // one cache key, all its variants
	PurgeTag                      // every object with a tag
	PurgeAll                      // everything
)

func (k PurgeKind) String() string {
	switch k {
	case PurgeURL:
		return "url"
	case PurgeTag:
		return "tag"
	case PurgeAll:
		return "all"
	}
	return fmt.Sprintf("purge kind %d", uint8(k))
}

// Purge names what a rack must forget. To obey one twice is harmless.
type Purge struct {
	Kind PurgeKind `json:"k"`
	What string    `json:"w,omitempty"` // the cache key or tag, at most MaxPurgeLength bytes
	Soft bool      `json:"s,omitempty"` // not forget, but ask the origin before it is shown again
}

// Bounds of what a board remembers about purges. What falls off the log is
// replaced by "forget everything", which is always right and only costs hits.
const (
	MaxPurgeLength  = 8 << 10 // bytes in a cache key or tag
	maxPurgesKept   = 4096    // records over all origins
	maxPurgeOrigins = 4096    // processes that ever issued one
	maxPurgeBatch   = 512     // records in one message
)

// Valid returns an error that says what is wrong with a purge.
func (p Purge) Valid() error {
	switch {
	case p.Kind == PurgeAll && p.What == "":
		return nil
	case p.Kind != PurgeURL && p.Kind != PurgeTag:
		return fmt.Errorf("purge: %v with %q names nothing", p.Kind, p.What)
	case p.What == "":
		return fmt.Errorf("purge: the %v is empty", p.Kind)
	case len(p.What) > MaxPurgeLength:
		return fmt.Errorf("purge: the %v has %d bytes, at most %d are possible", p.Kind, len(p.What), MaxPurgeLength)
	}
	return nil
}

// Obeyer forgets what a purge names before Obey returns. It is called with the
// log locked, one purge at a time, in an order in which each origin's purges
// keep theirs.
type Obeyer interface{ Obey(Purge) }

// Origin is one process that issued purges. A restarted board is a new one: its
// memory is empty, so it need not remember its last number.
type Origin uint64

// Vector says up to which number somebody has obeyed each origin's purges.
type Vector map[Origin]uint64

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

// Stretch is a run of one origin's purges: those numbered After+1,
// After+2, … If the receiver has not obeyed up to After, it has missed
// something that nobody remembers, and must forget everything.
type Stretch struct {
	Origin Origin  `json:"o"`
	After  uint64  `json:"a"`
	Purges []Purge `json:"p,omitempty"`
}

// PurgeLog is what one board knows of the rack's purges. It holds each
// origin's latest ones, in order and without gaps.
type PurgeLog struct {
	self   Origin
	obeyer Obeyer

	mu      sync.Mutex // guards what follows, and is held while obeyer obeys
	origins map[Origin]*history
	kept    int
	digest  uint64
}

// history is one origin's purges: floor were issued before the first kept one.
type history struct {
	floor uint64
	kept  []Purge
}

func (h *history) seq() uint64 { return h.floor + uint64(len(h.kept)) }

// NewPurgeLog returns an empty log of a board that has just started.
func NewPurgeLog(obeyer Obeyer) *PurgeLog {
	return newPurgeLog(Origin(rand.Uint64()), obeyer)
}

func newPurgeLog(self Origin, obeyer Obeyer) *PurgeLog {
	return &PurgeLog{self: self, obeyer: obeyer, origins: map[Origin]*history{}}
}

// Issue obeys a purge here and gives it the next number of this board.
func (l *PurgeLog) Issue(p Purge) error {
	if err := p.Valid(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.obeyer.Obey(p)
	h := l.origins[l.self]
	if h == nil {
		h = &history{}
		l.origins[l.self] = h
	}
	l.remember(h, p)
	l.digest = l.vector().Digest()
	return nil
}

// remember appends to h and, above the bound, lets the longest history's oldest go.
func (l *PurgeLog) remember(h *history, p Purge) {
	h.kept = append(h.kept, p)
	if l.kept++; l.kept <= maxPurgesKept {
		return
	}
	longest := h
	for _, other := range l.origins {
		if len(other.kept) > len(longest.kept) {
			longest = other
		}
	}
	longest.kept[0] = Purge{}
	longest.kept = longest.kept[1:]
	longest.floor++
	l.kept--
}

// Digest is that of Vector, ready made: it goes with every request between boards.
func (l *PurgeLog) Digest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.digest
}

// Vector returns what this board has obeyed.
func (l *PurgeLog) Vector() Vector {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.vector()
}

func (l *PurgeLog) vector() Vector {
	v := make(Vector, len(l.origins))
	for origin, h := range l.origins {
		v[origin] = h.seq()
	}
	return v
}

// Missing returns what a board with the given vector has not obeyed, at most
// maxPurgeBatch records; the rest follows when it has obeyed these.
func (l *PurgeLog) Missing(theirs Vector) []Stretch {
	l.mu.Lock()
	defer l.mu.Unlock()
	var batch []Stretch
	room := maxPurgeBatch
	for _, origin := range slices.Sorted(maps.Keys(l.origins)) {
		h := l.origins[origin]
		has := theirs[origin]
		if has >= h.seq() {
			continue
		}
		if room == 0 {
			break
		}
		after := max(has, h.floor)
		purges := h.kept[after-h.floor:]
		purges = purges[:min(len(purges), room)]
		room -= len(purges)
		batch = append(batch, Stretch{Origin: origin, After: after, Purges: slices.Clone(purges)})
	}
	return batch
}

// Merge obeys what is new in a batch and returns how many purges it obeyed.
// A gap that no record fills counts as one purge, of everything.
func (l *PurgeLog) Merge(batch []Stretch) (int, error) {
	for _, s := range batch {
		if len(s.Purges) > maxPurgeBatch {
			return 0, fmt.Errorf("purges: a batch of %d records, at most %d are possible", len(s.Purges), maxPurgeBatch)
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
		obeyed += l.mergeStretch(s)
	}
	l.digest = l.vector().Digest()
	return obeyed, nil
}

func (l *PurgeLog) mergeStretch(s Stretch) int {
	if s.After == 0 && len(s.Purges) == 0 {
		return 0
	}
	h := l.origins[s.Origin]
	if h == nil {
		if len(l.origins) >= maxPurgeOrigins {
			// Too many to remember, so this one comes anew each time.
			l.obeyer.Obey(Purge{Kind: PurgeAll})
			return 1
		}
		h = &history{}
		l.origins[s.Origin] = h
	}
	obeyed := 0
	if h.seq() < s.After {
		l.obeyer.Obey(Purge{Kind: PurgeAll})
		l.kept -= len(h.kept)
		h.floor, h.kept = s.After, nil
		obeyed++
	}
	skip := h.seq() - s.After
	if skip >= uint64(len(s.Purges)) {
		return obeyed
	}
	for _, p := range s.Purges[skip:] {
		l.obeyer.Obey(p)
		l.remember(h, p)
		obeyed++
	}
	return obeyed
}
