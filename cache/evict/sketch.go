package evict

import "math/bits"

// sketch estimates how often a key was requested lately, in a fixed number of bytes:
// a count-min sketch of 4-bit counters, four per key, that are all halved from time to
// time, so that old requests lose weight (TinyLFU: Einziger, Friedman, Manes, "TinyLFU: A Highly
// Efficient Cache Admission Policy", 2017).
type sketch struct {
	words []uint64 // 16 counters each; a power of two of them
	adds  int      // since the last halving
	reset int      // adds at which to halve
}

const (
	// sketchMax is the largest count.
	sketchMax = 15
	// sketchWords is the least number of words for each expected item. With fewer,
	// unpopular keys share counters and look popular.
	sketchWords = 2
	// sketchMemory is the number of requests, for each item, between two halvings. 8
	// followed changing favourites better by half a point, and 24 knew a Zipf's tail
	// better by as much.
	sketchMemory = 16
)

// newSketch returns a sketch for about n keys.
func newSketch(n int) sketch {
	n = max(n, minItems)
	s := sketch{words: make([]uint64, 1<<bits.Len(uint(sketchWords*n-1)))}
	s.setMemory(n)
	return s
}

// minItems is the least number of items for which a sketch is sized.
const minItems = 16

// setMemory adapts the interval of the halvings to a number of items, as far as the
// sketch has room for them.
func (s *sketch) setMemory(items int) {
	s.reset = sketchMemory * min(max(items, minItems), len(s.words))
}

// sketchSeeds spread one 64-bit hash over four words.
var sketchSeeds = [4]uint64{0xc3a5c85c97cb3127, 0xb492b66fbe98f273, 0x9ae16a3b2f90404f, 0xcbf29ce484222325}

// counterSlot returns row i's counter. The top bits of the hash are the same for all
// keys of a shard, so only mixed bits are used.
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
