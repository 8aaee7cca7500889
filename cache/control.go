package cache

import (
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// maxDelta is the largest number of seconds a directive or an Age can carry.
// RFC 9111 §1.2.2: a larger value is treated as 2147483648 or as the greatest
// the recipient can hold.
const maxDelta = 1<<31 - 1

// maxFieldNames bounds the field names of private="…" and no-cache="…". With more,
// the directive is read as if it had no names, which is stricter.
const maxFieldNames = 32

// delta is a number of seconds that may be absent.
type delta struct {
	set     bool
	seconds int64
}

func (d delta) duration() time.Duration { return time.Duration(d.seconds) * time.Second }

// control holds the directives of a Cache-Control field, of a request or of a
// reply. A repeated or malformed directive is read in the way that makes a reply
// stale sooner (RFC 9111 §4.2.1).
type control struct {
	noStore, noCache, private, public         bool
	mustRevalidate, proxyRevalidate           bool
	mustUnderstand, immutable, onlyIfCached   bool
	maxAge, sMaxAge, staleWhile, staleIfError delta
	minFresh, maxStale                        delta
	maxStaleAny                               bool
	noCacheFields, privateFields              []string
}

// parseControl reads all Cache-Control lines of a message (RFC 9111 §5.2).
func parseControl(lines []string) control {
	var c control
	for _, line := range lines {
		for line != "" {
			var name, value string
			var hasValue, ok bool
			name, value, hasValue, ok, line = nextDirective(line)
			if name != "" {
				c.applyDirective(strings.ToLower(name), value, hasValue, ok)
			}
		}
	}
	return c
}

// applyDirective records one directive. ok is false if its syntax is broken.
func (c *control) applyDirective(name, value string, hasValue, ok bool) {
	switch name {
	case "no-store":
		c.noStore = true
	case "no-cache":
		c.noCacheFields = fieldDirective(&c.noCache, c.noCacheFields, value, hasValue && ok)
	case "private":
		c.privateFields = fieldDirective(&c.private, c.privateFields, value, hasValue && ok)
	case "public":
		// A permission counts only if it is well formed.
		c.public = c.public || ok && !hasValue
	case "must-revalidate":
		c.mustRevalidate = true
	case "proxy-revalidate":
		c.proxyRevalidate = true
	case "must-understand":
		c.mustUnderstand = c.mustUnderstand || ok && !hasValue
	case "immutable":
		c.immutable = c.immutable || ok && !hasValue
	case "only-if-cached":
		c.onlyIfCached = true
	case "max-age":
		c.maxAge.setLower(value, hasValue && ok)
	case "s-maxage":
		c.sMaxAge.setLower(value, hasValue && ok)
	case "stale-while-revalidate":
		c.staleWhile.setLower(value, hasValue && ok)
	case "stale-if-error":
		c.staleIfError.setLower(value, hasValue && ok)
	case "min-fresh":
		c.minFresh.setLower(value, hasValue && ok)
	case "max-stale":
		if hasValue {
			c.maxStale.setLower(value, ok)
		} else {
			c.maxStaleAny = true
		}
	}
}

// setLower sets d to the value, or to the lower one if it is set already. A value
// that is not a number counts as 0: the directive is there, so nothing weaker
// (Expires, a heuristic) may replace it.
func (d *delta) setLower(value string, ok bool) {
	n := int64(0)
	if ok {
		n, _ = parseDelta(value)
	}
	if !d.set || n < d.seconds {
		d.seconds = n
	}
	d.set = true
}

// fieldDirective reads no-cache and private, which mean the entire reply without
// a value and only the fields named with one (RFC 9111 §5.2.2.4, §5.2.2.7).
func fieldDirective(whole *bool, fields []string, value string, hasValue bool) []string {
	if !hasValue {
		*whole = true
		return fields
	}
	named := false
	for name := range strings.SplitSeq(value, ",") {
		name = trimOWS(name)
		if name == "" {
			continue
		}
		if !httpguts.ValidHeaderFieldName(name) || len(fields) == maxFieldNames {
			*whole = true
			return fields
		}
		fields, named = append(fields, http.CanonicalHeaderKey(name)), true
	}
	if !named {
		*whole = true
	}
	return fields
}

// nextDirective splits off the first member of a Cache-Control line. ok is false if
// the member is not token, token=token or token="quoted string"; a broken
// member still has its name returned, so that it can be read in the stricter way.
func nextDirective(s string) (name, value string, hasValue, ok bool, rest string) {
	s = strings.TrimLeft(s, " \t,")
	i := 0
	for i < len(s) && isTokenByte(s[i]) {
		i++
	}
	name, s, ok = s[:i], s[i:], i > 0
	if strings.HasPrefix(s, "=") {
		hasValue = true
		s = s[1:]
		if strings.HasPrefix(s, `"`) {
			var closed bool
			value, s, closed = cutQuoted(s)
			ok = ok && closed
		} else {
			i = 0
			for i < len(s) && isTokenByte(s[i]) {
				i++
			}
			value, s = s[:i], s[i:]
			ok = ok && i > 0
		}
	}
	s = strings.TrimLeft(s, " \t")
	if s == "" || s[0] == ',' {
		return name, value, hasValue, ok, s
	}
	// Garbage after the member: skip to the next comma that is not quoted.
	for s != "" && s[0] != ',' {
		if s[0] == '"' {
			_, s, _ = cutQuoted(s)
			continue
		}
		s = s[1:]
	}
	return name, value, hasValue, false, s
}

// cutQuoted reads the quoted string at the start of s (RFC 9110 §5.6.4).
func cutQuoted(s string) (value, rest string, closed bool) {
	s = s[1:]
	if i := strings.IndexAny(s, `"\`); i >= 0 && s[i] == '"' {
		return s[:i], s[i+1:], true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return b.String(), "", false
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), "", false
}

// parseDelta reads delta-seconds: digits only. An overflow is maxDelta.
func parseDelta(s string) (int64, bool) {
	n, ok := parsePosition(s)
	return min(n, maxDelta), ok
}
