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

// maxNames bounds the spellings of host names that are remembered: clients
// choose them.
const maxNames = 64

// hits answers plain requests from this board's memory, beside net/http. A hit
// here does not count for whether a copy is kept: when the copy has become old,
// the second request after that makes it hot again.
type hits struct {
	p     *pages
	names atomic.Pointer[map[string]string] // Host as it was sent → "scheme://host" of the site's keys
}

func newHits(p *pages) *hits {
	h := &hits{p: p}
	h.names.Store(&map[string]string{})
	return h
}

// Now is front.Hits: the purger's clock.
func (h *hits) Now() time.Duration { return h.p.purger.Now() }

// AppendHit is front.Hits. A board that was stopped or cut off leaves every
// request to the pages, which may wait until it has learnt what it missed.
func (h *hits) AppendHit(dst []byte, q *front.Asked) (head []byte, body [][]byte, ok bool) {
	if q.At == 0 {
		q.At = h.Now()
	}
	if !h.p.purger.BelievableAt(q.At) {
		return dst, nil, false
	}
	q.At += h.p.ahead
	prefix, ok := (*h.names.Load())[string(q.Host)]
	if !ok {
		if prefix, ok = h.learn(string(q.Host)); !ok {
			return dst, nil, false
		}
	}
	q.Key = append(append(q.Key[:0], prefix...), q.Target...)
	return h.p.cache.AppendHit(dst, (*cache.Plain)(&q.Fields), h.memo(q))
}

// memo is an answer given by hits, for front.Memo. What a host name means does not
// change, and so is no part of it.
type memo struct {
	hits *hits
	cache.Memo
}

// memo is where the answer to a request is to be noted, nil for nowhere.
func (h *hits) memo(q *front.Asked) *cache.Memo {
	if !q.Keep {
		return nil
	}
	m, mine := q.Memo.(*memo)
	if !mine {
		m = new(memo)
		q.Memo = m
	}
	m.hits = h
	return &m.Memo
}

// Again is front.Memo.
func (m *memo) Again(at time.Duration, times int) bool {
	if at == 0 {
		at = m.hits.Now()
	}
	p := m.hits.p
	return p.purger.BelievableAt(at) && p.cache.Again(&m.Memo, at+p.ahead, times)
}

// learn asks the sites what a host name means.
func (h *hits) learn(host string) (prefix string, ok bool) {
	r, err := h.p.sites.Request(&http.Request{
		Method: http.MethodGet, Host: host, URL: &url.URL{Path: "/"}, Header: http.Header{},
	})
	if err != nil {
		return "", false
	}
	prefix = r.URL.Scheme + "://" + r.URL.Host
	known := h.names.Load()
	if len(*known) < maxNames {
		more := maps.Clone(*known)
		more[host] = prefix
		h.names.CompareAndSwap(known, &more) // another that learnt meanwhile will do
	}
	return prefix, true
}
