package console

import "sync"

// subscriberBuffer bounds the events that a subscriber may be behind before it loses
// some.
const subscriberBuffer = 64

// Broadcaster passes events on to all subscribers: the Subscribe half of a RackSource.
// The zero value is ready to use.
type Broadcaster struct {
	mu          sync.Mutex // guards subscribers
	subscribers map[chan Event]struct{}
}

// Subscribe implements RackSource.
func (b *Broadcaster) Subscribe() (<-chan Event, func()) {
	ch := make(chan Event, subscriberBuffer)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subscribers == nil {
		b.subscribers = map[chan Event]struct{}{}
	}
	b.subscribers[ch] = struct{}{}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subscribers, ch)
	}
}

// Publish sends an event to every subscriber that has room for it. It never blocks.
func (b *Broadcaster) Publish(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.subscribers {
		select {
		case ch <- e:
		default:
		}
	}
}
