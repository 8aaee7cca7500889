package cluster

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

const (
	// OrdinaryWeight is the weight of an ordinary board. A board of weight 200 owns about twice as many
	// keys as one of weight 100.
	OrdinaryWeight = 100
	// MaxWeight bounds a member's weight, and so the size of the ring.
	MaxWeight = 1000

	// PointsPerBoard is the number of points (virtual nodes) on the ring of a board of OrdinaryWeight.
	// The spread of the boards' shares falls with its square root; memory (12 bytes per point) and
	// building time grow with it. Measured over racks of 2 to 64 boards and 48 naming schemes: the
	// busiest board owned at most 1.34 times the mean with 160 points, 1.28 with 256, 1.23 with 384
	// and 1.19 with 512. TestRingSpread holds some of these to 1.25. A ring of 5 boards takes 23 KB,
	// one of 64 takes 295 KB.
	PointsPerBoard = 384

	// LoadBound is the c of Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded
	// Loads" (2016), in percent: no board gets more than c times its fair share of the requests in
	// flight. At 1.25 a key moves off its owner only when that owner is a quarter busier than the rack.
	// Closer to 1 keys move too often; further away hot owners are overloaded.
	LoadBound = 125

	// LoadFloor is the number of requests in flight that a board always accepts, whatever its share.
	// Without it a nearly idle rack, where one request already exceeds the fair share, would spread a
	// key's requests, and so fetch twice what one board could have stored.
	LoadFloor = 8
)

// RingMember is a board as the ring sees it.
type RingMember struct {
	Name   string
	Weight int // OrdinaryWeight for one ordinary board; 0 owns nothing (draining); at most MaxWeight
}

// Arc is a range of the ring. The keys whose position, as a fraction of the circle from 0 to 1, is greater
// than From and at most To belong to Board. From is always less than To: a range over the top of the
// circle is two arcs.
type Arc struct {
	From, To float64
	Board    string
}

// Ring maps keys to the boards that own them, by consistent hashing. It is immutable: a change of
// membership makes a new Ring, so any number of goroutines may use it without a lock. The same members
// give the same result on every board, in whatever order they are listed.
//
// A key belongs to the first point at or after the key's hash, clockwise, and so to that point's board.
// Its second owner is the next other board clockwise. So when the first owner goes, the second becomes
// the first and already holds the pages.
type Ring struct {
	hash    func(string) uint64
	members []RingMember // sorted by name, each name once
	weight  int64        // sum of all weights

	// Parallel slices, one entry per point, sorted by hash: the search touches only the hashes.
	hashes []uint64
	first  []uint16 // index into members of the point's board
	second []uint16 // index of the next other board clockwise; the same as first if there is none
}

// maxMembers bounds a ring. It is far above any rack, and lets a point name its board in two bytes.
const maxMembers = 1024

// NewRing builds the ring of members. Point i of a board is at the hash of "name#i". Weights are clamped
// to 0..MaxWeight; a board with any weight has at least one point. Of two members with one name the
// heavier counts. Members after the first 1024 by name own nothing.
func NewRing(members []RingMember) *Ring {
	return buildRing(members, PointsPerBoard, xxhash.Sum64String)
}

// buildRing is NewRing with perBoard points for a board of OrdinaryWeight, and a hash of points and keys.
func buildRing(members []RingMember, perBoard int, hash func(string) uint64) *Ring {
	r := &Ring{hash: hash, members: slices.Clone(members)}
	for i := range r.members {
		r.members[i].Weight = min(max(r.members[i].Weight, 0), MaxWeight)
	}
	slices.SortFunc(r.members, func(a, b RingMember) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(b.Weight, a.Weight))
	})
	r.members = slices.CompactFunc(r.members, func(a, b RingMember) bool { return a.Name == b.Name })
	if len(r.members) > maxMembers {
		r.members = r.members[:maxMembers]
	}

	type point struct {
		hash  uint64
		board uint16
	}
	var points []point
	for i, m := range r.members {
		r.weight += int64(m.Weight)
		n := (m.Weight*perBoard + OrdinaryWeight/2) / OrdinaryWeight
		if m.Weight > 0 {
			n = max(n, 1)
		}
		for v := range n {
			points = append(points, point{hash(m.Name + "#" + strconv.Itoa(v)), uint16(i)})
		}
	}
	// If two points have one position, the earlier name wins, on every board alike.
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.board, b.board))
	})

	r.hashes = make([]uint64, len(points))
	r.first = make([]uint16, len(points))
	r.second = make([]uint16, len(points))
	for i, p := range points {
		r.hashes[i], r.first[i], r.second[i] = p.hash, p.board, p.board
	}
	// Going backwards, a point's second board is its neighbour's board if that differs, and otherwise
	// the neighbour's second board. Two rounds, so that the top of the circle is crossed.
	for i := 2*len(points) - 1; i >= 0; i-- {
		here, next := i%len(points), (i+1)%len(points)
		if r.first[next] != r.first[here] {
			r.second[here] = r.first[next]
		} else {
			r.second[here] = r.second[next]
		}
	}
	return r
}

