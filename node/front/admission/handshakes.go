package admission

import (
	"errors"
	"sync"
)

// ErrBusy ends a handshake that would wait too long for its first permit.
var ErrBusy = errors.New("too many TLS handshakes are waiting")

// Handshakes limits the TLS handshakes that compute at once: one takes an ARM11 25 to
// 65 ms, and with many at once everything else would wait for all of them. It is a
// semaphore with a bounded queue, of which no client may fill more than half.
type Handshakes struct {
	permits    chan struct{} // has one for each permit that is held
	maxWaiting int

	mu        sync.Mutex     // guards what follows
	waiting   int            // handshakes that have not begun
	waitingOf map[uint32]int // of these, those of each client (ClientKey.address)
}

// NewHandshakes makes a limiter with a number of permits and of handshakes that may wait
// for their first.
func NewHandshakes(permits, maxWaiting int) *Handshakes {
	return &Handshakes{permits: make(chan struct{}, permits), maxWaiting: maxWaiting, waitingOf: make(map[uint32]int)}
}

// Acquire waits for a permit. It fails with ErrBusy if the queue is full, or if this
// client already has as many handshakes in it as there are free entries. So one address
// can occupy at most half of the queue, two addresses a third each, and some entries are
// left for others. It does not fail if the handshake has begun, for then most of the work
// is done; such handshakes do not fill the queue either, because a client itself decides
// in how many pieces the rest of its handshake arrives.
func (h *Handshakes) Acquire(client ClientKey, hasBegun bool) error {
	select {
	case h.permits <- struct{}{}:
		return nil
	default:
	}
	if !hasBegun {
		if !h.joinQueue(client) {
			return ErrBusy
		}
		defer h.leaveQueue(client)
	}
	h.permits <- struct{}{} // who waits longest is next
	return nil
}

// Held returns the number of permits that are in use.
func (h *Handshakes) Held() int { return len(h.permits) }

// Waiting returns the number of handshakes that wait for their first permit.
func (h *Handshakes) Waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting
}

// Release releases a permit.
func (h *Handshakes) Release() { <-h.permits }

func (h *Handshakes) joinQueue(client ClientKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waitingOf[client.address] >= h.maxWaiting-h.waiting {
		return false
	}
	h.waitingOf[client.address]++
	h.waiting++
	return true
}

func (h *Handshakes) leaveQueue(client ClientKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting--
	if h.waitingOf[client.address]--; h.waitingOf[client.address] == 0 {
		delete(h.waitingOf, client.address)
	}
}
