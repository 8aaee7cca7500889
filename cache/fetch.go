package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

// retryAfterFailure is the time for which a failed upstream is not asked for a key whose
// stored reply may be served meanwhile.
const retryAfterFailure = time.Second

// run is a flight from its start to its end: wait for a slot, fetch, reconcile
// the reply with what is stored, and land it.
func (f *flight) run(ctx context.Context) {
	defer f.deregister()
	if err := f.acquirePermit(ctx, f.c.fetchPermits); err != nil {
		f.publish(flightOutcome{err: err}, false)
		return
	}
	defer func() { f.permit.Release(1) }()
	f.limit = time.AfterFunc(f.c.cfg.FetchTimeout, func() { f.cancel(context.DeadlineExceeded) })
	defer f.limit.Stop()

	resp, facts, err := f.fetch(ctx)
	if err != nil {
		f.finishWithError(ctx, err)
		return
	}
	defer func() { resp.Body.Close() }()

	if !f.reconcile(resp, facts) {
		// The reply does not fit what is stored: fetch again,
		// without conditions.
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

// acquirePermit waits for one of a bounded number of slots, FillWait at most, and
// releases the flight's present one. A background flight does not wait.
func (f *flight) acquirePermit(ctx context.Context, permits *semaphore.Weighted) error {
	if !permits.TryAcquire(1) {
		if f.background && f.permit == nil {
			return ErrBusy
		}
		ctx, cancel := context.WithTimeoutCause(ctx, f.c.cfg.FetchWait, ErrBusy)
		defer cancel()
		if permits.Acquire(ctx, 1) != nil {
			return context.Cause(ctx)
		}
	}
	if f.permit != nil {
		f.permit.Release(1)
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
	resp, err := f.send(ctx)
	facts.receivedAt = c.cfg.Now()
	if err != nil {
		c.counters.fetchErrors.Add(1)
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, facts, fmt.Errorf("%w: %s %s: %w", ErrUpstream, f.req.Method, f.id.url, err)
	}
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	dropHopByHop(resp.Header)
	if _, has := resp.Header["Date"]; !has {
		// RFC 9110 §6.6.1: a recipient dates a reply that has no Date.
		resp.Header.Set("Date", facts.receivedAt.UTC().Format(http.TimeFormat))
	}
	return resp, facts, nil
}

// setConditions makes the request one that can be answered with reference to what
// is stored.
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

// send sends the request upstream and refuses a malformed reply. Interim replies
// reach the leader.
func (f *flight) send(ctx context.Context) (*http.Response, error) {
	if !f.background {
		ctx = f.traceInterim(ctx)
	}
	resp, err := f.route.Upstream.Fetch(ctx, f.req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	err = checkReply(resp)
	if err == nil && resp.StatusCode == http.StatusNotModified && !isConditional(f.req) {
		err = fmt.Errorf("%w: 304 to a request without a condition", ErrBadReply)
	}
	if err != nil {
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		return nil, err
	}
	return resp, nil
}

// failureStatus lists the replies that count as upstream's failure (RFC 5861 §4).
func failureStatus(status int) bool {
	return status == 500 || status >= 502 && status <= 504
}

// finishWithError lands a flight whose fetch failed: on the stored reply if that may
// be used.
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

// finishWithStale lands on the stored reply if it may be served although upstream failed.
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