// findPoint returns the index of the point that owns key. The ring must have points.
func (r *Ring) findPoint(key string) int {
	i, _ := slices.BinarySearch(r.hashes, r.hash(key))
	return i % len(r.hashes)
}

// Owners returns the board that owns key and the one that holds its replica. second is "" if only one
// board has weight, and both are "" if none has. It does not allocate.
func (r *Ring) Owners(key string) (first, second string) {
	if len(r.hashes) == 0 {
		return "", ""
	}
	i := r.findPoint(key)
	first = r.members[r.first[i]].Name
	if r.second[i] != r.first[i] {
		second = r.members[r.second[i]].Name
	}
	return first, second
}

// Pick returns the board to which a request for key should be sent: the key's first owner, or, if that
// board already has its bounded share of the requests in flight, the next board clockwise that has not. load returns
// the number of requests in flight at a board, as far as the caller knows; it may be called more than
// once per board. Pick returns "" only if no board has weight.
//
// A board of weight w may have up to max(LoadFloor, ⌈c·(total+1)·w/W⌉) requests in flight, the new
// one included, where total is the load of all members with weight, W the sum of the weights and
// c = LoadBound/100. As c > 1 there is always a board below its bound.
func (r *Ring) Pick(key string, load func(board string) (inFlight int)) string {
	if len(r.hashes) == 0 {
		return ""
	}
	start := r.findPoint(key)
	owner := r.members[r.first[start]].Name
	if load(owner) < LoadFloor {
		return owner // nothing spills below the floor, and the common case reads one load only
	}

	var total int64
	for _, m := range r.members {
		if m.Weight > 0 {
			total += int64(max(load(m.Name), 0))
		}
	}
	var checked [maxMembers / 64]uint64 // a bit per board, so that each is checked once
	for i := range r.hashes {
		b := r.first[(start+i)%len(r.hashes)]
		if checked[b/64]&(1<<(b%64)) != 0 {
			continue
		}
		checked[b/64] |= 1 << (b % 64)
		m := r.members[b]
		if int64(load(m.Name)) < max(LoadFloor, loadCapacity(total, int64(m.Weight), r.weight)) {
			return m.Name
		}
	}
	return owner // only if the loads rose meanwhile
}

// loadCapacity returns ⌈c·(total+1)·weight/all⌉, the rule of bounded loads. all must not be 0.
func loadCapacity(total, weight, all int64) int64 {
	// 128 bits, so that no load can overflow.
	hi, lo := bits.Mul64(uint64(total+1), uint64(LoadBound*weight))
	d := uint64(100 * all)
	if hi >= d {
		return int64(^uint64(0) >> 1)
	}
	q, rem := bits.Div64(hi, lo, d)
	if rem > 0 {
		q++
	}
	return int64(min(q, ^uint64(0)>>1))
}

// Arcs returns the whole circle as arcs in order from 0. Neighbouring arcs of one board are merged. The
// result is empty if no board has weight.
func (r *Ring) Arcs() []Arc {
	if len(r.hashes) == 0 {
		return nil
	}
	const circle = 1 << 64
	var arcs []Arc
	from := 0.0
	add := func(to float64, board uint16) {
		name := r.members[board].Name
		if n := len(arcs); n > 0 && arcs[n-1].Board == name {
			arcs[n-1].To = to
		} else if to > from {
			arcs = append(arcs, Arc{From: from, To: to, Board: name})
		}
		from = to
	}
	for i, h := range r.hashes {
		add(float64(h)/circle, r.first[i])
	}
	add(1, r.first[0])
	return arcs
}

// Shares returns for each member, including those of weight 0, the fraction of all keys that it owns
// first, from 0 to 1.
func (r *Ring) Shares() map[string]float64 {
	shares := make(map[string]float64, len(r.members))
	for _, m := range r.members {
		shares[m.Name] = 0
	}
	for _, a := range r.Arcs() {
		shares[a.Board] += a.To - a.From
	}
	return shares
}

// Len returns the number of boards that own keys.
func (r *Ring) Len() int {
	n := 0
	for _, m := range r.members {
		if m.Weight > 0 {
			n++
		}
	}
	return n
}
