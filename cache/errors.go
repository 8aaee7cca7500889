package cache

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
)

// Sentinel errors, to be matched with errors.Is. [Config.ErrorHandler] gets
// them, and the methods of this package return them.
var (
	// ErrBusy: no permit for a fetch came free within Config.FetchWait.
	ErrBusy = errors.New("cache: too many fetches are under way")
	// ErrOnlyIfCached: the client accepts a stored reply only, and none is stored
	// (RFC 9111 §5.2.1.7).
	ErrOnlyIfCached = errors.New("cache: the client accepts a stored reply only, and none is stored")
	// ErrBadReply: upstream sent a reply that cannot be passed on: a field
	// with a control character, lengths that contradict each other, more than
	// 64 KiB of fields, no final status, or a 304 or 206 that was not asked for.
	ErrBadReply = errors.New("cache: upstream sent a malformed reply")
	// ErrUpstream wraps the reason why an upstream fetch failed.
	ErrUpstream = errors.New("cache: upstream failed")
	// ErrClosed: the cache is closed.
	ErrClosed = errors.New("cache: closed")
	// ErrPurged: the object was purged before it was stored.
	ErrPurged = errors.New("cache: purged in the meantime")
	// ErrTooLarge: the object is larger than Config.MaxObject.
	ErrTooLarge = errors.New("cache: object too large")
	// ErrOlder: a younger copy is stored already.
	ErrOlder = errors.New("cache: a younger copy is stored")
	// ErrNotAdmitted: the stored objects are requested more often.
	ErrNotAdmitted = errors.New("cache: not admitted")
	// ErrWire: the bytes are not an object in wire form.
	ErrWire = errors.New("cache: not an object in wire form")
)

// isWorthRetry reports whether the request that caused the fetch may be to blame for its
// failure. After a timeout, another fetch would only add to the wait.
func isWorthRetry(err error) bool {
	return errors.Is(err, ErrUpstream) && !isTimeout(err)
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

func (l *lookup) writeError(err error) { l.c.writeError(l.w, l.r, l.fwdReason, err) }

func (c *Cache) writeError(w http.ResponseWriter, r *http.Request, fwdReason string, err error) {
	if errors.Is(r.Context().Err(), context.Canceled) {
		// The client has gone; a return would send it an empty 200.
		panic(http.ErrAbortHandler)
	}
	status := c.forwardStatus(fwdReason, 0).addWord("detail", "failed")
	if errors.Is(err, ErrOnlyIfCached) {
		status = c.newCacheStatus().addWord("detail", "only-if-cached")
	}
	c.signReply(w.Header(), status)
	c.cfg.ErrorHandler(w, r, err)
}

// noteCutReply logs that upstream broke off a reply that had begun: its client gets no error page.
func (c *Cache) noteCutReply(r *http.Request, err error) {
	if r.Context().Err() == nil && errors.Is(err, ErrUpstream) {
		c.cfg.Logger.Warn("a reply broke off after it had begun", "method", r.Method, "path", r.URL.Path, "error", err)
	}
}

// ErrorStatus returns the status for an error passed to Config.ErrorHandler: 503
// if no permit came free, 504 after a timeout or if the client accepts a stored reply
// only, otherwise 502.
func ErrorStatus(err error) int {
	switch {
	case errors.Is(err, ErrBusy), errors.Is(err, ErrClosed):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrOnlyIfCached), isTimeout(err):
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

func writePlainError(w http.ResponseWriter, r *http.Request, err error) {
	status := ErrorStatus(err)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		io.WriteString(w, http.StatusText(status)+"\n")
	}
}
