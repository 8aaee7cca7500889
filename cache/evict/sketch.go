package evict

import "math/bits"

// sketch estimates how often a key was asked for lately, in a fixed few bytes:
// a count-min sketch of 4-bit counters, four a key, that are all halved from
// time to time so that it forgets (the TinyLFU idea: Einziger, Friedman, Manes,
// "TinyLFU: A Highly Efficient Cache Admission Policy", 2017).
type sketch struct {
	words []uint64 // 16 counters each; a power of two of them
	adds  int      // since the last halving
	reset int      // adds at which to halve
}

const (
	// sketchMax is the largest count.
	sketchMax = 15
	// sketchWords is how many words there are for an expected item, at least.
	// With fewer, strangers share counters and look wanted.
	sketchWords = 2
	// sketchMemory is how many requests for each item that there is are counted
	// before all counts are halved. 8 followed changing favourites better by half
	// a point, and 24 knew a Zipf's tail better by as much.
	sketchMemory = 16
)

// newSketch makes one for about n keys.
func newSketch(n int) sketch {
	n = max(n, minItems)
	s := sketch{words: make([]uint64, 1<<bits.Len(uint(sketchWords*n-1)))}
	s.setMemory(n)
	return s
}

// minItems is the least number of items that a sketch is made for.
const minItems = 16

// setMemory sets for how many items the sketch counts, as far as it has room.
func (s *sketch) setMemory(items int) {
	s.reset = sketchMemory * min(max(items, minItems), len(s.words))
}

// sketchSeeds spread one 64-bit hash over four words.
var sketchSeeds = [4]uint64{0xc3a5c85c97cb3127, 0xb492b66fbe98f273, 0x9ae16a3b2f90404f, 0xcbf29ce484222325}

// counterSlot gives row i's counter. The hash's own top bits are the same for all keys
// of a shard, so only mixed bits are used.
func (s *sketch) counterSlot(h uint64, i int) (word int, shift uint) {
	x := (h + sketchSeeds[i]) * sketchSeeds[i]
	x ^= x >> 32
	return int(x & uint64(len(s.words)-1)), uint(x>>30&3|uint64(i)<<2) << 2
}

func (s *sketch) add(h uint64, n uint32) {
	for i := range sketchSeeds {
		w, shift := s.counterSlot(h, i)
		have := uint32(s.words[w] >> shift & sketchMax)
		s.words[w] += uint64(min(n, sketchMax-have)) << shift
	}
	if s.adds += int(n); s.adds >= s.reset {
		for i, w := range s.words {
			s.words[i] = w >> 1 & 0x7777777777777777
		}
		s.adds /= 2
	}
}

func (s *sketch) estimate(h uint64) uint32 {
	least := uint32(sketchMax)
	for i := range sketchSeeds {
		w, shift := s.counterSlot(h, i)
		least = min(least, uint32(s.words[w]>>shift&sketchMax))
	}
	return least
}
