package front

import "time"

// PlainRequest is a plain request as the lane has read it: a GET or HEAD without body
// and without a field that calls for more than what stands here. Its bytes are
// the connection's buffer: they are only read, and only during the call.
type PlainRequest struct {
	Host   []byte // exactly as it was sent, port included; never empty
	Target []byte // path and query exactly as they were sent; begins with one "/"
	// WantMemo asks who answers to put into Memo what it takes to answer just so again.
	// What is in Memo, if anything, is what it put there for another request, which
	// will not be answered by it any more: room to be used again.
	WantMemo bool
	Memo     ResponseMemo
	Fields
}

// ResponseMemo is what Hits.AppendHit leaves of an answer.
type ResponseMemo interface {
	// StillValid reports whether AppendHit would now append the same head and return the
	// same body for the same request. If so, that counts as so many answers. at is
	// what Fields.At would be. It must not block.
	StillValid(at time.Duration, times int) bool
}

// Fields are what a stored reply may depend on beside its key. They are those of
// cache.Plain, in its order, so that who answers converts a pointer and copies
// nothing: this runs for every hit.
type Fields struct {
	// At is a reading of Hits.Now since the request began to come: what was true
	// then may be said. 0: nobody has looked at the clock. On a first Pi that takes a
	// system call, so those that came together share it.
	At time.Duration
	// Key is room for whoever answers to put a key together: what is appended to
	// it may be stored in it again, so that the next request allocates nothing.
	Key []byte
	// Values of fields without the blanks around them; nil if the field is not there.
	Encoding   []byte // Accept-Encoding
	NoneMatch  []byte // If-None-Match
	Since      []byte // If-Modified-Since
	Directives bool   // there is a Cache-Control or Pragma
	Head       bool   // the method is HEAD, otherwise GET
}

// FastHandler answers plain requests from memory. Whatever needs more than memory, or
// is not certain, it leaves to Config.Handler.
type FastHandler interface {
	// Now is a clock that only goes forward and does not begin at 0.
	Now() time.Duration
	// AppendHit appends to dst the head of the reply that Config.Handler would
	// send by way of net/http, from the status line of HTTP/1.1 to the last field
	// that is not about the connection, and returns the parts of the body that
	// follow the empty line; they must never change. A reply with a body, and
	// one to HEAD, has a Content-Length. If ok is false, the request is
	// Config.Handler's. It must not block, and is called by many connections at
	// a time. It may leave Memo nil.
	AppendHit(dst []byte, q *PlainRequest) (head []byte, body [][]byte, ok bool)
}
