package cache

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxRecent bounds the keys that one memory holds; the oldest go first. An
// entry costs about 120 bytes.
const maxRecent = 1024

// recent remembers for a short while that something was so for a key: that its
// reply could not be shared, that upstream failed. To forget, or to take one key
// for another, costs speed and nothing else.
type recent struct {
	seed maphash.Seed
	mu   sync.Mutex
	keys *simplelru.LRU[uint64, time.Duration] // until when, on the cache's clock
}

func newRecent() (*recent, error) {
	keys, err := simplelru.NewLRU[uint64, time.Duration](maxRecent, nil)
	return &recent{seed: maphash.MakeSeed(), keys: keys}, err
}

func (m *recent) note(key string, until time.Duration) {
	h := maphash.String(m.seed, key)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys.Add(h, until)
}

func (m *recent) forget(key string) {
	h := maphash.String(m.seed, key)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys.Remove(h)
}

func (m *recent) has(key string, now time.Duration) bool {
	h := maphash.String(m.seed, key)
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.keys.Peek(h)
	return ok && now < until
}
