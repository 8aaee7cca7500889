package cache

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// reconcile applies a reply to what is stored. It may publish the flight's outcome, or
// complete a part. It returns false if the reply answers a condition or a range that does not
// fit what is stored.
func (f *flight) reconcile(resp *http.Response, facts fetchFacts) bool {
	switch {
	case resp.StatusCode == http.StatusNotModified && f.candidates != nil:
		return f.chooseVariant(resp) && f.refreshStored(resp, facts)
	case resp.StatusCode == http.StatusPartialContent && f.part != nil:
		return f.completePart(resp)
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && f.part != nil:
		return false
	case f.revalidates == nil:
	case resp.StatusCode == http.StatusNotModified && f.dropClientConditions:
		return f.refreshStored(resp, facts)
	case isFailureStatus(resp.StatusCode):
		f.finishWithStale(resp.StatusCode)
	case facts.method == http.MethodHead && resp.StatusCode == http.StatusOK:
		// RFC 9111 §4.3.5: HEAD can confirm or disprove what GET stored.
		if !sameBody(f.revalidates, resp) || !f.refreshStored(resp, facts) {
			f.dropStored(f.revalidates)
		}
	}
	return true
}

// dropConditions removes the conditions from the request that refer to stored objects.
func (f *flight) dropConditions() {
	f.revalidates, f.candidates, f.part = nil, nil, nil
	for _, name := range [...]string{"If-None-Match", "If-Modified-Since", "Range", "If-Range"} {
		delete(f.req.Header, name)
	}
}

// maxOffered bounds the entity tags of other variants in one request.
const maxOffered = 16

// offerVariants adds the tags of all variants to the request, so that upstream can choose
// one of them instead of sending it again (RFC 9111 §4.3.1).
func (f *flight) offerVariants() {
	var tags []string
	for _, o := range f.candidates {
		if etag := o.Field("Etag"); strongETag(etag) && len(tags) < maxOffered && !slices.Contains(tags, etag) {
			tags = append(tags, etag)
		}
	}
	if len(tags) == 0 {
		f.candidates = nil
		return
	}
	f.req.Header["If-None-Match"] = []string{strings.Join(tags, ", ")}
}

// chooseVariant finds the variant that a 304 confirms. The 304 must name it by a
// strong tag: some origins give a page and its compressed form tags that are weakly
// equal.
func (f *flight) chooseVariant(resp *http.Response) bool {
	etag := resp.Header.Get("Etag")
	for _, o := range f.candidates {
		if strongETag(etag) && etag == o.Field("Etag") {
			f.revalidates = o
			return true
		}
	}
	return false
}

// sameBody reports whether a reply to HEAD describes the stored body.
func sameBody(o *Object, resp *http.Response) bool {
	h := resp.Header
	if o.compressedHere() {
		return validETag(h.Get("Etag")) && weakEqual(h.Get("Etag"), o.Field("Etag"))
	}
	if etag := h.Get("Etag"); etag != o.Field("Etag") {
		return false
	}
	if at := h.Get("Last-Modified"); at != o.Field("Last-Modified") {
		return false
	}
	n, ok := parseLength(h.Get("Content-Length"))
	return !ok || n == o.size
}

// refreshStored ends a flight whose stored reply upstream has confirmed (RFC 9111
// §4.3.4). It returns false if the confirmation is about another reply.
func (f *flight) refreshStored(resp *http.Response, facts fetchFacts) bool {
	c, old := f.c, f.revalidates
	if !old.isConfirmedBy(resp.Header) {
		return false
	}
	// A cookie is for the client whose request it answers.
	cookies := resp.Header["Set-Cookie"]
	if !c.cfg.KeepSetCookie {
		delete(resp.Header, "Set-Cookie")
	}
	h := old.mergeFields(resp.Header)
	facts.method = http.MethodGet
	judged := judgeReply(facts, old.Status(), h)
	variant := old.variantKey
	if f.candidates != nil {
		// A variant that answers this request too: it is stored for both.
		names, _ := varyNames(h["Vary"])
		var ok bool
		if variant, ok = variantKeyFor(names, f.req); !ok {
			judged.mayStore, judged.mayShare = false, false
		}
	}
	o := newObject(f.id.url, variant, old.Status(), h, judged, c.Now())
	o.body, o.size = old.body, old.size
	o.flags |= old.flags & flagSplit
	c.counters.revalidated.Add(1)
	c.failures.remove(failedKey(f.id.url))
	if judged.mayStore {
		f.replaceStored(old, o)
	} else if !facts.authorized {
		f.dropStored(old)
	}
	f.publish(flightOutcome{object: o, cookies: cookies, shared: judged.mayShare && judged.mayStore, status: resp.StatusCode}, false)
	return true
}

// isConfirmedBy reports whether a confirmation with these fields can concern the object.
func (o *Object) isConfirmedBy(h http.Header) bool {
	etag, have := h.Get("Etag"), o.Field("Etag")
	return !strongETag(etag) || have == "" || have == etag || o.compressedHere() && weakEqual(have, etag)
}

// mergeFields returns the object's fields, updated from a confirmation (a 304; RFC 9111
// §3.2).
func (o *Object) mergeFields(confirmation http.Header) http.Header {
	h := o.toHeader()
	for name, lines := range confirmation {
		if !unchangedBy304(name) {
			h[name] = lines
		}
	}
	if _, has := confirmation["Age"]; !has {
		delete(h, "Age")
	}
	o.fixSplitFields(h)
	return h
}

// replaceStored stores a refreshed object: also on a route that stores no new replies,
// since this one is stored already.
func (f *flight) replaceStored(old, refreshed *Object) {
	err := f.commit(refreshed)
	switch {
	case errors.Is(err, ErrPurged):
		f.dropStored(old)
	case refreshed.variantKey != old.variantKey:
		also := refreshed.withBody(old.body)
		also.variantKey = old.variantKey
		_ = f.commit(also) // if it cannot be stored, the next request fetches it
	}
}

// dropStored drops an object of the flight's key from the store.
func (f *flight) dropStored(o *Object) {
	f.c.store.dropMatching(f.id.url, func(x *Object) bool { return x == o })
}
