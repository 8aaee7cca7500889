package cache

import (
	"io"
	"net/http"
	"time"
)

// A POST is never answered from memory. But its reply may answer later GETs if it
// allows that: with the request's URL as Content-Location and an explicit lifetime
// (RFC 9110 §9.3.3).

// postReply is a reply to a POST on its way into the store.
type postReply struct {
	c     *Cache
	guard *Guard
	head  *Object
	held  int64
	body  []byte
}

// newPostReply decides whether a reply to a POST is stored; nil if not. guard was
// made before the request was sent. Replies that vary are not stored: the fields that they
// vary on are the POST's, and a GET's may differ.
func (c *Cache) newPostReply(r *http.Request, resp *http.Response, route Route, guard *Guard, sentAt time.Time) *postReply {
	key := Key(r)
	location, err := r.URL.Parse(resp.Header.Get("Content-Location"))
	if r.Method != http.MethodPost || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Location") == "" ||
		err != nil || KeyOf(location) != key || len(resp.Header["Vary"]) > 0 || len(key) > maxKey ||
		resp.ContentLength < 0 || resp.ContentLength > c.cfg.MaxObject {
		return nil
	}
	facts := fetchFacts{
		method: http.MethodGet, authorized: len(r.Header["Authorization"]) > 0,
		sentAt: sentAt, receivedAt: c.cfg.Now(), trustClock: c.cfg.ClockTrusted(), keepSetCookie: c.cfg.KeepSetCookie,
		noStore: c.cfg.ClientDirectives && hasListMember(r.Header["Cache-Control"], "no-store"),
	}
	judged := judgeReply(facts, resp.StatusCode, resp.Header)
	if !judged.mayStore || !judged.explicit || !judged.mayShare || route.MayStore != nil && !route.MayStore(key) || !c.reserveBytes(resp.ContentLength) {
		return nil
	}
	return &postReply{
		c: c, guard: guard, held: resp.ContentLength, body: make([]byte, 0, resp.ContentLength),
		head: newObject(key, "", resp.StatusCode, resp.Header, judged, c.Now()),
	}
}

// teeBody returns the body to be passed on; the bytes read from it are copied.
func (p *postReply) teeBody(body io.Reader) io.Reader { return io.TeeReader(body, p) }

// Write copies the next bytes of the body.
func (p *postReply) Write(b []byte) (int, error) {
	// A body that is longer than announced fails in passBody.
	p.body = append(p.body, b[:min(len(b), cap(p.body)-len(p.body))]...)
	return len(b), nil
}

func (p *postReply) releaseBytes() { p.c.incomingBytes.Add(-p.held) }

// storeReply stores the reply, after its complete body was passed on.
func (p *postReply) storeReply(route Route) {
	var body [][]byte
	if len(p.body) > 0 {
		body = [][]byte{p.body}
	}
	o := p.head.withBody(body)
	if p.c.commit(o, &p.guard.marks) == nil && route.Replicate && p.c.cfg.OnStore != nil {
		p.c.cfg.OnStore(o)
	}
}
