package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"bramble/cache/fairshare"
)

// A flight is one upstream fetch (the call of a singleflight): its request, the
// outcome of its reply, and the spool that the body runs through. Requests for
// the same page join it (flights.go) instead of going upstream again. Whether its
// reply may answer them is decided when the reply's fields have arrived, never
// before. This file follows a flight from run to its end; its body is in
// flightbody.go.

// fetchPlan describes a fetch before it starts.
type fetchPlan struct {
	id     flightID
	route  Route
	client *http.Request // the request that causes the fetch
	// dropClientConditions: the client's own conditions and ranges are not sent
	// upstream, because the reply may be stored and shared.
	dropClientConditions bool
	ranged               bool      // but the client's range is sent
	revalidates          *Object   // a stored reply, fresh or stale, that a 304 would confirm
	candidates           []*Object // stored variants that do not match, one of which a 304 may choose
	part                 *Object   // a stored part, of which the rest is requested
	background           bool      // no client waits, so it does not wait for a permit either
	retry                bool      // an earlier flight for the same clients failed
}

type flight struct {
	fetchPlan
	c        *Cache
	req      *http.Request // the request to upstream; the flight's own copy
	cancel   context.CancelCauseFunc
	spool    *spool
	interims chan interim // for the client that started the flight

	// Used by run's goroutine only.
	permit   *fairshare.Permits // of which the flight holds a permit
	limit    *time.Timer        // cancels the fetch
	reserved int64              // bytes of Cache.incomingBytes that it holds
	split    bool               // the reply is stored in two variants, see storeSplit

	ready   chan struct{} // closed when outcome is set
	outcome flightOutcome

	// Guarded by flights.mu.
	marks     purgeMarks
	storing   bool
	published bool // outcome is set
}

// flightOutcome is the result of a flight as soon as the reply's fields have arrived.
type flightOutcome struct {
	err error
	// object is a complete stored reply that answers the request: confirmed by
	// upstream, or stale and allowed. Otherwise the rest describes the reply
	// whose body comes through the spool.
	object *Object
	stale  bool // object is served because upstream failed
	// cookies came with upstream's confirmation, for the client that started the flight only.
	cookies []string
	// shared: it may answer every request in the flight that matches its variant.
	shared bool
	status int         // upstream's
	header http.Header // all end-to-end fields, for the client that caused them
	head   *Object     // the reply as stored, without its body
	length int64       // of the body, -1 if unknown
	stored bool        // it is going into the store
}

// reply is the reply, with or without its body.
func (out *flightOutcome) reply() *Object {
	if out.object != nil {
		return out.object
	}
	return out.head
}

// run carries out a flight: it waits for a permit, fetches, reconciles the reply with
// what is stored (validate.go), and finishes with it.
func (f *flight) run(ctx context.Context) {
	defer f.deregister()
	if err := f.acquirePermit(ctx, f.c.fetchPermits); err != nil {
		f.publish(flightOutcome{err: err}, false)
		return
	}
	defer func() { f.permit.Release(f.req.URL.Host) }()
	f.limit = time.AfterFunc(f.c.cfg.FetchTimeout, func() { f.cancel(context.DeadlineExceeded) })
	defer f.limit.Stop()

	resp, facts, err := f.fetch(ctx)
	if err != nil {
		f.finishWithError(ctx, err)
		return
	}
	defer func() { resp.Body.Close() }()

	if !f.reconcile(resp, facts) {
		// The reply does not fit what is stored: fetch again, without conditions.
		resp.Body.Close()
		f.dropConditions()
		if resp, facts, err = f.fetch(ctx); err != nil {
			resp = &http.Response{Body: http.NoBody}
			f.finishWithError(ctx, err)
			return
		}
	}
	if !f.published {
		f.finishWithReply(ctx, resp, facts)
	}
}

// acquirePermit waits for one of its site's permits, for at most FetchWait, and releases
// the one that the flight holds. A background flight does not wait.
func (f *flight) acquirePermit(ctx context.Context, permits *fairshare.Permits) error {
	if !permits.TryAcquire(f.req.URL.Host) {
		if f.background && f.permit == nil {
			return ErrBusy
		}
		ctx, cancel := context.WithTimeoutCause(ctx, f.c.cfg.FetchWait, ErrBusy)
		defer cancel()
		if err := permits.Acquire(ctx, f.req.URL.Host, false); errors.Is(err, fairshare.ErrFull) {
			return ErrBusy
		} else if err != nil {
			return err
		}
	}
	if f.permit != nil {
		f.permit.Release(f.req.URL.Host)
	}
	f.permit = permits
	return nil
}

