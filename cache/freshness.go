package cache

import (
	"net/http"
	"strings"
	"time"
)

// heuristicShare: a reply without a lifetime of its own is fresh for a tenth of its
// age since Last-Modified; RFC 9111 §4.2.2 names 10 %.
const heuristicShare = 10

// maxHeuristic bounds such a lifetime: a page unchanged for ten years is still
// validated the next day.
const maxHeuristic = 24 * time.Hour

// heuristicStatus lists the statuses of replies that may be stored without an
// explicit lifetime (RFC 9110 §15.1).
func heuristicStatus(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// replyLifetime is the time for which a reply is fresh, counted from age 0
// (RFC 9111 §4.2.1), and whether the reply itself states it. receivedAt is when the
// reply came, used if it has no Date. targeted: c is from a targeted field, and
// Expires does not count.
func replyLifetime(status int, h http.Header, c control, targeted bool, receivedAt time.Time) (d time.Duration, explicit bool) {
	if c.sMaxAge.set {
		return c.sMaxAge.duration(), true
	}
	if c.maxAge.set {
		return c.maxAge.duration(), true
	}
	date, ok := parseDate(h["Date"], receivedAt)
	if !ok {
		date = receivedAt
	}
	if lines, has := h["Expires"]; has && !targeted {
		// An Expires that is not a date, "0" above all, means already expired
		// (RFC 9111 §5.3).
		at, ok := parseDate(lines, receivedAt)
		if !ok {
			return 0, true
		}
		return min(max(at.Sub(date), 0), maxDelta*time.Second), true
	}
	if !c.public && !heuristicStatus(status) {
		return 0, false
	}
	if at, ok := parseDate(h["Last-Modified"], receivedAt); ok && at.Before(date) {
		return min(date.Sub(at)/heuristicShare, maxHeuristic), false
	}
	return 0, false
}

// initialAge is corrected_initial_age of RFC 9111 §4.2.3. The clocks are
// compared only when the caller trusts its own.
func initialAge(h http.Header, sentAt, receivedAt time.Time, trustClock bool) time.Duration {
	age := max(receivedAt.Sub(sentAt), 0)
	if v, ok := parseAge(h["Age"]); ok {
		age += v
	}
	if date, ok := parseDate(h["Date"], receivedAt); ok && trustClock {
		age = max(age, receivedAt.Sub(date))
	}
	return min(age, maxDelta*time.Second)
}

// parseAge reads an Age field. Of several values the first counts; one that is not
// a number of seconds is ignored (RFC 9111 §5.1).
func parseAge(lines []string) (time.Duration, bool) {
	if len(lines) == 0 {
		return 0, false
	}
	first, _, _ := strings.Cut(lines[0], ",")
	n, ok := parseDelta(trimOWS(first))
	return time.Duration(n) * time.Second, ok
}
