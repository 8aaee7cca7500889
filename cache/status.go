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

// cacheStatus is one member of a Cache-Status field (RFC 9211). It stays empty with
// Config.NoCacheStatus.
type cacheStatus struct{ b []byte }

func (c *Cache) newCacheStatus() cacheStatus {
	if c.cfg.NoCacheStatus {
		return cacheStatus{}
	}
	return cacheStatus{append(make([]byte, 0, 96), c.name...)}
}

func (s cacheStatus) addFlag(name string) cacheStatus {
	if s.b == nil {
		return s
	}
	s.b = append(append(s.b, "; "...), name...)
	return s
}

func (s cacheStatus) addWord(name, value string) cacheStatus {
	if s = s.addFlag(name); s.b != nil {
		s.b = append(append(s.b, '='), value...)
	}
	return s
}

func (s cacheStatus) addNumber(name string, n int64) cacheStatus {
	if s = s.addFlag(name); s.b != nil {
		s.b = strconv.AppendInt(append(s.b, '='), n, 10)
	}
	return s
}

func (s cacheStatus) addTTL(d time.Duration) cacheStatus {
	// Whole seconds, rounded down also below zero.
	n := int64(d / time.Second)
	if d < 0 && d%time.Second != 0 {
		n--
	}
	return s.addNumber("ttl", n)
}

// forwardStatus begins a member for a request that went upstream. code is 0 if no
// reply came.
func (c *Cache) forwardStatus(why string, code int) cacheStatus {
	s := c.newCacheStatus().addWord("fwd", why)
	if code != 0 {
		s = s.addNumber("fwd-status", int64(code))
	}
	return s
}
