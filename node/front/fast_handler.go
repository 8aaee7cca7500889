package front

import (
	"time"

	"bramble/node/front/http1"
)

// FastHandler answers plain requests from memory. It leaves any request that needs more
// than memory, or whose reply is not certain, to Config.Handler.
type FastHandler interface {
	// Now reads a monotonic clock that never reads 0.
	Now() time.Duration
	// AppendHit appends to dst the head of the reply that Config.Handler would send through
	// net/http, from the status line of HTTP/1.1 to the last field that is not about the
	// connection, and returns the parts of the body that follow the empty line; they must
	// never change. A reply with a body, and one to HEAD, has a Content-Length. If ok is
	// false, the request is Config.Handler's. It must not block, and is called concurrently.
	// It may leave q.Validity nil.
	AppendHit(dst []byte, q *FastRequest) (head []byte, body [][]byte, ok bool)
}

// FastRequest is a request that a FastHandler may answer: a GET or HEAD without a body
// and without a field that may change the reply and is not among these. Its bytes lie in
// the connection's buffer: they must not be modified, or used after the call.
type FastRequest struct {
	http1.Request
	// WantValidity asks the handler to store in Validity what validates this reply later. A
	// value that Validity already has belonged to another reply; the handler may use its
	// memory again.
	WantValidity bool
	Validity     ReplyValidity
}

// ReplyValidity validates a reply of FastHandler.AppendHit that has been memoised.
type ReplyValidity interface {
	// StillValid reports whether AppendHit would now append the same head and return the
	// same body for the same request; if so it counts n hits. at is a clock reading like
	// Fields.At. It must not block.
	StillValid(at time.Duration, n int) bool
}
