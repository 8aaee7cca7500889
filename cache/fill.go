package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// retryAfterFailure is how long a failed upstream is left alone for a key whose
// stored reply may be served meanwhile.
const retryAfterFailure = time.Second

// smallBody is a body that fits the window of a spool whole, so that its fetch
// ends no matter how slowly clients read.
const smallBody = (windowChunks - 1) * largestChunk

// run is a flight from take-off to landing.
func (f *flight) run(ctx context.Context) {
	defer f.finish()
	c := f.c
	free, err := c.acquireSlot(ctx, c.fetchSlots, f.background)
	if err != nil {
		f.publish(flightOutcome{err: err}, false)
		return
	}
	defer func() { free() }()

	limit := time.AfterFunc(c.cfg.FillTimeout, func() { f.cancel(context.DeadlineExceeded) })
	defer limit.Stop()

	resp, a, err := f.fetchUpstream(ctx)
	if err != nil {
		f.landFailed(ctx, err)
		return
	}
	defer func() { resp.Body.Close() }()

	if !f.reconcile(resp, a) {
		// What came is about something else than what is stored: ask again, plainly.
		resp.Body.Close()
		f.makeUnconditional()
		if resp, a, err = f.fetchUpstream(ctx); err != nil {
			resp = &http.Response{Body: http.NoBody}
			f.landFailed(ctx, err)
			return
		}
	}
	if f.landed {
		return
	}
	f.landReply(ctx, resp, a, limit, &free)
}

// fetchUpstream asks upstream once and checks what comes back.
func (f *flight) fetchUpstream(ctx context.Context) (*http.Response, fetchFacts, error) {
	c := f.c
	switch {
	case !f.unconditional:
	case f.stale != nil:
		if etag := f.stale.Field("Etag"); validETag(etag) {
			f.req.Header.Set("If-None-Match", etag)
		}
		if at := f.stale.Field("Last-Modified"); at != "" {
			f.req.Header.Set("If-Modified-Since", at)
		}
	case f.part != nil:
		f.requestMissing()
	case f.candidates != nil:
		f.offerVariants()
	}
	a := fetchFacts{
		method: f.req.Method, ranged: f.ranged, authorized: len(f.req.Header["Authorization"]) > 0,
		sentAt: c.cfg.Now(), trustClock: c.cfg.ClockTrusted(), keepSetCookie: c.cfg.KeepSetCookie,
		noStore: c.cfg.ClientDirectives && hasMember(f.req.Header["Cache-Control"], "no-store"),
	}
	c.counters.fills.Add(1)
	resp, err := f.sendRequest(ctx)
	a.receivedAt = c.cfg.Now()
	if err == nil {
		if err = checkReply(resp); err == nil && resp.StatusCode == http.StatusNotModified && !isConditional(f.req) {
			err = fmt.Errorf("%w: 304 to a request without a condition", ErrBadReply)
		}
		if err != nil && resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
	}
	if err != nil {
		c.counters.fillErrors.Add(1)
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, a, fmt.Errorf("%w: %s %s: %w", ErrUpstream, f.req.Method, f.id.key, err)
	}
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	dropHopByHop(resp.Header)
	if _, has := resp.Header["Date"]; !has {
		// RFC 9110 §6.6.1: who receives a reply without Date dates it.
		resp.Header.Set("Date", a.receivedAt.UTC().Format(http.TimeFormat))
	}
	return resp, a, nil
}

// sendRequest sends the request upstream. Interim replies reach the leader.
func (f *flight) sendRequest(ctx context.Context) (*http.Response, error) {
	if !f.background {
		ctx = f.traceInterim(ctx)
	}
	return f.route.Upstream.Fetch(ctx, f.req.WithContext(ctx))
}

// failureStatus lists the replies that count as upstream's failure (RFC 5861 §4).
func failureStatus(status int) bool {
	return status == 500 || status >= 502 && status <= 504
}

