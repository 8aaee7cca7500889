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
	source RackSource
	epoch  string // marks the event ids of this run, so that another run's are not taken for ours

	mu      sync.Mutex
	ended   bool // run has returned; nobody may join
	streams map[*eventStream]struct{}
	slots   quota[*eventStream] // of the same streams
	last    Snapshot            // the latest sample; zero before the first
	sampled bool                // last is a sample
	history []float64           // hits a second of the whole rack, oldest first; at most historySamples
	events  []storedEvent       // the latest, oldest first; at most replayEvents
	nextID  int64
}

// storedEvent is an event with the number that its id is made of, from 1.
type storedEvent struct {
	id int64
	Event
}

// eventStream is one client's queue. Only the hub sends and closes, with mu held.
type eventStream struct {
	rights viewerRights
	client netip.Prefix
	out    chan []byte
}

// rackMessage is a Snapshot whose ring is left out while it has not changed: of
// all that a page is told each second the ring is the longest and the calmest.
type rackMessage struct {
	Snapshot
	Ring *[]RingArc `json:"ring,omitempty"`
	Tick bool       `json:"tick,omitempty"` // this one counts for the line of hits
}

// historyMessage gives a new page the past of its line of hits, oldest first.
type historyMessage struct {
	Hits []float64 `json:"hits"`
}

var (
	errTooManyStreams = errors.New("as many pages as this board allows watch already, or as many from your address: close one, or try again")
	errConsoleClosed  = errors.New("the console is ending")
)

func newHub(source RackSource, maxStreams int) *hub {
	return &hub{
		source:  source,
		epoch:   strconv.FormatInt(time.Now().UnixMilli(), 36),
		streams: make(map[*eventStream]struct{}),
		slots:   newQuota[*eventStream](maxStreams, 0),
	}
}

// run samples until ctx ends, then ends all streams.
func (h *hub) run(ctx context.Context) {
	defer h.closeStreams()
	events, unsubscribe := h.source.Subscribe()
	defer unsubscribe()

	second := time.NewTicker(sampleInterval)
	defer second.Stop()
	// change is armed by an event, so that a burst of them makes one sample.
	change := time.NewTimer(minChangeInterval)
	change.Stop()
	defer change.Stop()
	armed := false

	h.takeSample(true)
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok { // the source has ended; the samples go on
				events = nil
				continue
			}
			h.publishEvent(e)
			if !armed { // else a steady flow of events would put the sample off
				change.Reset(minChangeInterval)
				armed = true
			}
		case <-change.C:
			armed = false
			h.takeSample(false)
		case <-second.C:
			h.takeSample(true)
		}
	}
}

// closeStreams closes all streams for good.
func (h *hub) closeStreams() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for s := range h.streams {
		h.dropStream(s)
	}
}

// takeSample takes a snapshot and hands it on; each second it also adds to the
// history.
func (h *hub) takeSample(second bool) {
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
	ready := make(map[viewerRights][]byte, 1)
	for st := range h.streams {
		b, ok := ready[st.rights]
		if !ok {
			b = h.rackFrame(st.rights, whole, second)
			ready[st.rights] = b
		}
		h.sendFrame(st, b)
	}
}

// rackFrame prepares the latest sample for a kind of viewer; mu is held.
func (h *hub) rackFrame(v viewerRights, whole, second bool) []byte {
	m := rackMessage{Snapshot: h.last, Tick: second}
	m.CanSteer, m.CanLab = v.steer, v.lab
	if m.Boards == nil {
		m.Boards = []BoardView{}
	}
	if whole {
		ring := h.last.Ring
		if ring == nil {
			ring = []RingArc{}
		}
		m.Ring = &ring
	}
	return h.formatFrame("rack", 0, m)
}

// publishEvent hands an event on and keeps it for those who come later.
func (h *hub) publishEvent(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nextID++
	h.events = append(h.events, storedEvent{h.nextID, e})
	h.events = h.events[max(0, len(h.events)-replayEvents):]
	b := h.formatFrame("event", h.nextID, e)
	for s := range h.streams {
		h.sendFrame(s, b)
	}
}

// addStream adds a stream and puts into its queue all that a new page needs: the
// latest sample, the history, and the events after the one that it knows last.
func (h *hub) addStream(client netip.Prefix, v viewerRights, lastID string) (*eventStream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return nil, errConsoleClosed
	}
	s := &eventStream{rights: v, client: client, out: make(chan []byte, streamBuffer+replayEvents+2)}
	way, made, ok := h.slots.reserveSlot(client, s)
	if !ok {
		return nil, errTooManyStreams
	}
	if made {
		h.dropStream(way)
	}
	h.streams[s] = struct{}{}
	if h.sampled {
		h.sendFrame(s, h.rackFrame(v, true, false))
		h.sendFrame(s, h.formatFrame("history", 0, historyMessage{h.history}))
	}
	known := h.parseEventID(lastID)
	for _, e := range h.events {
		if e.id > known {
			h.sendFrame(s, h.formatFrame("event", e.id, e.Event))
		}
	}
	return s, nil
}

// parseEventID reads the number out of an event id, 0 if it is none of this run.
func (h *hub) parseEventID(id string) int64 {
	epoch, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(number, 10, 64)
	if epoch != h.epoch || err != nil {
		return 0
	}
	return n
}

// removeStream takes a stream out; it may be out already.
func (h *hub) removeStream(s *eventStream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, in := h.streams[s]; in {
		h.dropStream(s)
	}
}

// sendFrame queues a message without waiting; mu is held.
func (h *hub) sendFrame(s *eventStream, b []byte) {
	select {
	case s.out <- b:
	default:
		h.dropStream(s)
	}
}

// dropStream takes a stream out and ends it; mu is held.
func (h *hub) dropStream(s *eventStream) {
	delete(h.streams, s)
	h.slots.releaseSlot(s.client, s)
	close(s.out)
}
