package cache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
)

// passChunk is the size of the buffer through which a passed reply runs.
const passChunk = 16 << 10

// passThrough proxies a request in which the cache has no part: every method but GET
// and HEAD, and these if they have a body. Bodies stream both ways. An unsafe method
// that succeeds invalidates the stored objects (RFC 9111 §4.4).
func (c *Cache) passThrough(w http.ResponseWriter, r *http.Request, route Route) {
	fwdReason := fwdMethod
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		fwdReason = fwdBypass
	}
	guard := c.NewGuard(Key(r))
	defer guard.Release()
	sentAt := c.cfg.Now()
	resp, err := fetchForClient(w, r, route)
	if err != nil {
		c.counters.fetchErrors.Add(1)
		c.writeError(w, r, fwdReason, fmt.Errorf("%w: %s %s: %w", ErrUpstream, r.Method, Key(r), err))
		return
	}
	defer resp.Body.Close()
	dropHopByHop(resp.Header)
	post := c.newPostReply(r, resp, route, guard, sentAt)
	if post != nil {
		defer post.releaseBytes()
	}
	if !safeMethod(r.Method) && resp.StatusCode < 400 && !route.KeepStored {
		c.invalidateAfter(r, resp.Header, guard, post != nil)
	}
	var body io.Reader = resp.Body
	if n := min(resp.ContentLength, maxHeld); n > 0 && statusHasBody(resp.StatusCode) && r.Method != http.MethodHead {
		held := bufio.NewReaderSize(body, maxHeld)
		if _, err := held.Peek(int(n)); err != nil {
			c.counters.fetchErrors.Add(1)
			c.writeError(w, r, fwdReason, fmt.Errorf("%w: %s %s: %w", ErrUpstream, r.Method, Key(r), err))
			return
		}
		body = held
	}
	h := w.Header()
	for name, lines := range resp.Header {
		h[name] = lines
	}
	delete(h, "Content-Length")
	if resp.ContentLength >= 0 && statusHasBody(resp.StatusCode) {
		h["Content-Length"] = []string{strconv.FormatInt(resp.ContentLength, 10)}
	}
	c.signReply(h, c.forwardStatus(fwdReason, resp.StatusCode))
	w.WriteHeader(resp.StatusCode)
	if !statusHasBody(resp.StatusCode) || r.Method == http.MethodHead {
		return
	}
	if post != nil {
		body = post.teeBody(body)
	}
	if err := passBody(w, body, resp.ContentLength); err != nil {
		c.noteCutReply(r, err)
		panic(http.ErrAbortHandler)
	}
	if post != nil {
		post.storeReply(route)
	}
}

// fetchForClient sends a request upstream with its body and its conditions, and passes
// interim replies on to the client.
func fetchForClient(w http.ResponseWriter, r *http.Request, route Route) (*http.Response, error) {
	ctx := r.Context()
	if acceptsInterim(r) {
		var stop func()
		ctx, stop = passInterim(ctx, w)
		defer stop()
	}
	return sendUpstream(ctx, route.Upstream, upstreamRequest(r, false), false)
}

// sendUpstream sends a request upstream and refuses a reply that is malformed or that nobody asked for.
func sendUpstream(ctx context.Context, to Upstream, r *http.Request, hasOwnRange bool) (*http.Response, error) {
	resp, err := to.Fetch(ctx, r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if resp != nil && resp.Body == nil {
		resp.Body = http.NoBody
	}
	if err := checkReply(resp, r, hasOwnRange); err != nil {
		if resp != nil {
			resp.Body.Close()
		}
		return nil, err
	}
	return resp, nil
}

// passBody copies a body and flushes each read, because the reply to a POST may arrive in
// pieces that the client waits for.
func passBody(w http.ResponseWriter, body io.Reader, length int64) error {
	buf := make([]byte, passChunk)
	flush := http.NewResponseController(w)
	var sent int64
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return werr
			}
			sent += int64(n)
			if ferr := flush.Flush(); ferr != nil && !errors.Is(ferr, http.ErrNotSupported) {
				return ferr
			}
		}
		if err == io.EOF {
			if length >= 0 && sent != length {
				return fmt.Errorf("%w: %w", ErrUpstream, io.ErrUnexpectedEOF)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUpstream, err)
		}
	}
}

// safeMethod reports whether a method changes nothing (RFC 9110 §9.2.1). Unknown methods
// are unsafe. The last line has those of WebDAV and of the IANA registry.
func safeMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		"PROPFIND", "REPORT", "SEARCH", "QUERY":
		return true
	}
	return false
}

// invalidateAfter marks the URL of an unsafe request and those that its reply names as
// invalid, if they have the same origin: no site may empty another site's cache. guard is the
// request's own; replaced: its reply will be stored.
func (c *Cache) invalidateAfter(r *http.Request, h http.Header, guard *Guard, replaced bool) {
	keys := []string{Key(r)}
	for _, name := range [...]string{"Location", "Content-Location"} {
		if v := h.Get(name); v != "" {
			u, err := r.URL.Parse(v)
			if err == nil && u.Scheme == r.URL.Scheme && u.Host == r.URL.Host && !slices.Contains(keys, KeyOf(u)) {
				keys = append(keys, KeyOf(u))
			}
		}
	}
	for i, key := range keys {
		if c.cfg.OnInvalidate == nil {
			c.purgeExcept(Selector{URL: key, Soft: true, Invalid: true}, guard)
			continue
		}
		if i == 0 && replaced {
			guard.expectPurges(1)
		}
		c.cfg.OnInvalidate(key)
		guard.expectPurges(0)
	}
	if c.cfg.AwaitInvalidation != nil {
		c.cfg.AwaitInvalidation(r.Context())
	}
}
