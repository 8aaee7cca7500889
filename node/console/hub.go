package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// hub samples the source and broadcasts the samples and events to all streams. A
// stream that does not keep up is closed: its page connects again and gets the whole
// picture, which is better than an old one.
type hub struct {
	source RackSource
	epoch  string // marks the event ids of this process, to tell them from those of an earlier one

	mu      sync.Mutex
	ended   bool // run has returned; no stream may be added
	streams map[*eventStream]struct{}
	permits quota[*eventStream] // of the same streams
	last    RackView            // the latest sample; zero before the first
	sampled bool                // last is a sample
	history []float64           // responses a second of the whole rack, oldest first; at most historySamples
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

// rackMessage is a RackView without its ring while that has not changed: the ring is
// the longest part and changes least.
type rackMessage struct {
	RackView
	Ring *[]RingArc `json:"ring,omitempty"`
	Tick bool       `json:"tick,omitempty"` // one a second: this sample extends the page's history
}

// historyMessage is the history of responses a second for a new page, oldest first.
type historyMessage struct {
	ResponsesPerSecond []float64 `json:"responses_per_second"`
}

var (
	errTooManyStreams = errors.New("too many pages watch this board, or too many from your address: close one, or try again")
	errConsoleClosed  = errors.New("the console is closing")
)

func newHub(source RackSource, maxStreams int) *hub {
	return &hub{
		source:  source,
		epoch:   strconv.FormatInt(time.Now().UnixMilli(), 36),
		streams: make(map[*eventStream]struct{}),
		permits: newQuota[*eventStream](maxStreams, 0),
	}
}

// run samples until ctx ends, and then closes all streams.
func (h *hub) run(ctx context.Context) {
	defer h.closeStreams()
	events, unsubscribe := h.source.Subscribe()
	defer unsubscribe()

	tick := time.Tick(sampleInterval)
	// An event arms change, so that a burst of events causes one sample.
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
			if !armed { // otherwise a steady flow of events would delay the sample
				change.Reset(minChangeInterval)
				armed = true
			}
		case <-change.C:
			armed = false
			h.takeSample(false)
		case <-tick:
			h.takeSample(true)
		}
	}
}

// closeStreams closes all streams; none may be added after.
func (h *hub) closeStreams() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for s := range h.streams {
		h.dropStream(s)
	}
}

// takeSample broadcasts a snapshot; once a second (tick) it also extends the history.
func (h *hub) takeSample(tick bool) {
	s := h.source.RackView() // not under mu: the source has locks of its own
	h.mu.Lock()
	defer h.mu.Unlock()
	withRing := !h.sampled || !slices.Equal(s.Ring, h.last.Ring)
	h.last, h.sampled = s, true
	if tick {
		var hits float64
		for _, b := range s.Boards {
			hits += b.Vitals.ResponsesPerSecond
		}
		h.history = append(h.history, hits)
		h.history = h.history[max(0, len(h.history)-historySamples):]
	}
	frames := make(map[viewerRights][]byte, 1)
	for st := range h.streams {
		b, ok := frames[st.rights]
		if !ok {
			b = h.formatRack(st.rights, withRing, tick)
			frames[st.rights] = b
		}
		h.sendFrame(st, b)
	}
}

// formatRack formats the latest sample for viewers with some rights; mu is held.
func (h *hub) formatRack(rights viewerRights, withRing, tick bool) []byte {
	m := rackMessage{RackView: h.last, Tick: tick}
	m.CanSteer, m.CanLab = rights.steer, rights.lab
	if m.Boards == nil {
		m.Boards = []BoardView{}
	}
	if withRing {
		ring := h.last.Ring
		if ring == nil {
			ring = []RingArc{}
		}
		m.Ring = &ring
	}
	return h.formatFrame("rack", 0, m)
}

// publishEvent broadcasts an event and stores it for streams that come later.
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

