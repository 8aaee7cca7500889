package front

import (
	"math"
	"net/http"
	"time"
)

// A connection with HTTP/2 may have a hundred requests under way, so that a few of
// them could hold all that there is behind the gate, or all of the memory, by not
// opening the windows that the replies need (RFC 9113 §5.2). What they take is
// counted by request, and given back as it is for those who have a connection each.

const (
	// streamsPerSlot requests of HTTP/2 for each place may be there at once, whatever
	// they wait for: one is worked on, four wait for that, and one is still coming.
	streamsPerSlot = waitersPerSlot + 2
	// fairlyAwaiting is how many of a connection's requests may wait for their own client
	// without it being ended to make room.
	fairlyAwaiting = 1
	// refusalStreamTimeout is how long a stream may take that carries a refusal.
	refusalStreamTimeout = 2 * time.Second
)

// http2Reply is the reply to a request of HTTP/2.
type http2Reply struct {
	http.ResponseWriter
	front      *Front
	conn       *conn
	slot       *slot // nil: not through the gate
	hasWritten bool
}

// beginHTTP2 counts a request of HTTP/2; end is called when it has been answered. Where
// there are too many, the connection ends whose client keeps most of them waiting. If
// none does, this one is taken back without a word, since words wait for the client.
func (f *Front) beginHTTP2(w http.ResponseWriter, c *conn) *http2Reply {
	n := f.gate.streams.Add(1)
	if most := int64(cap(f.gate.slots)) * streamsPerSlot; most > 0 && n > most && !f.evictSlowestHTTP2() {
		f.gate.shed.Add(1)
		f.gate.streams.Add(-1)
		panic(http.ErrAbortHandler)
	}
	// An error means that the stream has ended.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(f.cfg.WriteTimeout))
	return &http2Reply{ResponseWriter: w, front: f, conn: c}
}

// end is called once. A request that was taken back meanwhile has earned nothing, and
// those who do little else are sent away.
func (s *http2Reply) end(r *http.Request) {
	s.front.gate.streams.Add(-1)
	switch {
	case r.Context().Err() == nil:
		s.conn.allowance.earn(http2PerRequest)
	case !s.conn.allowance.spend(http2PerReset) && !s.conn.removed.Load():
		s.front.gate.shed.Add(1)
		s.conn.abort()
	}
}

// flushTail sends what net/http has yet to send, unless this is the only such request
// of its connection since that was idle: what is left then is at most 4 KB for a
// connection, and goes out in one frame with the reply's end.
func (s *http2Reply) flushTail() {
	if s.hasWritten && s.conn.unflushedReplies.Add(1) > 1 && s.FlushError() == nil {
		s.conn.unflushedReplies.Add(-1)
	}
}

// evictSlowestHTTP2 ends the connection whose client keeps most requests of HTTP/2 waiting, and
// reports whether there was one.
func (f *Front) evictSlowestHTTP2() bool {
	c, n := f.conns.mostAwaitingClient()
	if n <= fairlyAwaiting {
		return false
	}
	c.awaitingClient.Store(math.MinInt32 / 2) // once is enough
	c.abort()
	f.gate.shed.Add(1)
	return true
}

// Write sends a part of the reply, as loan does.
func (s *http2Reply) Write(p []byte) (int, error) {
	s.hasWritten = true
	defer s.watchWrite()()
	return s.ResponseWriter.Write(p)
}

// FlushError sends what has been written.
func (s *http2Reply) FlushError() error {
	defer s.watchWrite()()
	return http.NewResponseController(s.ResponseWriter).Flush()
}

func (s *http2Reply) watchWrite() (done func()) {
	sent := s.slot.watchWrite(http.NewResponseController(s.ResponseWriter).SetWriteDeadline, s.front.cfg.WriteTimeout)
	s.conn.awaitingClient.Add(1)
	return func() {
		s.conn.awaitingClient.Add(-1)
		sent()
	}
}

// Unwrap is for http.ResponseController.
func (s *http2Reply) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// limitRefusal bounds how long a short reply may take, if it has a stream to itself.
func limitRefusal(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 {
		// An error means that the stream has ended.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(refusalStreamTimeout))
	}
}
