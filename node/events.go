package node

import (
	"sync"
	"time"

	"bramble/cluster"
	"bramble/node/console"
)

// eventBuffer is how many events a slow watcher may be behind before it loses some.
const eventBuffer = 64

// events passes what happens to the rack and to this board on to whoever watches.
type events struct {
	mu       sync.Mutex // guards watchers
	watchers map[chan console.Event]struct{}
}

func newEvents() *events { return &events{watchers: map[chan console.Event]struct{}{}} }

// Subscribe returns events from now on and a function that ends that.
func (e *events) Subscribe() (<-chan console.Event, func()) {
	ch := make(chan console.Event, eventBuffer)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watchers[ch] = struct{}{}
	return ch, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if _, on := e.watchers[ch]; on {
			delete(e.watchers, ch)
			close(ch)
		}
	}
}

// tell never blocks: a watcher whose buffer is full loses the event.
func (e *events) tell(event console.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ch := range e.watchers {
		select {
		case ch <- event:
		default:
		}
	}
}

// ofRack is a membership event in the console's words.
func ofRack(e cluster.Event) console.Event {
	kind := e.Kind.String()
	if e.Kind == cluster.Changed {
		kind = "state"
	}
	return console.Event{At: e.At, Kind: kind, Board: e.Board, Text: e.Text}
}

// ofPurge is a purge that this board has obeyed.
func ofPurge(board string, p cluster.Purge, dropped int, at time.Time) console.Event {
	return console.Event{At: at, Kind: "purge", Board: board, Text: purgeText(p, dropped)}
}
