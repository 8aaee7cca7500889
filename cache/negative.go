package cache

import (
	"hash/maphash"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxNegative bounds the keys in one negative cache; the oldest go first. An entry
// costs about 120 bytes.
const maxNegative = 1024

// negativeCache remembers for a short while that something failed for a key: that
// its reply could not be shared, or that upstream did not answer. A dropped entry, or a
// collision of two keys, costs only speed.
type negativeCache struct {
	seed  maphash.Seed
	mu    sync.Mutex
	until *simplelru.LRU[uint64, time.Duration] // by the key's hash, on the cache's clock
}

// negativeKey is the key of an entry in a negativeCache.
type negativeKey struct {
	kind negativeKind
	url  string
	// The rest is set by unsharedKey only. Clients with credentials or cookies have
	// entries of their own, so that one of them does not switch coalescing off for
	// the crowd.
	method             string
	authorized, cookie bool
}

type negativeKind uint8

const (
	notShareable negativeKind = iota // replies cannot be shared
	notStorable                      // nor stored
	failed                           // upstream failed
	failedTwice                      // and so did the retry for the same clients
)

// unsharedKey returns the key under which the cache records that replies to such requests
// are not shareable, or not storable.
func unsharedKey(kind negativeKind, url string, r *http.Request) negativeKey {
	return negativeKey{
		kind: kind, url: url, method: r.Method,
		authorized: len(r.Header["Authorization"]) > 0, cookie: len(r.Header["Cookie"]) > 0,
	}
}

func failedKey(url string) negativeKey      { return negativeKey{kind: failed, url: url} }
func failedTwiceKey(url string) negativeKey { return negativeKey{kind: failedTwice, url: url} }

func newNegativeCache() (*negativeCache, error) {
	until, err := simplelru.NewLRU[uint64, time.Duration](maxNegative, nil)
	return &negativeCache{seed: maphash.MakeSeed(), until: until}, err
}

func (c *negativeCache) note(key negativeKey, until time.Duration) {
	h := maphash.Comparable(c.seed, key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until.Add(h, until)
}

func (c *negativeCache) remove(key negativeKey) {
	h := maphash.Comparable(c.seed, key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until.Remove(h)
}

func (c *negativeCache) has(key negativeKey, now time.Duration) bool {
	h := maphash.Comparable(c.seed, key)
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.until.Peek(h)
	return ok && now < until
}
