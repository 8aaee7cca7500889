package cache

import (
	"io"
	"net/http"
	"time"
)

// A POST is never answered from memory. But its reply may answer later GETs if it
// says so: with the request's URL as Content-Location and an explicit lifetime
// (RFC 9110 §9.3.3).

// postCopy is the reply to a POST on its way into the store.
type postCopy struct {
	c     *Cache
	guard *Guard
	head  *Object
	held  int64
	body  []byte
}

// newPostCopy decides whether a reply to a POST is stored; nil if not. guard is from
// before the request was sent. Replies that vary are not stored: the fields that they
// vary on are the POST's, and a GET's may differ.
func (c *Cache) newPostCopy(r *http.Request, resp *http.Response, route Route, guard *Guard, sentAt time.Time) *postCopy {
	key := Key(r)
	at, err := r.URL.Parse(resp.Header.Get("Content-Location"))
	if r.Method != http.MethodPost || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Location") == "" ||
		err != nil || KeyOf(at) != key || len(resp.Header["Vary"]) > 0 || len(key) > maxKey ||
		resp.ContentLength < 0 || resp.ContentLength > c.cfg.MaxObject {
		return nil
	}
	facts := fetchFacts{
		method: http.MethodGet, authorized: len(r.Header["Authorization"]) > 0,
		sentAt: sentAt, receivedAt: c.cfg.Now(), trustClock: c.cfg.ClockTrusted(), keepSetCookie: c.cfg.KeepSetCookie,
		noStore: c.cfg.ClientDirectives && hasMember(r.Header["Cache-Control"], "no-store"),
	}
	v := judgeReply(facts, resp.StatusCode, resp.Header)
	if !v.mayStore || !v.explicit || !v.mayShare || route.MayStore != nil && !route.MayStore(key) || !c.reserveBytes(resp.ContentLength) {
		return nil
	}
	return &postCopy{
		c: c, guard: guard, held: resp.ContentLength, body: make([]byte, 0, resp.ContentLength),
		head: newObject(key, "", resp.StatusCode, resp.Header, v, c.Now()),
	}
}

// teeBody returns the body to be passed on; what is read of it is copied.
func (p *postCopy) teeBody(body io.Reader) io.Reader { return io.TeeReader(body, p) }

// Write copies the next bytes of the body.
func (p *postCopy) Write(b []byte) (int, error) {
	// A body that is longer than announced fails in passBody.
	p.body = append(p.body, b[:min(len(b), cap(p.body)-len(p.body))]...)
	return len(b), nil
}

// releaseBytes releases the reserved memory.
func (p *postCopy) releaseBytes() { p.c.fillBytes.Add(-p.held) }

// storeReply stores the reply, once its complete body was passed on.
func (p *postCopy) storeReply(route Route) {
	var body [][]byte
	if len(p.body) > 0 {
		body = [][]byte{p.body}
	}
	o := p.head.withBody(body)
	if p.c.commit(o, &p.guard.marks) == nil && route.Replicate && p.c.cfg.OnStore != nil {
		p.c.cfg.OnStore(o)
	}
}