// fetch sends the request upstream once and checks the reply.
func (f *flight) fetch(ctx context.Context) (*http.Response, fetchFacts, error) {
	c := f.c
	f.setConditions()
	facts := fetchFacts{
		method: f.req.Method, ranged: f.ranged, authorized: len(f.req.Header["Authorization"]) > 0,
		sentAt: c.cfg.Now(), trustClock: c.cfg.ClockTrusted(), keepSetCookie: c.cfg.KeepSetCookie,
		noStore: c.cfg.ClientDirectives && hasListMember(f.req.Header["Cache-Control"], "no-store"),
	}
	c.counters.fetches.Add(1)
	tracedCtx := ctx
	if !f.background {
		tracedCtx = f.traceInterim(ctx) // they reach the client that started the flight
	}
	resp, err := sendUpstream(tracedCtx, f.route.Upstream, f.req, f.part != nil)
	facts.receivedAt = c.cfg.Now()
	if err != nil {
		c.counters.fetchErrors.Add(1)
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, facts, fmt.Errorf("%w: %s %s: %w", ErrUpstream, f.req.Method, f.id.url, err)
	}
	dropHopByHop(resp.Header)
	if _, has := resp.Header["Date"]; !has {
		// RFC 9110 §6.6.1: a recipient dates a reply that has no Date.
		resp.Header.Set("Date", facts.receivedAt.UTC().Format(http.TimeFormat))
	}
	return resp, facts, nil
}

// setConditions adds conditions to the request, so that upstream can answer with a
// reference to what is stored.
func (f *flight) setConditions() {
	switch {
	case !f.dropClientConditions:
	case f.revalidates != nil:
		if etag := f.revalidates.Field("Etag"); validETag(etag) {
			f.req.Header.Set("If-None-Match", etag)
		}
		if at := f.revalidates.Field("Last-Modified"); at != "" {
			f.req.Header.Set("If-Modified-Since", at)
		}
	case f.part != nil:
		f.requestMissing()
	case f.candidates != nil:
		f.offerVariants()
	}
}

// smallBody is the largest body that fits the window of a spool, so that its fetch ends
// however slowly clients read.
const smallBody = (windowChunks - 1) * largestChunk

// finishWithReply ends a flight with a new reply: it decides whether the reply may be
// shared and stored, publishes that to the requests that wait, reads the body into
// the spool, and stores it.
func (f *flight) finishWithReply(ctx context.Context, resp *http.Response, facts fetchFacts) {
	out, mayStore := f.judge(resp, facts)
	defer f.releaseReserved()
	store := mayStore && f.admits(out.length)
	if !store {
		f.spool.startSliding()
		if out.length < 0 || out.length > smallBody {
			// It may take as long as its slowest reader: it must not hold a permit
			// that small pages wait for.
			if err := f.acquirePermit(ctx, f.c.streamPermits); err != nil {
				f.publish(flightOutcome{err: err}, false)
				return
			}
			f.limit.Reset(f.c.cfg.StreamLimit)
		}
	}
	if out.length > 0 && (store || out.length <= smallBody) {
		f.spool.expectLength(out.length)
	}
	if store = f.publish(out, store); !store && f.reserved > 0 {
		// Purged at the last moment: the chunk is there already, and the clients
		// that wait read it.
		f.spool.startSliding()
	}
	err := f.readBody(ctx, resp.Body, out.length, store)
	var stored *Object
	if err == nil && f.isStoring() {
		stored = f.store(out)
	}
	f.spool.finish(err)
	if stored == nil {
		return
	}
	if f.split {
		f.storeSplit(stored) // the clients have their page already
	}
	if f.route.Replicate && f.c.cfg.OnStore != nil {
		f.c.cfg.OnStore(stored)
	}
}

