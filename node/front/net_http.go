package front

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"

	"bramble/node/front/admission"
)

// newHTTPServer returns a net/http server, for connections with or without TLS.
func (f *Front) newHTTPServer() *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(f.serveHTTP),
		ReadHeaderTimeout: f.cfg.HeaderTimeout,
		ReadTimeout:       f.cfg.HeaderTimeout + f.cfg.WriteTimeout,
		WriteTimeout:      f.cfg.WriteTimeout,
		IdleTimeout:       f.cfg.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(f.cfg.Logger.Handler(), slog.LevelDebug),
		ConnState:         trackConnState,
		ConnContext:       connContext,
	}
}

// notLimitedKey is the context key of a connection whose requests its client's limits
// have not counted yet; those on loan have been counted.
type notLimitedKey struct{}

// admittedKey is the context key of a request that has a permit of the gate.
type admittedKey struct{}

// connContext records which checks a connection's requests have passed already.
func connContext(ctx context.Context, inner net.Conn) context.Context {
	c := (*conn)(nil)
	switch from := inner.(type) {
	case *handoff:
		c = from.conn
		ctx = context.WithValue(ctx, notLimitedKey{}, from)
	case *loan:
		c = from.conn
		ctx = context.WithValue(ctx, admittedKey{}, true)
	case *tls.Conn:
		if transport, ok := from.NetConn().(*tlsTransport); ok {
			c = transport.conn
			ctx = context.WithValue(ctx, notLimitedKey{}, &handoff{conn: c}) // only its conn is used
		}
	}
	if c != nil && c.tls != nil {
		ctx = context.WithValue(ctx, overTLSKey{}, c.tls)
	}
	return ctx
}

// serveHTTP answers every request that net/http reads.
func (f *Front) serveHTTP(w http.ResponseWriter, r *http.Request) {
	defer f.slowReplies.Add(1)
	from, _ := r.Context().Value(notLimitedKey{}).(*handoff)
	if r.ProtoMajor == 2 && from != nil {
		reply := f.beginHTTP2(w, from.conn)
		defer reply.end(r)
		w, r = reply, from.conn.withAllowance(r)
	}
	if from != nil && !f.limits.AllowRequest(from.conn.client) {
		refuseViaNetHTTP(w, r)
		return
	}
	if r.Context().Value(admittedKey{}) != nil {
		f.callHandler(w, r)
		return
	}
	if f.gate.ShouldShed(admission.KindOfMethod(r.Method), r.Host) {
		refuseViaNetHTTP(w, r)
		return
	}
	f.admitRequest(w, r, from)
}

// admitRequest receives a request's body, waits for a permit, and has it answered.
func (f *Front) admitRequest(w http.ResponseWriter, r *http.Request, from *handoff) {
	if mustCloseAfter(r) {
		w.Header().Set("Connection", "close")
	}
	if lacksLength(r) {
		refuseBody(w, r, errNoLength)
		return
	}
	got, isComplete, err := f.receiveBody(w, r, from)
	if err != nil {
		refuseBody(w, r, err)
		return
	}
	if !isComplete {
		if !f.gate.TryAcquireUpload() {
			refuseViaNetHTTP(w, r)
			return
		}
		defer f.gate.ReleaseUpload()
	}
	permit, _ := f.gate.Acquire(r.Context(), r.Host)
	if permit == nil {
		refuseViaNetHTTP(w, r)
		return
	}
	defer permit.Release()
	if from != nil {
		from.permit.Store(permit) // everything written there until the next permit is this reply
	}
	if r.ProtoMajor == 1 && f.gate.IsCrowded() {
		w.Header().Set("Connection", "close") // makes room for another
	}
	reply, isHTTP2 := w.(*http2Reply)
	if isHTTP2 {
		reply.permit = permit
	}
	f.callHandler(w, got)
	if isHTTP2 {
		reply.flushTail()
	}
}

// callHandler has Config.Handler answer a request.
func (f *Front) callHandler(w http.ResponseWriter, r *http.Request) {
	f.inFlight.Add(1)
	defer f.inFlight.Add(-1)
	if over, ok := r.Context().Value(overTLSKey{}).(*tlsState); ok {
		f.https.markTLS(w, r, over)
	}
	if f.isDraining.Load() {
		w.Header().Set("Connection", "close")
	}
	f.cfg.Handler.ServeHTTP(w, r)
}
