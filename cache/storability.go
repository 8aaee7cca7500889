package cache

import (
	"net/http"
	"strings"
	"time"
)

// storability states whether the rules allow a reply to be stored and shared.
type storability struct {
	// mayStore: the reply may be stored and reused, after validation at least.
	mayStore bool
	// mayShare: the reply may answer, without validation, all requests that wait for it.
	mayShare bool
	// strip lists the fields that only the client whose request caused the
	// reply may see (private="…", no-cache="…", Set-Cookie).
	strip []string

	control  control
	lifetime time.Duration
	explicit bool // the reply itself states its lifetime
	age      time.Duration
}

// fetchFacts are the facts about a fetch by which its reply is judged.
type fetchFacts struct {
	method        string
	ranged        bool // for the client's own range
	authorized    bool // it carried Authorization
	sentAt        time.Time
	receivedAt    time.Time
	trustClock    bool
	keepSetCookie bool // Config.KeepSetCookie
	noStore       bool // the client's no-store, with Config.ClientDirectives
}

// isUnderstood reports whether this package implements the caching rules of a status;
// must-understand overrides no-store only for them (RFC 9111 §5.2.2.3).
func isUnderstood(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405,
		410, 414, 451, 500, 501, 502, 503, 504:
		return true
	}
	return false
}

// isRequestSpecific reports whether replies with a status concern one request, or its
// client, and not the page. Whatever lifetime they state, they would hide the page from
// other clients. 412 and 416 answer the client's own condition or range, 417 its
// Expect, 421 and 425 its connection; no cache may store the others (RFC 6585 §3 to
// §6).
func isRequestSpecific(status int) bool {
	switch status {
	case 412, 416, 417, 421, 425, 428, 429, 431, 511:
		return true
	}
	return false
}

// judgeReply applies RFC 9111 §3 to a reply, for a shared cache.
func judgeReply(facts fetchFacts, status int, h http.Header) storability {
	c, targeted := replyControl(h)
	if _, has := h["Cache-Control"]; !has && !targeted && hasListMember(h["Pragma"], "no-cache") {
		// RFC 9111 §5.4: Pragma in a reply has no meaning, yet an origin that sends
		// it means no-cache; when in doubt, stale.
		c.noCache = true
	}
	judged := storability{control: c}
	judged.lifetime, judged.explicit = replyLifetime(status, h, c, targeted, facts.receivedAt)
	judged.age = initialAge(h, facts.sentAt, facts.receivedAt, facts.trustClock)

	noStore := c.noStore
	if c.mustUnderstand {
		noStore = !isUnderstood(status)
	}
	noStore = noStore || facts.noStore
	_, cookie := h["Set-Cookie"]
	_, variesOnAll := varyNames(h["Vary"])
	switch {
	case facts.method != http.MethodGet && facts.method != http.MethodHead:
		return judged
	case noStore, c.private, status < 200, isRequestSpecific(status), status == http.StatusPartialContent && !facts.ranged, status == http.StatusNotModified:
		return judged
	case !judged.explicit && !c.public && !heuristicStatus(status):
		return judged
	case facts.authorized && !c.public && !c.sMaxAge.set && !c.mustRevalidate:
		return judged // RFC 9111 §3.5
	case cookie && !c.public && !c.sMaxAge.set:
		return judged // the origin did not state that the reply is for all clients
	case variesOnAll:
		return judged
	}
	judged.strip = append(append(judged.strip, c.privateFields...), c.noCacheFields...)
	if cookie && !facts.keepSetCookie {
		judged.strip = append(judged.strip, "Set-Cookie")
	}
	fresh := judged.lifetime > judged.age && !c.noCache
	while := judged.age-judged.lifetime < c.staleWhile.duration()
	validator := validETag(h.Get("Etag")) || h.Get("Last-Modified") != ""
	// A reply that is neither fresh nor can be validated would only take up room.
	judged.mayStore = facts.method == http.MethodGet && (fresh || validator || while)
	// RFC 9111 §4: a reply that needs validation before its first reuse cannot answer
	// the requests that wait either. One that may be served while it is refreshed can
	// (RFC 5861 §3): the owner of a page serves it to other boards stale, and a crowd
	// there need not fetch it one by one.
	judged.mayShare = fresh || while && !c.noCache && !c.mustRevalidate && !c.proxyRevalidate
	return judged
}

func hasListMember(lines []string, want string) bool {
	found := false
	eachListMember(lines, func(m string) bool {
		found = strings.EqualFold(m, want)
		return !found
	})
	return found
}
