package cache

import (
	"net/http"
	"strings"
	"time"
)

// maxETags bounds the entity tags that are compared in one If-None-Match field; a
// client that sends more gets the page.
const maxETags = 64

// notModified evaluates a client's conditions against a reply: true means 304
// (RFC 9110 §13.2.2). If If-None-Match is present, If-Modified-Since is ignored.
func notModified(r *http.Request, o *Object, now time.Time) bool {
	if o.Status() != http.StatusOK && o.Status() != http.StatusPartialContent {
		return false
	}
	if lines, has := r.Header["If-None-Match"]; has {
		return matchETag(lines, o.Field("Etag"))
	}
	since, ok := parseDate(r.Header["If-Modified-Since"], now)
	if !ok {
		return false
	}
	at, ok := parseDate(o.fieldLines("Last-Modified"), now)
	if !ok {
		// RFC 9111 §4.3.2: without Last-Modified the Date stands in.
		at, ok = parseDate(o.fieldLines("Date"), now)
	}
	return ok && !at.After(since)
}

// isConditional reports whether a request may be answered with a 304 (RFC 9110
// §15.4.5). A client that sent no condition would take a 304 for an empty page.
func isConditional(r *http.Request) bool {
	return len(r.Header["If-None-Match"]) > 0 || len(r.Header["If-Modified-Since"]) > 0
}

// matchETag reports whether the list holds the tag, by weak comparison, or "*".
func matchETag(lines []string, etag string) bool {
	found, n := false, 0
	eachTag(lines, func(m string) bool {
		n++
		found = m == "*" || validETag(m) && validETag(etag) && weakEqual(m, etag)
		return !found && n < maxETags
	})
	return found
}

// weakEqual is the weak comparison of RFC 9110 §8.8.3.2.
func weakEqual(a, b string) bool {
	return strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}

// strongETag reports whether the tag can prove that two bodies are equal, byte for
// byte.
func strongETag(etag string) bool { return validETag(etag) && etag[0] == '"' }

// validETag checks the form of an entity tag: "…" or W/"…".
func validETag(s string) bool {
	s = strings.TrimPrefix(s, "W/")
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return false
	}
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '"' || s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// notIn304 reports whether a field describes the body, which a 304 does not have. The
// others are sent, so that a cache between here and the client gets every change.
func notIn304(name string) bool {
	switch name {
	case "Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-Range":
		return true
	}
	return false
}

// unchangedBy304 reports whether a 304 never changes a stored field (RFC 9111 §3.2),
// because the field describes the stored bytes.
func unchangedBy304(name string) bool {
	switch name {
	case "Content-Length", "Content-Encoding", "Content-Range":
		return true
	}
	return false
}
