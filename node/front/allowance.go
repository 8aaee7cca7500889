package front

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// A frame of HTTP/2 that asks for nothing (PING, SETTINGS, an empty DATA, a request
// that is taken back at once) costs a board a hundred times what it costs its client,
// and net/http takes them without end. So what a client may send is earned by what it
// is for (RFC 9113 §10.5): requests that are answered, their bodies, and replies that
// it takes.

const (
	// http2Advance is what may come before anything is earned, in bytes: a hundred
	// requests under way of 2.6 KB each. A first Pi takes some four seconds for as
	// many bytes of empty SETTINGS, so that it should not be more.
	http2Advance = 256 << 10
	// http2PerRequest is what an answered request earns, in bytes: its fields, and what it
	// takes to ask for priority, more window, and whether the board is there.
	http2PerRequest = 16 << 10
	// http2PerReset is what a request costs that is taken back before it is answered, in
	// bytes beside its own: to begin with it takes a board as long as forty frames that
	// ask for nothing. A page with a hundred pictures may be left while they come.
	http2PerReset = 1 << 10
	// http2PerBody is what each byte of a body earns, for frames that are not full.
	http2PerBody = 2
	// http2TakenPerByte is how many bytes that a client takes earn one: it says for each 16 KB of
	// them that it wants more, in about 50 bytes.
	http2TakenPerByte = 32
)

// errFlood ends a connection that brings more than it is for.
var errFlood = errors.New("more frames have come than what was asked for explains")

// allowance is what a connection with HTTP/2 may still bring.
type allowance struct{ spent, earned atomic.Int64 }

// spend counts bytes that have come; it reports false if they are too many.
func (a *allowance) spend(n int) bool {
	return a.spent.Add(int64(n)) <= http2Advance+a.earned.Load()
}

func (a *allowance) earn(n int) { a.earned.Add(int64(n)) }

// earningBody is a request's body as it is taken in.
type earningBody struct {
	io.ReadCloser
	allowance *allowance
}

func (e earningBody) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	e.allowance.earn(http2PerBody * n)
	return n, err
}

// countBody is a request whose body counts for its connection.
func (c *conn) countBody(r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	got := r.WithContext(r.Context())
	got.Body = earningBody{r.Body, &c.allowance}
	return got
}
