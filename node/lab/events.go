package lab

import (
	"sync"

	"bramble/node/console"
)

// eventBuffer is how many events a reader may be behind before it loses some.
const eventBuffer = 64

// events hands events to all who have subscribed.
type events struct {
	mu      sync.Mutex // guards readers
	readers map[chan console.Event]struct{}
}

func newEvents() *events { return &events{readers: map[chan console.Event]struct{}{}} }

// tell gives an event to every reader that has room for it.
func (e *events) tell(ev console.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for r := range e.readers {
		select {
		case r <- ev:
		default:
		}
	}
}

// subscribe returns events from now on and a function that ends them.
func (e *events) subscribe() (<-chan console.Event, func()) {
	r := make(chan console.Event, eventBuffer)
	e.mu.Lock()
	e.readers[r] = struct{}{}
	e.mu.Unlock()
	return r, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.readers, r)
	}
}
