package cache

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// The body of a flight, from upstream into the spool and the store. An eighth of the
// budget is reserved for bodies on their way in.

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

// noteTooLarge counts a reply that only its size keeps from being stored. The next
// requests for it are fetched side by side at once.
func (f *flight) noteTooLarge() {
	f.c.counters.rejected.Add(1)
	f.c.unshared.note(unsharedKey(notShareable, f.id.url, f.req), f.c.Now()+f.c.cfg.UnsharedFor)
}

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

// readBody reads the body into the spool. length is the announced length, -1 if there
// is none; a body that is shorter or longer is an error. If a body of announced
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
// have arrived. It returns false if the body is too large to be stored.
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

// isStoring reports whether the body will still be stored.
func (f *flight) isStoring() bool {
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return f.storing
}

// stopStoring stops storing the body; the readers that are attached get the rest.
func (f *flight) stopStoring() {
	fl := &f.c.flights
	fl.mu.Lock()
	defer fl.mu.Unlock()
	f.storing = false
	f.closeToJoiners()
	f.spool.startSliding()
	if f.spool.hasNoReaders() {
		f.cancel(context.Canceled)
	}
}

// store stores the reply with the body that has arrived. It returns the object for
// other boards, nil if there is none.
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
