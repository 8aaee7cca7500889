package front

import (
	"time"

	"bramble/node/front/http1"
)

// FastHandler answers plain requests from memory. Any request that needs more than
// memory, or whose answer is not certain, it leaves to Config.Handler.
type FastHandler interface {
	// Now is a clock that only goes forward and does not begin at 0.
	Now() time.Duration
	// AppendHit appends to dst the head of the reply that Config.Handler would send through
	// net/http, from the status line of HTTP/1.1 to the last field that is not about the
	// connection, and returns the parts of the body that follow the empty line; they must
	// never change. A reply with a body, and one to HEAD, has a Content-Length. If ok is
	// false, the request is Config.Handler's. It must not block, and many connections call
	// it at a time. It may leave q.Validity nil.
	AppendHit(dst []byte, q *FastRequest) (head []byte, body [][]byte, ok bool)
}

// FastRequest is a request that a FastHandler may answer: a GET or HEAD without a body
// and without a field that demands more than what stands here. Its bytes are the
// connection's buffer: they must only be read, and only during the call.
type FastRequest struct {
	http1.Request
	// WantValidity asks the handler to store in Validity what validates this reply later. A value
	// that Validity already has was stored for another request and is not needed any more: it
	// is room to be used again.
	WantValidity bool
	Validity     ReplyValidity
}

// ReplyValidity validates a reply of FastHandler.AppendHit that has been memoised.
type ReplyValidity interface {
	// StillValid reports whether AppendHit would now append the same head and return the
	// same body for the same request; if so it counts as n hits. at is what Fields.At would
	// be. It must not block.
	StillValid(at time.Duration, n int) bool
}
