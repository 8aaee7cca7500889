package node

import (
	"maps"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"bramble/cache"
	"bramble/node/front"
)

// maxHostNames bounds the spellings of host names that are remembered: clients
// choose them.
const maxHostNames = 64

// fastPath answers plain requests from this board's memory, beside net/http. A hit
// here does not count for whether a copy is kept: when the copy has become old,
// the second request after that makes it hot again.
type fastPath struct {
	pages    *rackHandler
	prefixes atomic.Pointer[map[string]string] // Host as it was sent → "scheme://host" of the site's keys
}

func newFastPath(p *rackHandler) *fastPath {
	h := &fastPath{pages: p}
	h.prefixes.Store(&map[string]string{})
	return h
}

// Now is front.FastHandler: the purger's clock.
func (h *fastPath) Now() time.Duration { return h.pages.purger.Now() }

// AppendHit is front.FastHandler. A board that was stopped or cut off leaves every
// request to the pages, which may wait until it has learnt what it missed.
func (h *fastPath) AppendHit(dst []byte, q *front.PlainRequest) (head []byte, body [][]byte, ok bool) {
	if q.At == 0 {
		q.At = h.Now()
	}
	if !h.pages.purger.LeaseValidAt(q.At) {
		return dst, nil, false
	}
	q.At += h.pages.clockLead
	prefix, ok := (*h.prefixes.Load())[string(q.Host)]
	if !ok {
		if prefix, ok = h.learnHost(string(q.Host)); !ok {
			return dst, nil, false
		}
	}
	q.Key = append(append(q.Key[:0], prefix...), q.Target...)
	return h.pages.cache.AppendHit(dst, (*cache.PlainRequest)(&q.Fields), h.memoFor(q))
}

// fastPathMemo is an answer given by hits, for front.ResponseMemo. What a host name means does not
// change, and so is no part of it.
type fastPathMemo struct {
	fastPath *fastPath
	cache.HitMemo
}

// memoFor is where the answer to a request is to be noted, nil for nowhere.
func (h *fastPath) memoFor(q *front.PlainRequest) *cache.HitMemo {
	if !q.WantMemo {
		return nil
	}
	m, mine := q.Memo.(*fastPathMemo)
	if !mine {
		m = new(fastPathMemo)
		q.Memo = m
	}
	m.fastPath = h
	return &m.HitMemo
}

// StillValid is front.ResponseMemo.
func (m *fastPathMemo) StillValid(at time.Duration, times int) bool {
	if at == 0 {
		at = m.fastPath.Now()
	}
	p := m.fastPath.pages
	return p.purger.LeaseValidAt(at) && p.cache.StillValid(&m.HitMemo, at+p.clockLead, times)
}

// learnHost asks the sites what a host name means.
func (h *fastPath) learnHost(host string) (prefix string, ok bool) {
	r, err := h.pages.sites.Request(&http.Request{
		Method: http.MethodGet, Host: host, URL: &url.URL{Path: "/"}, Header: http.Header{},
	})
	if err != nil {
		return "", false
	}
	prefix = r.URL.Scheme + "://" + r.URL.Host
	known := h.prefixes.Load()
	if len(*known) < maxHostNames {
		more := maps.Clone(*known)
		more[host] = prefix
		h.prefixes.CompareAndSwap(known, &more) // another that learnt meanwhile will do
	}
	return prefix, true
}
