package cache

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
)

// maxInterim bounds the interim replies that one request passes on; the rest is
// dropped, as RFC 9110 §15.2 allows.
const maxInterim = 8

// maxInterimHead bounds the bytes of one interim reply's fields.
const maxInterimHead = 8 << 10

// interim is a reply with a 1xx status. It goes only to the client whose request
// caused the fetch, and is never stored.
type interim struct {
	status int
	header http.Header
}

// newInterim checks an interim reply from upstream. 100 concerns one connection only,
// and 101 cannot occur, because Upgrade is never requested.
func newInterim(status int, fields textproto.MIMEHeader) (interim, bool) {
	if status <= http.StatusSwitchingProtocols || status > 199 {
		return interim{}, false
	}
	h := http.Header(fields).Clone()
	if h == nil {
		h = http.Header{}
	}
	dropHopByHop(h)
	delete(h, "Content-Length")
	size, ok := fieldsSize(h)
	return interim{status, h}, ok && size <= maxInterimHead
}

// acceptsInterim reports whether a client may be sent interim replies: one that
// speaks HTTP/1.0 may not (RFC 9110 §15.2).
func acceptsInterim(r *http.Request) bool { return r.ProtoAtLeast(1, 1) }

// writeTo sends the interim reply, and restores the fields that are set for the final reply.
func (i interim) writeTo(w http.ResponseWriter) {
	h := w.Header()
	final := maps.Clone(h)
	clear(h)
	maps.Copy(h, i.header)
	w.WriteHeader(i.status)
	clear(h)
	maps.Copy(h, final)
}

// withInterim calls got with each interim reply to a fetch with this context, if its
// transport is that of net/http.
func withInterim(ctx context.Context, onInterim func(interim)) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(status int, fields textproto.MIMEHeader) error {
			if i, ok := newInterim(status, fields); ok {
				onInterim(i)
			}
			return nil
		},
	})
}

// traceInterim queues interim replies for the client that started the flight; those that
// do not fit are dropped.
func (f *flight) traceInterim(ctx context.Context) context.Context {
	return withInterim(ctx, func(i interim) {
		select {
		case f.interims <- i:
		default:
		}
	})
}

// awaitOutcome waits until the flight's outcome is known, and meanwhile writes interim
// replies to that client. It returns false if the client has gone.
func (l *lookup) awaitOutcome(j joinedFlight) bool {
	var interims <-chan interim
	if j.isStarter && acceptsInterim(l.r) {
		interims = j.flight.interims
	}
	sent, isReady := 0, false
	for !isReady || len(interims) > 0 {
		select {
		case i := <-interims:
			if sent++; sent <= maxInterim {
				i.writeTo(l.w)
			}
		case <-l.r.Context().Done():
			return false
		case <-j.flight.ready:
			isReady = true
		}
	}
	return true
}

// passInterim passes interim replies on to w as they come, on the transport's
// goroutine. Call stop before the final reply is written.
func passInterim(ctx context.Context, w http.ResponseWriter) (traced context.Context, stop func()) {
	var mu sync.Mutex
	sent, ended := 0, false
	traced = withInterim(ctx, func(i interim) {
		mu.Lock()
		defer mu.Unlock()
		if sent++; sent <= maxInterim && !ended {
			i.writeTo(w)
		}
	})
	return traced, func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
	}
}
