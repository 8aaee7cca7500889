package console

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// hub takes samples of the source and hands them to all streams. A stream that
// does not keep up is closed: its page connects anew and has the whole picture
// again, which is better than an old one.
type hub struct {
	source Source
	epoch  string // marks the event ids of this run, so that another run's are not taken for ours

	mu      sync.Mutex
	ended   bool // run has returned; nobody may join
	streams map[*stream]struct{}
	places  shares[*stream] // of the same streams
	last    Snapshot        // the latest sample; zero before the first
	sampled bool            // last is a sample
	history []float64       // hits a second of the whole rack, oldest first; at most historySamples
	events  []told          // the latest, oldest first; at most replayEvents
	nextID  int64
}

// told is an event with the number that its id is made of, from 1.
type told struct {
	id int64
	Event
}

// stream is one client's queue. Only the hub sends and closes, with mu held.
type stream struct {
	viewer viewer
	client netip.Prefix
	out    chan []byte
}

// rackMessage is a Snapshot whose ring is left out while it has not changed: of
// all that a page is told each second the ring is the longest and the calmest.
type rackMessage struct {
	Snapshot
	Ring   *[]Arc `json:"ring,omitempty"`
	Second bool   `json:"second,omitempty"` // this one counts for the line of hits
}

// historyMessage gives a new page the past of its line of hits, oldest first.
type historyMessage struct {
	Hits []float64 `json:"hits"`
}

var (
	errFull  = errors.New("as many pages as this board allows watch already, or as many from your address: close one, or try again")
	errEnded = errors.New("the console is ending")
)

func newHub(source Source, maxStreams int) *hub {
	return &hub{
		source:  source,
		epoch:   strconv.FormatInt(time.Now().UnixMilli(), 36),
		streams: make(map[*stream]struct{}),
		places:  newShares[*stream](maxStreams, 0),
	}
}

// run samples until ctx ends, then ends all streams.
func (h *hub) run(ctx context.Context) {
	defer h.end()
	events, unsubscribe := h.source.Subscribe()
	defer unsubscribe()

	second := time.NewTicker(sampleEvery)
	defer second.Stop()
	// change is armed by an event, so that a burst of them makes one sample.
	change := time.NewTimer(changeEvery)
	change.Stop()
	defer change.Stop()
	armed := false

	h.sample(true)
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok { // the source has ended; the samples go on
				events = nil
				continue
			}
			h.tell(e)
			if !armed { // else a steady flow of events would put the sample off
				change.Reset(changeEvery)
				armed = true
			}
		case <-change.C:
			armed = false
			h.sample(false)
		case <-second.C:
			h.sample(true)
		}
	}
}

// end closes all streams for good.
func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for s := range h.streams {
		h.drop(s)
	}
}

// sample takes a snapshot and hands it on; each second it also adds to the
// history.
func (h *hub) sample(second bool) {
	s := h.source.Snapshot() // not under mu: the source has locks of its own
	h.mu.Lock()
	defer h.mu.Unlock()
	whole := !h.sampled || !slices.Equal(s.Ring, h.last.Ring)
	h.last, h.sampled = s, true
	if second {
		var hits float64
		for _, b := range s.Boards {
			hits += b.Vitals.HitsPerSecond
		}
		h.history = append(h.history, hits)
		h.history = h.history[max(0, len(h.history)-historySamples):]
	}
	ready := make(map[viewer][]byte, 1)
	for st := range h.streams {
		b, ok := ready[st.viewer]
		if !ok {
			b = h.rackFrame(st.viewer, whole, second)
			ready[st.viewer] = b
		}
		h.send(st, b)
	}
}

// rackFrame prepares the latest sample for a kind of viewer; mu is held.
func (h *hub) rackFrame(v viewer, whole, second bool) []byte {
	m := rackMessage{Snapshot: h.last, Second: second}
	m.CanSteer, m.CanLab = v.steer, v.lab
	if m.Boards == nil {
		m.Boards = []Board{}
	}
	if whole {
		ring := h.last.Ring
		if ring == nil {
			ring = []Arc{}
		}
		m.Ring = &ring
	}
	return h.frame("rack", 0, m)
}

// tell hands an event on and keeps it for those who come later.
func (h *hub) tell(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nextID++
	h.events = append(h.events, told{h.nextID, e})
	h.events = h.events[max(0, len(h.events)-replayEvents):]
	b := h.frame("event", h.nextID, e)
	for s := range h.streams {
		h.send(s, b)
	}
}

// join adds a stream and puts into its queue all that a new page needs: the
// latest sample, the history, and the events after the one that it knows last.
func (h *hub) join(client netip.Prefix, v viewer, lastID string) (*stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return nil, errEnded
	}
	s := &stream{viewer: v, client: client, out: make(chan []byte, streamBuffer+replayEvents+2)}
	way, made, ok := h.places.take(client, s)
	if !ok {
		return nil, errFull
	}
	if made {
		h.drop(way)
	}
	h.streams[s] = struct{}{}
	if h.sampled {
		h.send(s, h.rackFrame(v, true, false))
		h.send(s, h.frame("history", 0, historyMessage{h.history}))
	}
	known := h.known(lastID)
	for _, e := range h.events {
		if e.id > known {
			h.send(s, h.frame("event", e.id, e.Event))
		}
	}
	return s, nil
}

// known reads the number out of an event id, 0 if it is none of this run.
func (h *hub) known(id string) int64 {
	epoch, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(number, 10, 64)
	if epoch != h.epoch || err != nil {
		return 0
	}
	return n
}

// leave takes a stream out; it may be out already.
func (h *hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, in := h.streams[s]; in {
		h.drop(s)
	}
}

// send queues a message without waiting; mu is held.
func (h *hub) send(s *stream, b []byte) {
	select {
	case s.out <- b:
	default:
		h.drop(s)
	}
}

// drop takes a stream out and ends it; mu is held.
func (h *hub) drop(s *stream) {
	delete(h.streams, s)
	h.places.leave(s.client, s)
	close(s.out)
}
