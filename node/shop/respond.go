package shop

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

type cachePolicy struct {
	fresh      time.Duration // max-age
	revalidate time.Duration // stale-while-revalidate, RFC 5861 section 3
	ifError    time.Duration // stale-if-error, RFC 5861 section 4
}

// pagePolicy is the policy of most pages. A page is cheap to make and is requested thousands
// of times per second, so a few seconds of freshness are enough.
func pagePolicy() cachePolicy {
	return cachePolicy{fresh: 10 * time.Second, revalidate: 30 * time.Second, ifError: 5 * time.Minute}
}

// statusPolicy is the policy of the status page, which people reload.
func statusPolicy() cachePolicy {
	return cachePolicy{fresh: 2 * time.Second, revalidate: 5 * time.Second, ifError: 30 * time.Second}
}

// livePolicy is the policy of a page about units that are selling: one second of freshness
// and nothing stale, because a second later the page may be wrong.
func livePolicy() cachePolicy { return cachePolicy{fresh: time.Second} }

// cacheControl returns the Cache-Control field of a page whose text changes after left
// (negative: no change is known). Freshness and both kinds of staleness end by then, so
// that no cache serves "opens at 06:00" at 06:00. The field has whole seconds, so a fraction
// is cut off.
func (c cachePolicy) cacheControl(left time.Duration) string {
	if left >= 0 {
		c.fresh = min(c.fresh, left.Truncate(time.Second))
		c.revalidate = min(c.revalidate, left.Truncate(time.Second)-c.fresh)
		c.ifError = min(c.ifError, left.Truncate(time.Second)-c.fresh)
	}
	s := fmt.Sprintf("public, max-age=%d", c.fresh/time.Second)
	if c.revalidate > 0 {
		s += fmt.Sprintf(", stale-while-revalidate=%d", c.revalidate/time.Second)
	}
	if c.ifError > 0 {
		return s + fmt.Sprintf(", stale-if-error=%d", c.ifError/time.Second)
	}
	// Without this a cache may serve a stale page on its own (RFC 9111, section 4.2.4).
	return s + ", must-revalidate"
}

// sendContent answers GET and HEAD with content and a strong entity tag, the content's hash.
// It sends no Last-Modified: pages change by the clock, so a file's date would be wrong.
// The server in front adds the Date field.
func sendContent(w http.ResponseWriter, r *http.Request, mime string, content []byte) {
	sum := sha256.Sum256(content)
	w.Header().Set("Content-Type", mime)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:12])+`"`)
	// ServeContent handles the conditional and range requests of RFC 9110.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// sendJSON answers GET and HEAD with v as JSON, for people too.
func (s *Shop) sendJSON(w http.ResponseWriter, r *http.Request, v any, cacheControl string) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		s.sendServerError(w, err)
		return
	}
	w.Header().Set("Cache-Control", cacheControl)
	sendContent(w, r, "application/json", append(body, '\n'))
}

// requireCanonicalURL lets only GET and HEAD of a page's one URL through. Other URLs are
// redirected to it, and the redirect is not stored: invented query strings must not push
// pages out of a cache.
func (s *Shop) requireCanonicalURL(w http.ResponseWriter, r *http.Request, path string) bool {
	if !s.requireReadMethod(w, r) {
		return false
	}
	requested := r.URL.EscapedPath()
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		requested += "?" + r.URL.RawQuery
	}
	if requested == path {
		return true
	}
	redirectUncached(w, r, path, http.StatusFound)
	return false
}

// requireReadMethod answers 405 to a method that a page does not have.
func (s *Shop) requireReadMethod(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	s.rejectMethod(w, r, "GET, HEAD", "This page can only be read")
	return false
}

// withReadMethod wraps a handler for GET and HEAD that ignores the query.
func (s *Shop) withReadMethod(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.requireReadMethod(w, r) {
			h(w, r)
		}
	}
}

// servePage sends a page that caches may store.
func (s *Shop) servePage(w http.ResponseWriter, r *http.Request, a pageAddress, policy cachePolicy, surrogateKeys string) {
	if !s.requireCanonicalURL(w, r, a.path()) {
		return
	}
	state := s.readPageState(s.now())
	if a.product != nil && state.saleOf(a.product).changesFast() || a.product == nil && state.changesFast() {
		policy = livePolicy()
	}
	page, err := s.cachedPage(a, state)
	if err != nil {
		s.sendServerError(w, err)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", policy.cacheControl(state.untilChange))
	h.Set("Content-Language", language)
	h.Set("Surrogate-Key", surrogateKeys)
	sendContent(w, r, "text/html; charset=utf-8", page)
}

// sendServerError answers 500 if the shop itself fails. New checks every page, so this should
// never happen.
func (s *Shop) sendServerError(w http.ResponseWriter, err error) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "The shop failed to make this page: "+err.Error(), http.StatusInternalServerError)
}

// cachedPage returns a page. Pages are cached until the page state's version changes.
func (s *Shop) cachedPage(a pageAddress, state *pageState) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state.version != s.cachedVersion {
		s.cachedVersion = state.version
		clear(s.cachedPages)
	}
	if page, ok := s.cachedPages[a]; ok {
		return page, nil
	}
	page, err := s.renderPage(a, state)
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

// serveRobots lets search engines in, except to the order page of each country.
func (s *Shop) serveRobots(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("Surrogate-Key", "shop")
	sendContent(w, r, "text/plain; charset=utf-8", []byte("User-agent: *\nDisallow: /*?\n"))
}

// notFound answers 404 with the list of products. It is not stored: wrong URLs are endless.
func (s *Shop) notFound(w http.ResponseWriter, r *http.Request) {
	if to := strings.TrimRight(r.URL.Path, "/"); to != r.URL.Path && s.isPagePath(to) {
		s.requireCanonicalURL(w, r, to)
		return
	}
	s.sendErrorPage(w, r, http.StatusNotFound, errorMessage{
		Title:        "There is no such page",
		Text:         "The address may be misspelt. A product's address never changes, so what you are looking for is one of these:",
		ListProducts: true,
	})
}

// isPagePath reports whether path, which has lost its trailing slashes, is the path of a page.
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

// sendErrorPage sends an error page, which is never stored.
func (s *Shop) sendErrorPage(w http.ResponseWriter, r *http.Request, code int, message errorMessage) {
	page, err := s.renderErrorPage(message, s.readPageState(s.now()))
	if err != nil {
		page = []byte(message.Title + ". " + message.Text)
	}
	s.sendUncached(w, r, code, page)
}

func redirectUncached(w http.ResponseWriter, r *http.Request, to string, code int) {
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, code)
}

// sendUncached sends a page for this one request. It is never stored.
func (s *Shop) sendUncached(w http.ResponseWriter, r *http.Request, code int, page []byte) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Language", language)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	wait := map[int]string{http.StatusServiceUnavailable: retryAfterSeconds, http.StatusTooManyRequests: limitRetrySeconds}[code]
	if wait != "" && h.Get("Retry-After") == "" {
		h.Set("Retry-After", wait)
	}
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		w.Write(page) // an error means that the client has disconnected
	}
}

// retryAfterSeconds is the Retry-After value while the rack cannot accept orders: about the
// time that the boards need to elect a leader.
const retryAfterSeconds = "3"
