package cache

import (
	"strconv"
	"strings"
	"time"
)

// Reasons for going upstream, as RFC 9211 §2.2 names them.
const (
	fwdBypass  = "bypass"
	fwdMethod  = "method"
	fwdMiss    = "uri-miss"
	fwdVary    = "vary-miss"
	fwdStale   = "stale"
	fwdRequest = "request"
)

// quoteName makes the cache's name a token or a string of RFC 8941.
func quoteName(name string) string {
	plain := name != "" && (name[0]|0x20 >= 'a' && name[0]|0x20 <= 'z' || name[0] == '*')
	for i := 0; i < len(name); i++ {
		plain = plain && (isTokenByte(name[i]) || name[i] == ':' || name[i] == '/')
	}
	if plain {
		return name
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			b.WriteByte('?')
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// statusLine is one member of a Cache-Status field (RFC 9211). It stays empty
// where the field is switched off.
type statusLine struct{ b []byte }

func (c *Cache) statusLine() statusLine {
	if c.cfg.NoCacheStatus {
		return statusLine{}
	}
	return statusLine{append(make([]byte, 0, 96), c.name...)}
}

func (s statusLine) flag(name string) statusLine {
	if s.b == nil {
		return s
	}
	s.b = append(append(s.b, "; "...), name...)
	return s
}

func (s statusLine) word(name, value string) statusLine {
	if s = s.flag(name); s.b != nil {
		s.b = append(append(s.b, '='), value...)
	}
	return s
}

func (s statusLine) number(name string, n int64) statusLine {
	if s = s.flag(name); s.b != nil {
		s.b = strconv.AppendInt(append(s.b, '='), n, 10)
	}
	return s
}

func (s statusLine) ttl(d time.Duration) statusLine {
	// Whole seconds, rounded down also below zero.
	n := int64(d / time.Second)
	if d < 0 && d%time.Second != 0 {
		n--
	}
	return s.number("ttl", n)
}

// forward begins a member for a request that went upstream. code is 0 if no
// reply came.
func (c *Cache) forward(why string, code int) statusLine {
	s := c.statusLine().word("fwd", why)
	if code != 0 {
		s = s.number("fwd-status", int64(code))
	}
	return s
}
