package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// The bounds of a stream of server-sent events.
const (
	sampleInterval    = time.Second
	minChangeInterval = 100 * time.Millisecond // the soonest that an event makes a new sample
	keepAliveInterval = 15 * time.Second
	writeTimeout      = 10 * time.Second // a client that takes no bytes for so long is dropped
	streamBuffer      = 32               // messages that a slow client may be behind before it is dropped
	replayEvents      = 50               // the latest events, told to whoever comes new
	historySamples    = 120              // seconds of hits a second, told to whoever comes new
)

// viewerRights is what a client may do; a message is prepared once for each kind.
type viewerRights struct{ steer, lab bool }

// formatFrame formats one server-sent event. JSON has no line breaks, so data is one
// line. An id of 0 is left out. What cannot be JSON (a figure that is not a
// number) is told as an error that the page shows.
func (h *hub) formatFrame(name string, id int64, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		data, _ = json.Marshal("the console cannot put its " + name + " into JSON: " + err.Error()) // a string always can
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
// console ends.
func (c *Console) serveEvents(w http.ResponseWriter, r *http.Request) {
	may := c.auth.maySteer(r)
	v := viewerRights{steer: may && c.cfg.Control != nil, lab: may && c.cfg.Lab != nil}
	s, err := c.hub.addStream(clientOfRequest(r), v, r.Header.Get("Last-Event-ID"))
	if err != nil {
		w.Header().Set("Retry-After", "5")
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer c.hub.removeStream(s)

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy in between is not to hold lines back
	rc := http.NewResponseController(w)
	// A server's read timeout is for requests that dawdle, not for watching. A
	// writer without deadlines has no such timeout either.
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
	heartbeat := time.NewTicker(keepAliveInterval)
	defer heartbeat.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case b, ok := <-s.out:
			if !ok || !send(b) {
				return
			}
		case <-heartbeat.C:
			if !send([]byte(": still here\n\n")) {
				return
			}
		}
	}
}
