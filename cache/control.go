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

// parseControl reads all Cache-Control lines of a message (RFC 9111 §5.2). A member must be token, token=token
// or token="quoted string"; of a broken one the name still counts, so that it is read in the stricter way.
func parseControl(lines []string) control {
	var c control
	eachListMember(lines, func(m string) bool {
		i := 0
		for i < len(m) && isTokenByte(m[i]) {
			i++
		}
		value, hasValue := strings.CutPrefix(m[i:], "=")
		ok := value == ""
		switch {
		case hasValue && strings.HasPrefix(value, `"`):
			var rest string
			value, rest, ok = cutQuoted(value)
			ok = ok && rest == ""
		case hasValue:
			ok = httpguts.ValidHeaderFieldName(value)
		}
		if i > 0 {
			c.applyDirective(strings.ToLower(m[:i]), value, hasValue, ok)
		}
		return true
	})
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