// landFailed lands a flight whose fetch failed: on the stored reply if it may be used.
func (f *flight) landFailed(ctx context.Context, err error) {
	if f.stale != nil && f.landStale(0) {
		f.c.cfg.Logger.Debug("cache: upstream failed, serving stale", "url", f.id.key, "error", err)
		return
	}
	if f.retry {
		f.c.failures.note(retryMark+f.id.key, f.c.Now()+retryAfterFailure)
	}
	if errors.Is(context.Cause(ctx), ErrClosed) {
		err = ErrClosed
	}
	f.publish(flightOutcome{err: err}, false)
}

func (f *flight) landStale(status int) bool {
	c := f.c
	now := c.Now()
	if !f.stale.mayServeOnError(now, c.cfg.StaleOnError) && !f.stale.mayServeWhile(now) {
		return false
	}
	c.failures.note(f.id.key, now+retryAfterFailure)
	f.publish(flightOutcome{object: f.stale, stale: true, shared: true, status: status}, false)
	return true
}

// landReply lands a flight whose reply is new, and brings its body in.
func (f *flight) landReply(ctx context.Context, resp *http.Response, a fetchFacts, limit *time.Timer, free *func()) {
	c := f.c
	out := flightOutcome{status: resp.StatusCode, header: resp.Header, length: -1}
	body := statusHasBody(resp.StatusCode) && a.method != http.MethodHead
	switch {
	case !body:
		out.length = 0
	case resp.ContentLength >= 0:
		out.length = resp.ContentLength
	}

	v := judgeReply(a, resp.StatusCode, resp.Header)
	f.split = v.mayStore && f.prepareSplit(resp.StatusCode, resp.Header, out.length)
	names, _ := varyNames(resp.Header["Vary"])
	sel, ok := variantKeyFor(names, f.req)
	if resp.StatusCode == http.StatusPartialContent && f.ranged {
		sel = withRange(sel, f.req.Header.Get("Range"))
		part, _, known := parseContentRange(resp.Header["Content-Range"])
		v.mayStore = v.mayStore && known && out.length <= part.length
	}
	if !ok || len(f.id.key) > maxKey {
		v.mayStore, v.mayShare = false, false
	}
	out.head = newObject(f.id.key, sel, resp.StatusCode, resp.Header, v, c.Now())
	if f.split {
		out.head.flags |= flagSplit
	}
	out.shared = v.mayShare
	f.noteShareability(v, resp.StatusCode)

	var held int64 // bytes set aside for the body
	defer func() { c.fillBytes.Add(-held) }()
	store := v.mayStore
	if store && out.length > c.cfg.MaxObject {
		c.counters.rejected.Add(1)
		c.unshared.note(f.markKey(), c.Now()+c.cfg.UnsharedFor)
		store = false
	}
	if store && f.route.MayStore != nil {
		store = f.route.MayStore(f.id.key)
	}
	if store {
		if held = max(out.length, 0); !c.reserveBytes(held) {
			held, store = 0, false
		}
	}
	if !store {
		f.spool.startSliding()
		if out.length < 0 || out.length > smallBody {
			// It may take as long as its slowest reader: do not hold a place
			// that small pages wait for.
			next, err := c.acquireSlot(ctx, c.streamSlots, false)
			if err != nil {
				f.publish(flightOutcome{err: err}, false)
				return
			}
			(*free)()
			*free = next
			limit.Reset(c.cfg.StreamLimit)
		}
	}
	if out.length > 0 && (store || out.length <= smallBody) {
		f.spool.expectLength(out.length)
	}

	if store = f.publish(out, store); !store && held > 0 {
		// Purged at the last moment: the chunk is there already, and the
		// clients that wait read it out.
		f.spool.startSliding()
	}
	err := f.readBody(ctx, resp.Body, out.length, store, &held, limit)
	var kept *Object
	if err == nil && f.isStoring() {
		kept = f.storeReply(out)
	}
	f.spool.finish(err)
	if kept == nil {
		return
	}
	if f.split {
		f.storeSplit(kept) // the clients have their page already
	}
	if f.route.Replicate && c.cfg.OnStore != nil {
		c.cfg.OnStore(kept)
	}
}