// addStream adds a stream and queues what a new page needs: the latest sample, the
// history, and the events after the one with lastID.
func (h *hub) addStream(client netip.Prefix, rights viewerRights, lastID string) (*eventStream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return nil, errConsoleClosed
	}
	s := &eventStream{rights: rights, client: client, out: make(chan []byte, streamBuffer+replayEvents+2)}
	victim, evicted, ok := h.permits.reservePermit(client, s)
	if !ok {
		return nil, errTooManyStreams
	}
	if evicted {
		h.dropStream(victim)
	}
	h.streams[s] = struct{}{}
	if h.sampled {
		h.sendFrame(s, h.formatRack(rights, true, false))
		h.sendFrame(s, h.formatFrame("history", 0, historyMessage{h.history}))
	}
	last := h.parseEventID(lastID)
	for _, e := range h.events {
		if e.id > last {
			h.sendFrame(s, h.formatFrame("event", e.id, e.Event))
		}
	}
	return s, nil
}

// parseEventID returns the number in an event id, 0 if another process issued it.
func (h *hub) parseEventID(id string) int64 {
	epoch, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(number, 10, 64)
	if epoch != h.epoch || err != nil {
		return 0
	}
	return n
}

// removeStream removes a stream, which may be removed already.
func (h *hub) removeStream(s *eventStream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, in := h.streams[s]; in {
		h.dropStream(s)
	}
}

// sendFrame queues a message without waiting, or drops a stream whose queue is full;
// mu is held.
func (h *hub) sendFrame(s *eventStream, b []byte) {
	select {
	case s.out <- b:
	default:
		h.dropStream(s)
	}
}

// dropStream removes and closes a stream; mu is held.
func (h *hub) dropStream(s *eventStream) {
	delete(h.streams, s)
	h.permits.releasePermit(s.client, s)
	close(s.out)
}

// The bounds of a stream of server-sent events.
const (
	sampleInterval    = time.Second
	minChangeInterval = 100 * time.Millisecond // from an event to the sample that it causes
	keepAliveInterval = 15 * time.Second
	writeTimeout      = 10 * time.Second // of a client that reads nothing; it is dropped then
	streamBuffer      = 32               // messages that a slow client may be behind before it is dropped
	replayEvents      = 50               // the latest events, sent to a new page
	historySamples    = 120              // seconds of history, sent to a new page
)

// viewerRights are what a client may do. A message is formatted once for each kind.
type viewerRights struct{ steer, lab bool }

// formatFrame formats one server-sent event. JSON has no line breaks, so data is one
// line. An id of 0 is left out. A value that JSON cannot express (NaN) becomes a
// "trouble" event, which the page shows.
func (h *hub) formatFrame(name string, id int64, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		data, _ = json.Marshal("the console cannot encode its " + name + " as JSON: " + err.Error()) // a string always can
		name = "trouble"
	}
	var b bytes.Buffer
	b.Grow(len(data) + 64)
	b.WriteString("event: " + name + "\n")
	if id > 0 {
		b.WriteString("id: " + h.epoch + "-" + strconv.FormatInt(id, 10) + "\n")
	}
	b.WriteString("data: ")
	b.Write(data)
	b.WriteString("\n\n")
	return b.Bytes()
}

// serveEvents streams the rack to one client until it goes, falls behind, or the
// console closes.
func (c *Console) serveEvents(w http.ResponseWriter, r *http.Request) {
	s, err := c.hub.addStream(clientOfRequest(r), c.rightsOf(r), r.Header.Get("Last-Event-ID"))
	if err != nil {
		w.Header().Set("Retry-After", "5")
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer c.hub.removeStream(s)

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies must not buffer the stream
	rc := http.NewResponseController(w)
	// The server's read timeout is for slow requests, not for watching. A writer
	// without deadlines has no such timeout.
	_ = rc.SetReadDeadline(time.Time{})
	send := func(b []byte) bool {
		err := rc.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return false
		}
		if _, err := w.Write(b); err != nil {
			return false
		}
		return rc.Flush() == nil
	}
	if !send([]byte("retry: 2000\n\n")) {
		return
	}
	heartbeat := time.Tick(keepAliveInterval)
	for {
		select {
		case <-r.Context().Done():
			return
		case b, ok := <-s.out:
			if !ok || !send(b) {
				return
			}
		case <-heartbeat:
			if !send([]byte(": still here\n\n")) {
				return
			}
		}
	}
}
