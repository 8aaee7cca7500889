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
	// streamsPerPlace requests of HTTP/2 for each place may be there at once, whatever
	// they wait for: one is worked on, four wait for that, and one is still coming.
	streamsPerPlace = waitersPerPlace + 2
	// fairWait is how many of a connection's requests may wait for their own client
	// without it being ended to make room.
	fairWait = 1
	// hurryTime is how long a stream may take that carries a refusal.
	hurryTime = 2 * time.Second
)

// stream is the reply to a request of HTTP/2.
type stream struct {
	http.ResponseWriter
	front *Front
	conn  *conn
	place *place // nil: not through the gate
	wrote bool
}

// begin counts a request of HTTP/2; end is called when it has been answered. Where
// there are too many, the connection ends whose client keeps most of them waiting. If
// none does, this one is taken back without a word, since words wait for the client.
func (f *Front) begin(w http.ResponseWriter, c *conn) *stream {
	n := f.gate.streams.Add(1)
	if most := int64(cap(f.gate.places)) * streamsPerPlace; most > 0 && n > most && !f.relieve() {
		f.gate.shed.Add(1)
		f.gate.streams.Add(-1)
		panic(http.ErrAbortHandler)
	}
	// An error means that the stream has ended.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(f.cfg.WriteTimeout))
	return &stream{ResponseWriter: w, front: f, conn: c}
}

// end is called once. A request that was taken back meanwhile has earned nothing, and
// those who do little else are sent away.
func (s *stream) end(r *http.Request) {
	s.front.gate.streams.Add(-1)
	switch {
	case r.Context().Err() == nil:
		s.conn.allowance.earn(h2PerRequest)
	case !s.conn.allowance.spend(h2PerReset) && !s.conn.gone.Load():
		s.front.gate.shed.Add(1)
		s.conn.end()
	}
}

// finish sends what net/http has yet to send, unless this is the only such request
// of its connection since that was idle: what is left then is at most 4 KB for a
// connection, and goes out in one frame with the reply's end.
func (s *stream) finish() {
	if s.wrote && s.conn.tails.Add(1) > 1 && s.FlushError() == nil {
		s.conn.tails.Add(-1)
	}
}

// relieve ends the connection whose client keeps most requests of HTTP/2 waiting, and
// reports whether there was one.
func (f *Front) relieve() bool {
	c, n := f.table.laziest()
	if n <= fairWait {
		return false
	}
	c.awaited.Store(math.MinInt32 / 2) // once is enough
	c.end()
	f.gate.shed.Add(1)
	return true
}

// Write sends a part of the reply, as loan does.
func (s *stream) Write(p []byte) (int, error) {
	s.wrote = true
	defer s.sending()()
	return s.ResponseWriter.Write(p)
}

// FlushError sends what has been written.
func (s *stream) FlushError() error {
	defer s.sending()()
	return http.NewResponseController(s.ResponseWriter).Flush()
}

func (s *stream) sending() (done func()) {
	sent := s.place.sending(http.NewResponseController(s.ResponseWriter).SetWriteDeadline, s.front.cfg.WriteTimeout)
	s.conn.awaited.Add(1)
	return func() {
		s.conn.awaited.Add(-1)
		sent()
	}
}

// Unwrap is for http.ResponseController.
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// hurry bounds how long a short reply may take, if it has a stream to itself.
func hurry(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 {
		// An error means that the stream has ended.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(hurryTime))
	}
}
