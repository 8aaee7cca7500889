package console

import (
	"context"
	"errors"
	"sync"
	"time"

	"bramble/gpio"
)

// RackView is the rack as one observer sees it at one moment. It is the body of GET
// /api/v1/rack and of every "rack" server-sent event, there without the ring while
// that has not changed. The console sets CanLab and CanSteer, the rights of the
// client.
type RackView struct {
	At       time.Time   `json:"at"`
	Version  string      `json:"version"`           // of the observer's program
	Observer string      `json:"observer"`          // name of the observing board; "lab" for a lab with no live board
	Boards   []BoardView `json:"boards"`            // sorted by name
	Ring     []RingArc   `json:"ring"`              // clockwise, adjacent arcs of one board merged
	Notices  []string    `json:"notices,omitempty"` // what a person must know, one sentence each
	CanLab   bool        `json:"can_lab,omitempty"` // stop, kill, pause and revive are possible here
	CanSteer bool        `json:"can_steer"`         // purge and drain are possible here
}

// BoardView is one board of a RackView.
type BoardView struct {
	Name       string     `json:"name"`
	State      string     `json:"state"` // starting, joining, serving, draining, drained, left, dead, and in a lab also paused or stopped
	Faults     []string   `json:"faults,omitempty"`
	Self       bool       `json:"self,omitempty"` // the observer itself
	HTTPURL    string     `json:"http_url"`       // of its pages, "http://127.0.0.1:8081"
	ConsoleURL string     `json:"console_url"`
	PID        int        `json:"pid,omitempty"` // only in a lab
	RingShare  float64    `json:"ring_share"`    // part of the ring of which it is the first owner, 0 to 1
	Vitals     VitalsView `json:"vitals"`
	Panel      gpio.Show  `json:"panel"` // what its lamps show now
}

// VitalsView are a board's figures of the last second.
type VitalsView struct {
	ResponsesPerSecond float64 `json:"responses_per_second"` // to clients, whatever their status
	HitRatio           float64 `json:"hit_ratio"`            // part of them answered from this board's memory, 0 to 1
	CPUCores           float64 `json:"cpu_cores"`            // of one core, 0 to 1 and above on several cores
	MemoryBytes        int64   `json:"memory_bytes"`         // resident
	Connections        int64   `json:"connections"`          // open on the public listener
	CacheBytes         int64   `json:"cache_bytes"`
	CacheBudgetBytes   int64   `json:"cache_budget_bytes"`
	UptimeSeconds      int64   `json:"uptime_seconds"`
}

// RingArc is a range of the ring with one first owner. From and To are turns, 0 at the
// top and clockwise to 1; the arc excludes From and includes To.
type RingArc struct {
	From  float64 `json:"from"`
	To    float64 `json:"to"`
	Board string  `json:"board"`
}

// Event is something that happened to the rack, described for a person.
type Event struct {
	At    time.Time `json:"at"`
	Kind  string    `json:"kind"`  // joined, left, died, returned, state, purge, lab
	Board string    `json:"board"` // the board that it is about, "" for the whole rack
	Text  string    `json:"text"`  // "board-3 died: no answer to probes"
}

// RackSource provides the state of the rack. Both methods may be called from any
// goroutine at any time.
type RackSource interface {
	// RackView returns the latest state. It is cheap and never blocks on a peer.
	RackView() RackView
	// Subscribe returns events from now on and a function that ends the
	// subscription. A reader that falls behind loses events and never blocks others.
	Subscribe() (<-chan Event, func())
}

// PurgeRequest selects what to purge: exactly one of URL, Tag and All is set.
type PurgeRequest struct {
	URL string `json:"url,omitempty"` // absolute, or a path with query
	Tag string `json:"tag,omitempty"`
	All bool   `json:"all,omitempty"`
	// Soft marks pages stale instead of dropping them: until the origin has answered
	// they may be served where a stale page may be.
	Soft bool `json:"soft,omitempty"`
}

// PurgeResult lists which boards have applied a purge.
type PurgeResult struct {
	Applied []string `json:"applied"`          // boards that have applied it
	Absent  []string `json:"absent,omitempty"` // boards that will apply it before they serve again
}

// Control steers the rack. Errors match ErrUnknownBoard, ErrBadRequest or
// ErrUnavailable and contain one sentence about what to do next.
type Control interface {
	Purge(ctx context.Context, p PurgeRequest) (PurgeResult, error)
	// Drain takes a board out of service without an error to any client, or,
	// with undo, puts it back.
	Drain(ctx context.Context, board string, undo bool) error
	// Locate makes a board blink so that it can be found, or, with undo, stops that.
	Locate(ctx context.Context, board string, undo bool) error
}

// Lab starts and stops the processes of a lab's boards.
type Lab interface {
	// Do carries out one of the actions stop, kill, pause and revive.
	Do(ctx context.Context, board, action string) error
}

// Kinds of error that the API turns into a status code.
var (
	ErrUnknownBoard = errors.New("unknown board")    // 404
	ErrBadRequest   = errors.New("bad request")      // 400
	ErrUnavailable  = errors.New("not possible now") // 503
)

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
