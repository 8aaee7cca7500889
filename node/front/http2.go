package front

import (
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"bramble/node/front/admission"
)

// A connection with HTTP/2 may have a hundred requests under way, so that a few of them
// could hold all permits of the gate, or all of the memory, by not opening the windows that
// the replies need (RFC 9113 §5.2). So requests are counted, not connections, and permits
// are released as for clients that have one connection for each request.

const (
	// fairlyAwaiting is the number of a connection's requests that may wait for their own
	// client before the connection may be ended to make room.
	fairlyAwaiting = 1
	// refusalStreamTimeout limits a stream that carries a refusal.
	refusalStreamTimeout = 2 * time.Second
)

// http2State is the part of a connection's state that HTTP/2 needs.
type http2State struct {
	isOpen           bool // the connection is counted as one that speaks HTTP/2
	allowance        admission.Allowance
	awaitingClient   atomic.Int32 // requests that wait for the client
	unflushedReplies atomic.Int32 // since the connection was last idle, whose end may not have been sent
}

type http2Reply struct {
	http.ResponseWriter
	front      *Front
	conn       *conn
	permit     *admission.Permit // nil: not through the gate
	hasWritten bool
}

// beginHTTP2 counts a request of HTTP/2; end must be called when it has been answered. If
// there are too many, it evicts the connection of the client that keeps most of them
// waiting. If no client does, it resets this request without a reply, since replies wait
// for the client.
func (f *Front) beginHTTP2(w http.ResponseWriter, c *conn) *http2Reply {
	if !f.gate.TryAcquireStream() {
		panic(http.ErrAbortHandler)
	}
	// An error means that the stream has ended.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(f.cfg.WriteTimeout))
	return &http2Reply{ResponseWriter: w, front: f, conn: c}
}

// end ends the count of a request, once. A request that its client has reset meanwhile
// earns nothing, and a client that does little else loses its connection.
func (r *http2Reply) end(request *http.Request) {
	r.front.gate.ReleaseStream()
	allowance := &r.conn.http2.allowance
	switch {
	case request.Context().Err() == nil:
		allowance.Earn(admission.PerRequest)
	case !allowance.Spend(admission.PerReset) && r.conn.currentState() != stateGone:
		r.front.gate.CountShed()
		r.conn.abort()
	}
}

// flushTail sends what net/http has buffered, unless this is the connection's only such
// reply since it was idle: then at most 4 KB are buffered per connection, and go out in
// one frame with the reply's end.
func (r *http2Reply) flushTail() {
	unflushed := &r.conn.http2.unflushedReplies
	if r.hasWritten && unflushed.Add(1) > 1 && r.FlushError() == nil {
		unflushed.Add(-1)
	}
}

// evictSlowestHTTP2 ends the connection whose client keeps most requests of HTTP/2
// waiting, and reports whether there was one.
func (f *Front) evictSlowestHTTP2() bool {
	c, n := f.conns.mostAwaiting()
	if n <= fairlyAwaiting {
		return false
	}
	c.http2.awaitingClient.Store(math.MinInt32 / 2) // it is evicted once
	c.abort()
	f.gate.CountShed()
	return true
}

// Write sends a part of the reply, as loan does.
func (r *http2Reply) Write(p []byte) (int, error) {
	r.hasWritten = true
	defer r.watchWrite()()
	return r.ResponseWriter.Write(p)
}

func (r *http2Reply) FlushError() error {
	defer r.watchWrite()()
	return http.NewResponseController(r.ResponseWriter).Flush()
}

func (r *http2Reply) watchWrite() (done func()) {
	written := r.permit.WatchWrite(http.NewResponseController(r.ResponseWriter).SetWriteDeadline, r.front.cfg.WriteTimeout)
	r.conn.http2.awaitingClient.Add(1)
	return func() {
		r.conn.http2.awaitingClient.Add(-1)
		written()
	}
}

// Unwrap is for http.ResponseController.
func (r *http2Reply) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// limitRefusal limits the time of a refusal on a stream of HTTP/2.
func limitRefusal(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 {
		// An error means that the stream has ended.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(refusalStreamTimeout))
	}
}

// withAllowance returns a request whose body earns its connection's allowance.
func (c *conn) withAllowance(r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	got := r.WithContext(r.Context())
	got.Body = c.http2.allowance.EarningBody(r.Body)
	return got
}
