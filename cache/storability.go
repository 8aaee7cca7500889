package cache

import (
	"net/http"
	"time"
)

// storability is what the rules allow to be done with one reply.
type storability struct {
	// mayStore: a copy may be kept and used again, after validation at least.
	mayStore bool
	// mayShare: the reply may be given, as it is and now, to others who wait for it.
	mayShare bool
	// strip lists the fields that only the client whose request caused the
	// reply may see (private="…", no-cache="…", Set-Cookie).
	strip []string

	control  control
	lifetime time.Duration
	explicit bool // the reply gave its lifetime itself
	age      time.Duration
}

// fetchFacts is what the rules need to know of the request and the moment.
type fetchFacts struct {
	method        string
	ranged        bool // for a range that its client asked for
	authorized    bool // it carried Authorization
	sentAt        time.Time
	receivedAt    time.Time
	trustClock    bool
	keepSetCookie bool // Config.KeepSetCookie
	noStore       bool // the client's no-store, if clients are listened to
}

// isUnderstood are the statuses whose meaning for caching this package
// implements; must-understand lifts no-store only for them (RFC 9111 §5.2.2.3).
func isUnderstood(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405,
		410, 414, 451, 500, 501, 502, 503, 504:
		return true
	}
	return false
}

// isRequestSpecific lists the statuses of replies that are about the one request that
// caused them, or about its client, and not about the page: whatever lifetime they
// give, to others they would be a page that was taken away. 412 and 416 answer the
// client's own condition or range, 417 its Expect, 421 and 425 its connection; the
// others must not be stored by any cache (RFC 6585 §3 to §6).
func isRequestSpecific(status int) bool {
	switch status {
	case 412, 416, 417, 421, 425, 428, 429, 431, 511:
		return true
	}
	return false
}

// judgeReply applies RFC 9111 §3 for a shared cache to a reply.
func judgeReply(a fetchFacts, status int, h http.Header) storability {
	c, targeted := replyControl(h)
	if _, has := h["Cache-Control"]; !has && !targeted && hasMember(h["Pragma"], "no-cache") {
		// RFC 9111 §5.4: Pragma in a reply has no meaning, yet whoever sends
		// it means no-cache; towards stale.
		c.noCache = true
	}
	v := storability{control: c}
	v.lifetime, v.explicit = replyLifetime(status, h, c, targeted, a.receivedAt)
	v.age = initialAge(h, a.sentAt, a.receivedAt, a.trustClock)

	noStore := c.noStore
	if c.mustUnderstand {
		noStore = !isUnderstood(status)
	}
	noStore = noStore || a.noStore
	_, cookie := h["Set-Cookie"]
	switch {
	case a.method != http.MethodGet && a.method != http.MethodHead:
		return v
	case noStore, c.private, status < 200, isRequestSpecific(status), status == http.StatusPartialContent && !a.ranged, status == http.StatusNotModified:
		return v
	case !v.explicit && !c.public && !heuristicStatus(status):
		return v
	case a.authorized && !c.public && !c.sMaxAge.set && !c.mustRevalidate:
		return v // RFC 9111 §3.5
	case cookie && !c.public && !c.sMaxAge.set:
		return v // the origin did not say that it meant everybody
	case varyAll(h["Vary"]):
		return v
	}
	v.strip = append(append(v.strip, c.privateFields...), c.noCacheFields...)
	if cookie && !a.keepSetCookie {
		v.strip = append(v.strip, "Set-Cookie")
	}
	fresh := v.lifetime > v.age && !c.noCache
	while := v.age-v.lifetime < c.staleWhile.duration()
	validator := validETag(h.Get("Etag")) || h.Get("Last-Modified") != ""
	// What is neither fresh nor can be validated would only take up room.
	v.mayStore = a.method == http.MethodGet && (fresh || validator || while)
	// RFC 9111 §4: what would need validation before its first reuse cannot
	// answer those who wait either. What may be served while it is refreshed can
	// (RFC 5861 §3): the owner of a page gives it to other boards stale, and a
	// crowd there need not ask one by one.
	v.mayShare = fresh || while && !c.noCache && !c.mustRevalidate && !c.proxyRevalidate
	return v
}

func hasMember(lines []string, want string) bool {
	found := false
	eachMember(lines, func(m string) bool {
		found = equalFold(m, want)
		return !found
	})
	return found
}