// judge describes a new reply and decides whether it may be shared and stored.
func (f *flight) judge(resp *http.Response, facts fetchFacts) (out flightOutcome, mayStore bool) {
	out = flightOutcome{status: resp.StatusCode, header: resp.Header, length: -1}
	switch {
	case !statusHasBody(resp.StatusCode) || facts.method == http.MethodHead:
		out.length = 0
	case resp.ContentLength >= 0:
		out.length = resp.ContentLength
	}
	judged := judgeReply(facts, resp.StatusCode, resp.Header)
	f.split = judged.mayStore && f.prepareSplit(resp.StatusCode, resp.Header, out.length)
	names, _ := varyNames(resp.Header["Vary"])
	variant, ok := variantKeyFor(names, f.req)
	if resp.StatusCode == http.StatusPartialContent && f.ranged {
		variant = withRange(variant, f.req.Header.Get("Range"))
		part, _, known := parseContentRange(resp.Header["Content-Range"])
		judged.mayStore = judged.mayStore && known && out.length <= part.length
	}
	if !ok || len(f.id.url) > maxKey {
		judged.mayStore, judged.mayShare = false, false
	}
	out.head = newObject(f.id.url, variant, resp.StatusCode, resp.Header, judged, f.c.Now())
	if f.split {
		out.head.flags |= flagSplit
	}
	out.shared = judged.mayShare
	f.noteShareability(judged, resp.StatusCode)
	return out, judged.mayStore
}

// noteShareability notes for the next crowd whether replies to such requests can
// be shared.
func (f *flight) noteShareability(judged storability, status int) {
	c := f.c
	switch {
	case judged.mayShare:
		c.unshared.remove(unsharedKey(notShareable, f.id.url, f.req))
	case (!f.dropClientConditions || f.ranged) && (status == 206 || status == 304 || status == 412 || status == 416):
		// A reply to the client's own condition or range does not concern the page.
	case !isFailureStatus(status):
		until := c.Now() + c.cfg.UnsharedFor
		c.unshared.note(unsharedKey(notShareable, f.id.url, f.req), until)
		if !judged.mayStore {
			c.unshared.note(unsharedKey(notStorable, f.id.url, f.req), until)
		}
	}
}

// publish shows the outcome to the requests that wait. store states whether the body
// should be stored; publish returns false instead if a purge has ruled that out.
func (f *flight) publish(out flightOutcome, store bool) bool {
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if out.head != nil {
		if f.marks.applyTagPurges(out.head); f.marks.purged {
			store = false
		}
	}
	out.stored = store
	f.storing, f.published, f.outcome = store, true, out
	if !store {
		f.closeToJoiners()
		if f.spool.hasNoReaders() {
			f.cancel(context.Canceled)
		}
	}
	close(f.ready)
	return store
}

// commit puts an object into the store unless it was purged meanwhile.
func (f *flight) commit(o *Object) error {
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	defer f.closeToJoiners()
	f.storing = false
	return f.c.commitLocked(o, &f.marks)
}

// isFailureStatus reports whether a reply counts as upstream's failure (RFC 5861 §4).
func isFailureStatus(status int) bool {
	return status == 500 || status >= 502 && status <= 504
}

// retryAfterFailure is the time for which no request for a key goes to an upstream that
// failed, if the stored reply may be served meanwhile.
const retryAfterFailure = time.Second

// finishWithError ends a flight whose fetch failed: with the stored reply if that may
// be served, otherwise with the error.
func (f *flight) finishWithError(ctx context.Context, err error) {
	if f.revalidates != nil && f.finishWithStale(0) {
		f.c.cfg.Logger.Debug("cache: upstream failed, serving stale", "url", f.id.url, "error", err)
		return
	}
	if f.retry {
		f.c.failures.note(failedTwiceKey(f.id.url), f.c.Now()+retryAfterFailure)
	}
	if errors.Is(context.Cause(ctx), ErrClosed) {
		err = ErrClosed
	}
	f.publish(flightOutcome{err: err}, false)
}

// finishWithStale ends a flight with the stored reply, if that may be served although
// upstream failed.
func (f *flight) finishWithStale(status int) bool {
	c := f.c
	now := c.Now()
	if !f.revalidates.mayServeOnError(now, c.cfg.StaleOnError) && !f.revalidates.mayServeWhile(now) {
		return false
	}
	c.failures.note(failedKey(f.id.url), now+retryAfterFailure)
	f.publish(flightOutcome{object: f.revalidates, stale: true, shared: true, status: status}, false)
	return true
}
