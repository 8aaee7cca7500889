package shop

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// cachePolicy are what a page allows to the caches in front of it.
type cachePolicy struct {
	fresh      time.Duration // max-age
	revalidate time.Duration // stale-while-revalidate, RFC 5861 section 3
	ifError    time.Duration // stale-if-error, RFC 5861 section 4
}

// A page is cheap to make and is asked for by the thousand in a second, so a few seconds
// of freshness are all that a rack needs; the status page is what people reload.
func pagePolicy() cachePolicy {
	return cachePolicy{fresh: 10 * time.Second, revalidate: 30 * time.Second, ifError: 5 * time.Minute}
}

func statusPolicy() cachePolicy {
	return cachePolicy{fresh: 2 * time.Second, revalidate: 5 * time.Second, ifError: 30 * time.Second}
}

// livePolicy are those of a page that says what is left, while it goes: a second's
// freshness, and nothing stale, because what was true a second ago may be a lie.
func livePolicy() cachePolicy { return cachePolicy{fresh: time.Second} }

// cacheControl writes the Cache-Control field of a page whose text changes after left (negative:
// not that the catalogue knows). Freshness and both kinds of staleness end by then, so
// that a page which says "opens at 06:00" is not handed out at 06:00 by any cache; a
// whole second is the least that the field can say, so the rest of one is cut off.
func (t cachePolicy) cacheControl(left time.Duration) string {
	if left >= 0 {
		t.fresh = min(t.fresh, left.Truncate(time.Second))
		t.revalidate = min(t.revalidate, left.Truncate(time.Second)-t.fresh)
		t.ifError = min(t.ifError, left.Truncate(time.Second)-t.fresh)
	}
	s := fmt.Sprintf("public, max-age=%d", t.fresh/time.Second)
	if t.revalidate > 0 {
		s += fmt.Sprintf(", stale-while-revalidate=%d", t.revalidate/time.Second)
	}
	if t.ifError > 0 {
		return s + fmt.Sprintf(", stale-if-error=%d", t.ifError/time.Second)
	}
	// Without this a cache may serve stale on its own account (RFC 9111, section 4.2.4).
	return s + ", must-revalidate"
}

// sendContent sends content that GET and HEAD may have, with a strong entity tag made of it.
// There is no Last-Modified: a page changes by the clock, and no file's date would be
// true. The Date field is left to who puts the reply on the wire.
func sendContent(w http.ResponseWriter, r *http.Request, mime string, content []byte) {
	sum := sha256.Sum256(content)
	w.Header().Set("Content-Type", mime)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:12])+`"`)
	// ServeContent does the conditional and range requests of RFC 9110 by the book.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// requireCanonicalURL lets only GET and HEAD of the one URL of a page through. Others are sent to
// it and the reply is not stored: made-up query strings shall not push pages out of a cache.
func (s *Shop) requireCanonicalURL(w http.ResponseWriter, r *http.Request, path string) bool {
	if !s.requireReadMethod(w, r) {
		return false
	}
	asked := r.URL.EscapedPath()
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		asked += "?" + r.URL.RawQuery
	}
	if asked == path {
		return true
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, path, http.StatusFound)
	return false
}

// requireReadMethod answers 405 to a method that a page does not have.
func (s *Shop) requireReadMethod(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	s.sendErrorPage(w, r, http.StatusMethodNotAllowed, errorMessage{
		Title: "This page can only be read",
		Text:  "Your program sent a request that this page does not take. Nothing was changed and nothing was ordered.",
	})
	return false
}

// withReadMethod wraps a handler of GET and HEAD whose URL takes no notice of its query.
func (s *Shop) withReadMethod(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.requireReadMethod(w, r) {
			h(w, r)
		}
	}
}

func (s *Shop) servePage(w http.ResponseWriter, r *http.Request, a pageAddress, t cachePolicy, tags string) {
	if !s.requireCanonicalURL(w, r, a.path()) {
		return
	}
	c := s.takeSnapshot(s.now())
	if a.product != nil && c.saleOf(a.product).changesFast() || a.product == nil && c.changesFast() {
		t = livePolicy()
	}
	page, err := s.cachedPage(a, c)
	if err != nil {
		s.sendServerError(w, err)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", t.cacheControl(c.untilChange))
	h.Set("Content-Language", language)
	h.Set("Surrogate-Key", tags)
	sendContent(w, r, "text/html; charset=utf-8", page)
}

// sendServerError answers when the shop itself failed, which New makes all but impossible.
func (s *Shop) sendServerError(w http.ResponseWriter, err error) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "This page could not be made, and that is the shop's fault: "+err.Error(), http.StatusInternalServerError)
}

// cachedPage gives a page. Pages are kept until anything changes that a page could say.
func (s *Shop) cachedPage(a pageAddress, c *snapshot) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.version != s.cachedVersion {
		s.cachedVersion = c.version
		clear(s.cachedPages)
	}
	if page, ok := s.cachedPages[a]; ok {
		return page, nil
	}
	page, err := s.renderPage(a, c)
	if err == nil && len(s.cachedPages) < maxCachedPages {
		s.cachedPages[a] = page
	}
	return page, err
}

func (s *Shop) serveFavicon(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=86400")
	w.Header().Set("Surrogate-Key", "shop")
	sendContent(w, r, "image/svg+xml", s.assets.favicon)
}

// serveRobots lets search engines in, but not into an order page for each country.
func (s *Shop) serveRobots(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("Surrogate-Key", "shop")
	sendContent(w, r, "text/plain; charset=utf-8", []byte("User-agent: *\nDisallow: /*?\n"))
}

// notFound helps who mistyped. It is not stored: there is no end to the URLs that are not.
func (s *Shop) notFound(w http.ResponseWriter, r *http.Request) {
	if to := strings.TrimRight(r.URL.Path, "/"); to != r.URL.Path && s.isPagePath(to) {
		s.requireCanonicalURL(w, r, to)
		return
	}
	s.sendErrorPage(w, r, http.StatusNotFound, errorMessage{
		Title:        "There is no such page",
		Text:         "The address may have a letter too many or too few. A product's address never changes, so what you look for is one of these:",
		ListProducts: true,
	})
}

// isPagePath says whether a path is that of a page, but for the slash that somebody added.
func (s *Shop) isPagePath(path string) bool {
	for i := range s.cat.Products {
		for _, page := range []string{"product", "order", "draw"} {
			if path == (pageAddress{page: page, product: &s.cat.Products[i]}).path() {
				return true
			}
		}
	}
	return path == "/status"
}

// sendErrorPage sends a page that is not what was asked for, and is never stored.
func (s *Shop) sendErrorPage(w http.ResponseWriter, r *http.Request, code int, a errorMessage) {
	page, err := s.renderErrorPage(a, s.takeSnapshot(s.now()))
	if err != nil {
		page = []byte(a.Title + ". " + a.Text)
	}
	s.sendUncached(w, r, code, page)
}

// sendUncached sends a page that is for this one request and is never stored.
func (s *Shop) sendUncached(w http.ResponseWriter, r *http.Request, code int, page []byte) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Language", language)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	if code == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfterSeconds)
	}
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		w.Write(page) // a client that went away is none of our business
	}
}

// retryAfterSeconds is how many seconds a program should wait when the rack cannot take
// anything: about as long as boards need to agree on a new leader.
const retryAfterSeconds = "3"
