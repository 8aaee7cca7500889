package cache

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// smallBody is the largest body that fits the window of a spool, so that its fetch ends
// however slowly clients read.
const smallBody = (windowChunks - 1) * largestChunk

// finishWithReply lands a flight on a new reply: it judges what may be done with it,
// publishes that to the requests that wait, reads the body into the spool, and
// stores it.
func (f *flight) finishWithReply(ctx context.Context, resp *http.Response, facts fetchFacts) {
	out, mayStore := f.judge(resp, facts)
	defer f.releaseReserved()
	store := mayStore && f.admits(out.length)
	if !store {
		f.spool.startSliding()
		if out.length < 0 || out.length > smallBody {
			// It may take as long as its slowest reader: it must not hold a slot
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
		// A reply to the client's own condition or range says nothing about the page.
	case !failureStatus(status):
		until := c.Now() + c.cfg.UnsharedFor
		c.unshared.note(unsharedKey(notShareable, f.id.url, f.req), until)
		if !judged.mayStore {
			c.unshared.note(unsharedKey(notStorable, f.id.url, f.req), until)
		}
	}
}

// admits decides whether a reply that may be stored is stored here, and reserves
// the bytes of its body.
func (f *flight) admits(length int64) bool {
	c := f.c
	if length > c.cfg.MaxObject {
		f.noteTooLarge()
		return false
	}
	if f.route.MayStore != nil && !f.route.MayStore(f.id.url) {
		return false
	}
	return f.reserve(max(length, 0))
}

// noteTooLarge counts a reply that could be stored but for its size. The next
// requests for it are fetched side by side at once.
func (f *flight) noteTooLarge() {
	f.c.counters.rejected.Add(1)
	f.c.unshared.note(unsharedKey(notShareable, f.id.url, f.req), f.c.Now()+f.c.cfg.UnsharedFor)
}

// reserve sets bytes aside for the body.
func (f *flight) reserve(n int64) bool {
	if !f.c.reserveBytes(n) {
		return false
	}
	f.reserved += n
	return true
}

func (f *flight) releaseReserved() { f.c.incomingBytes.Add(-f.reserved) }

// reserveBytes sets bytes aside for a body on its way in.
func (c *Cache) reserveBytes(n int64) bool {
	if c.incomingBytes.Add(n) > c.cfg.Budget/incomingPart {
		c.incomingBytes.Add(-n)
		return false
	}
	return true
}

// readBody reads the body into the spool. length is what was announced, -1 if
// nothing was; a body that is shorter or longer is an error. If a body of announced
// length will be stored, readers see its end only when the spool is finished.
func (f *flight) readBody(ctx context.Context, body io.Reader, length int64, store bool) error {
	var n int64
	for length < 0 || n < length {
		if store && length < 0 && !f.reserveNext(n) {
			store = false
			f.stopStoring()
			f.limit.Reset(f.c.cfg.StreamLimit)
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
			return fmt.Errorf("%w: %s: body ended after %d of %d bytes", ErrUpstream, f.id.url, n, length)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%w: %s: reading the body: %w", ErrUpstream, f.id.url, err)
		}
	}
	return checkEnd(body, f.id.url)
}

// reserveNext reserves the next chunk of a body of unknown length, of which n bytes
// are in. It returns false if the body is too large to be stored.
func (f *flight) reserveNext(n int64) bool {
	need := f.spool.bytesNeeded()
	if need == 0 {
		return true
	}
	if n < f.c.cfg.MaxObject && f.reserve(need) {
		return true
	}
	f.noteTooLarge()
	return false
}

// checkEnd makes sure that a body ends where its length says.
func checkEnd(body io.Reader, key string) error {
	var one [1]byte
	for range 16 { // a Read may return nothing and no error
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

// store stores the reply with the body that came. It returns what other boards may
// have of it, nil if nothing.
func (f *flight) store(out flightOutcome) *Object {
	c := f.c
	o := out.head.withBody(f.spool.storedBody())
	if o.size > c.cfg.MaxObject {
		c.counters.rejected.Add(1)
		f.stopStoring()
		return nil
	}
	c.failures.remove(failedKey(f.id.url))
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
