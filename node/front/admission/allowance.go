package admission

import (
	"errors"
	"io"
	"sync/atomic"
)

// A frame of HTTP/2 that requests nothing (PING, SETTINGS, an empty DATA, a request that
// is reset at once) costs a board a hundred times what it costs its client, and net/http
// accepts them without end. So a client must earn what it may send (RFC 9113 §10.5): by
// requests that are answered, by their bodies, and by replies that it reads.

const (
	// Advance is what may arrive before anything is earned, in bytes: a hundred
	// requests under way of 2.6 KB each. A first Pi takes some four seconds for as many
	// bytes of empty SETTINGS, so it should not be more.
	Advance = 256 << 10
	// PerRequest is what an answered request earns, in bytes: its fields, and frames like
	// PRIORITY, WINDOW_UPDATE and PING.
	PerRequest = 16 << 10
	// PerReset is what a request costs that is reset before it is answered, in bytes besides
	// its own: to begin its answer takes a board as long as forty frames that request
	// nothing. A client may still leave a page with a hundred pictures while they arrive.
	PerReset = 1 << 10
	// perBodyByte is what each byte of a body earns, for frames that are not full.
	perBodyByte = 2
	// BytesPerEarned is the number of bytes read by a client that earn one byte: for each
	// 16 KB the client sends a request for more window of about 50 bytes.
	BytesPerEarned = 32
)

// ErrFlood ends a connection that sends more frames than its requests explain.
var ErrFlood = errors.New("more frames have arrived than the requests explain")

// Allowance is the number of bytes that an HTTP/2 connection may still send.
type Allowance struct{ spent, earned atomic.Int64 }

// Spend counts n bytes that have arrived; it reports false if they are too many.
func (a *Allowance) Spend(n int) bool {
	return a.spent.Add(int64(n)) <= Advance+a.earned.Load()
}

// Earn adds n bytes.
func (a *Allowance) Earn(n int) { a.earned.Add(int64(n)) }

// EarningBody returns a request's body whose bytes earn an allowance as they are read.
func (a *Allowance) EarningBody(body io.ReadCloser) io.ReadCloser { return earningBody{body, a} }

type earningBody struct {
	io.ReadCloser
	allowance *Allowance
}

func (e earningBody) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	e.allowance.Earn(perBodyByte * n)
	return n, err
}