// readBody reads the body into the spool. length is what was announced, -1 if
// nothing was; a body that is shorter or longer is an error. The end of a body of
// announced length that is to be stored is shown when the spool is finished.
func (f *flight) readBody(ctx context.Context, body io.Reader, length int64, store bool, held *int64, limit *time.Timer) error {
	c := f.c
	var n int64
	for length < 0 || n < length {
		if need := f.spool.bytesNeeded(); store && length < 0 && need > 0 {
			if n >= c.cfg.MaxObject || !c.reserveBytes(need) {
				c.counters.rejected.Add(1)
				c.unshared.note(f.markKey(), c.Now()+c.cfg.UnsharedFor)
				store = false
				f.stopStoring()
				limit.Reset(c.cfg.StreamLimit)
			} else {
				*held += need
			}
		}
		buf, err := f.spool.nextBuffer(ctx)
		if err != nil {
			return err
		}
		if length >= 0 {
			buf = buf[:min(int64(len(buf)), length-n)]
		}
		got, err := body.Read(buf)
		if got > 0 {
			n += int64(got)
			f.spool.noteWritten(got, store && n == length)
		}
		switch {
		case err == io.EOF && length >= 0 && n < length:
			return fmt.Errorf("%w: %s: body ended after %d of %d bytes", ErrUpstream, f.id.key, n, length)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%w: %s: reading the body: %w", ErrUpstream, f.id.key, err)
		}
	}
	return endOf(body, f.id.key)
}

// endOf makes sure that a body ends where it was said to.
func endOf(body io.Reader, key string) error {
	var one [1]byte
	for range 16 { // a Read may give nothing and no error
		n, err := body.Read(one[:])
		switch {
		case n > 0:
			return fmt.Errorf("%w: %s: body is longer than announced", ErrUpstream, key)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%w: %s: reading the body: %w", ErrUpstream, key, err)
		}
	}
	return io.ErrNoProgress
}

func (f *flight) isStoring() bool {
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return f.storing
}

// storeReply stores the reply with the body that came, and gives what other boards may
// have of it, nil if nothing.
func (f *flight) storeReply(out flightOutcome) *Object {
	c := f.c
	o := out.head.withBody(f.spool.storedBody())
	if o.size > c.cfg.MaxObject {
		c.counters.rejected.Add(1)
		f.stopStoring()
		return nil
	}
	c.failures.forget(f.id.key)
	if out.status == http.StatusPartialContent {
		if o = f.joinStored(o); o == nil {
			f.stopStoring()
			return nil
		}
	}
	if f.commit(o) != nil || isPartsKey(o.key) {
		return nil
	}
	return o
}

// noteShareability notes whether replies for this key can be shared, for the next crowd.
func (f *flight) noteShareability(v storability, status int) {
	c := f.c
	switch {
	case v.mayShare:
		c.unshared.forget(f.markKey())
	case (!f.unconditional || f.ranged) && (status == 206 || status == 304 || status == 412 || status == 416):
		// An answer to the client's own condition or range says nothing.
	case !failureStatus(status):
		until := c.Now() + c.cfg.UnsharedFor
		c.unshared.note(f.markKey(), until)
		if !v.mayStore {
			c.unshared.note(aloneMark+f.markKey(), until)
		}
	}
}

// acquireSlot takes one of a bounded number of places, within FillWait.
func (c *Cache) acquireSlot(ctx context.Context, places chan struct{}, now bool) (free func(), err error) {
	free = func() { <-places }
	select {
	case places <- struct{}{}:
		return free, nil
	default:
	}
	if now {
		return nil, ErrBusy
	}
	timer := time.NewTimer(c.cfg.FillWait)
	defer timer.Stop()
	select {
	case places <- struct{}{}:
		return free, nil
	case <-timer.C:
		return nil, ErrBusy
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// reserveBytes sets bytes aside for a body on its way in.
func (c *Cache) reserveBytes(n int64) bool {
	if c.fillBytes.Add(n) > c.cfg.Budget/fillPart {
		c.fillBytes.Add(-n)
		return false
	}
	return true
}
