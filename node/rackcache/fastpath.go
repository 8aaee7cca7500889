package rackcache

import (
	"maps"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"bramble/cache"
	"bramble/node/front"
)

// maxHostNames bounds the remembered spellings of host names, which clients choose.
const maxHostNames = 64

// FastPath answers plain requests from this board's memory, without net/http: it
// is the front's front.FastHandler. Its hits do not count as requests for a hot key: when
// the replica goes stale, the second later request stores it again.
type FastPath struct {
	handler  *PageHandler
	prefixes atomic.Pointer[map[string]string] // Host as it was sent → "scheme://host" of the site's keys
}

// NewFastPath returns the fast path to a handler's memory.
func NewFastPath(h *PageHandler) *FastPath {
	f := &FastPath{handler: h}
	f.prefixes.Store(&map[string]string{})
	return f
}

// Now is front.FastHandler: the clock of the purges.
func (f *FastPath) Now() time.Duration { return f.handler.Purges.Now() }

// AppendHit is front.FastHandler. A board whose lease has run out (it was stopped or cut
// off) leaves every request to the PageHandler, which can wait until it has learned
// the purges that it missed.
func (f *FastPath) AppendHit(dst []byte, q *front.FastRequest) (head []byte, body [][]byte, ok bool) {
	if q.At == 0 {
		q.At = f.Now()
	}
	if !f.handler.Purges.LeaseValidAt(q.At) {
		return dst, nil, false
	}
	q.At += f.handler.clockLead
	prefix, ok := (*f.prefixes.Load())[string(q.Host)]
	if !ok {
		if prefix, ok = f.learnHost(string(q.Host)); !ok {
			return dst, nil, false
		}
	}
	q.Key = append(append(q.Key[:0], prefix...), q.Target...)
	return f.handler.cache.AppendHit(dst, (*cache.HitRequest)(&q.Fields), f.validityFor(q))
}

// fastPathValidity validates a memoised reply: it implements front.ReplyValidity. The meaning of a
// host name does not change, and so is not part of it.
type fastPathValidity struct {
	fastPath *FastPath
	cache.HitValidity
}

// validityFor returns where to record what validates the reply to a request; nil: nowhere.
func (f *FastPath) validityFor(q *front.FastRequest) *cache.HitValidity {
	if !q.WantValidity {
		return nil
	}
	v, reusable := q.Validity.(*fastPathValidity)
	if !reusable {
		v = new(fastPathValidity)
		q.Validity = v
	}
	v.fastPath = f
	return &v.HitValidity
}

func (v *fastPathValidity) StillValid(at time.Duration, times int) bool {
	if at == 0 {
		at = v.fastPath.Now()
	}
	h := v.fastPath.handler
	return h.Purges.LeaseValidAt(at) && h.cache.StillValid(&v.HitValidity, at+h.clockLead, times)
}

// learnHost looks up which site a host name means, and remembers it.
func (f *FastPath) learnHost(host string) (prefix string, ok bool) {
	r, err := f.handler.Sites.RewriteForSite(&http.Request{
		Method: http.MethodGet, Host: host, URL: &url.URL{Path: "/"}, Header: http.Header{},
	})
	if err != nil {
		return "", false
	}
	prefix = r.URL.Scheme + "://" + r.URL.Host
	known := f.prefixes.Load()
	if len(*known) < maxHostNames {
		more := maps.Clone(*known)
		more[host] = prefix
		f.prefixes.CompareAndSwap(known, &more) // if another goroutine was first, its map will do
	}
	return prefix, true
}
