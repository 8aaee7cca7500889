package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
)

// workload generates requests of one kind for a cache of n entries.
type workload struct {
	name  string
	about string
	// key returns a function that returns the key of request i.
	key func(r *rand.Rand, n int) func(i int) uint64
	// sized: keys have sizes distributed like those of files on the web.
	sized bool
}

// once is where the keys begin that are requested a single time.
const once = 1 << 40

// workloads lists the synthetic workloads.
func workloads() []workload {
	w := []workload{}
	for _, s := range []float64{0.7, 0.8, 0.9, 0.99, 1.1, 1.2} {
		w = append(w, workload{fmt.Sprint("zipf-", s), "Zipf over 100 n keys", func(r *rand.Rand, n int) func(int) uint64 {
			draw := newZipf(r, s, 100*n)
			return func(int) uint64 { return draw() }
		}, false})
	}
	return append(w,
		workload{"scan", "Zipf 0.99, every fourth run of n requests a scan", func(r *rand.Rand, n int) func(int) uint64 {
			draw := newZipf(r, 0.99, 20*n)
			return func(i int) uint64 {
				if i/n%4 == 3 {
					return once + uint64(i)
				}
				return draw()
			}
		}, false},
		workload{"scan-mixed", "Zipf 0.9, every other request part of a scan", func(r *rand.Rand, n int) func(int) uint64 {
			draw := newZipf(r, 0.9, 20*n)
			return func(i int) uint64 {
				if i%2 == 0 {
					return once + uint64(i)
				}
				return draw()
			}
		}, false},
		workload{"loop", "1.5 n keys in turn", func(_ *rand.Rand, n int) func(int) uint64 {
			return func(i int) uint64 { return uint64(i % (n * 3 / 2)) }
		}, false},
		workload{"loop-mixed", "Zipf 0.9, every third request from a loop over 2 n", func(r *rand.Rand, n int) func(int) uint64 {
			draw := newZipf(r, 0.9, 20*n)
			return func(i int) uint64 {
				if i%3 == 0 {
					return once + uint64(i/3%(2*n))
				}
				return draw()
			}
		}, false},
		workload{"shift", "Zipf 0.99, all favourites change every 10 n requests", func(r *rand.Rand, n int) func(int) uint64 {
			draw := newZipf(r, 0.99, 20*n)
			return func(i int) uint64 { return draw() + uint64(i/(10*n))*1_000_003 }
		}, false},
		workload{"shift-slow", "Zipf 0.8, all favourites change every 30 n requests", func(r *rand.Rand, n int) func(int) uint64 {
			draw := newZipf(r, 0.8, 20*n)
			return func(i int) uint64 { return draw() + uint64(i/(30*n))*1_000_003 }
		}, false},
		workload{"drift", "Zipf 0.9, ranks move on by one every 10 requests", func(r *rand.Rand, n int) func(int) uint64 {
			draw := newZipf(r, 0.9, 20*n)
			return func(i int) uint64 { return draw() + uint64(i/10) }
		}, false},
		workload{"news", "the newer the more popular", func(r *rand.Rand, n int) func(int) uint64 {
			return func(i int) uint64 { return once + uint64(i/20) - uint64(r.ExpFloat64()*float64(n)/2) }
		}, false},
		workload{"day-night", "two crowds by turns, 15 n requests each", func(r *rand.Rand, n int) func(int) uint64 {
			day, night := newZipf(r, 0.8, 10*n), newZipf(r, 1, 10*n)
			return func(i int) uint64 {
				if i/(15*n)%2 == 0 {
					return day()
				}
				return once + night()
			}
		}, false},
		workload{"files", "400 files of up to n/5 blocks, read in full, Zipf 0.8", func(r *rand.Rand, n int) func(int) uint64 {
			draw := newZipf(r, 0.8, 400)
			file, at, end := uint64(0), uint64(0), uint64(0)
			return func(int) uint64 {
				if at == end {
					file, at = draw(), 0
					end = 1 + mixBits(file)%uint64(n/5+2)
				}
				at++
				return file<<32 + at
			}
		}, false},
		workload{"cdn", "35 % asked for once, Zipf 0.9 with slowly changing ranks, sizes lognormal", func(r *rand.Rand, n int) func(int) uint64 {
			draw := newZipf(r, 0.9, 30*n)
			return func(i int) uint64 {
				if r.Float64() < 0.35 {
					return once + uint64(i)
				}
				return draw() + uint64(i/(50*n)*n/3)
			}
		}, true},
		workload{"sizes", "Zipf 0.9 over 30 n keys, sizes lognormal", func(r *rand.Rand, n int) func(int) uint64 {
			draw := newZipf(r, 0.9, 30*n)
			return func(int) uint64 { return draw() }
		}, true},
	)
}

// generate returns a number of requests.
func (w workload) generate(n, requests int, seed uint64) []request {
	r := rand.New(rand.NewPCG(seed, 0))
	next := w.key(r, n)
	all := make([]request, requests)
	for i := range all {
		key := mixBits(next(i))
		all[i] = request{key, 1}
		if w.sized {
			all[i].size = sizeOf(key)
		}
	}
	return all
}

// newZipf draws from n keys, the first the most popular; rand.Zipf does only
// exponents above 1.
func newZipf(r *rand.Rand, s float64, n int) func() uint64 {
	sums := make([]float64, n)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -s)
		sums[i] = sum
	}
	return func() uint64 { return uint64(sort.SearchFloat64s(sums, r.Float64()*sum)) }
}

// mixBits hashes a number (splitmix64).
func mixBits(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// sizeOf returns a key's size: half are below 8 KB, a few are megabytes.
func sizeOf(key uint64) int64 {
	r := rand.New(rand.NewPCG(key, 0))
	return int64(min(max(math.Exp(9+1.5*r.NormFloat64()), 50), 4e6))
}
