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
func (a *Broadcaster) Subscribe() (<-chan Event, func()) {
	ch := make(chan Event, subscriberBuffer)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.subscribers == nil {
		a.subscribers = map[chan Event]struct{}{}
	}
	a.subscribers[ch] = struct{}{}
	return ch, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.subscribers, ch)
	}
}

// Publish sends an event to every subscriber that has room for it. It never blocks.
func (a *Broadcaster) Publish(e Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ch := range a.subscribers {
		select {
		case ch <- e:
		default:
		}
	}
}

// Subscribers counts the subscriptions that have not ended.
func (a *Broadcaster) Subscribers() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.subscribers)
}
