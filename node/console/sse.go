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
