package front

import (
	"bytes"
	"time"

	"bramble/node/front/admission"
	"bramble/node/front/http1"
)

const (
	// maxRequest limits what the fast path reads of one request, in bytes: twice what a
	// browser sends with a shop's cookies. Longer ones are net/http's.
	maxRequest = 8 << 10
	// headRoom limits one reply's head, in bytes: what a cache prepares, which is half of
	// it at most, and the fields of the connection.
	headRoom = 4 << 10
	// headBytes is the room for the heads of replies that go out in one write: about
	// twenty of a page's 400 bytes.
	headBytes = 8 << 10
	// maxParts limits the pieces of memory in one write. The kernel takes 1,024; with
	// twenty heads there are forty pieces as a rule.
	maxParts = 64
)

// replyBuffers are what a connection needs only while it has input: room for that, and
// for the replies that go out together.
type replyBuffers struct {
	input     [maxRequest]byte
	heads     [headBytes]byte
	headsUsed int // bytes of heads
	parts     [maxParts][]byte
	partCount int // of parts
	// tailInHeads: the last part ends where the free end of heads begins, so that the next
	// head belongs to the same piece.
	tailInHeads bool
	hasMemo     bool // some parts are memoised replies, which must not change now
	replies     int64
	req         FastRequest
	headers     http1.HeaderCache
	memos       replyMemos
	rules       answerRules // of this moment
	vector      sendVector
}

// answerRules is everything besides a request itself that decides how it is answered.
type answerRules struct {
	handler  FastHandler
	draining bool // every reply is its connection's last
	limits   *admission.ClientLimits
	client   admission.ClientKey
	gate     *admission.Gate // before net/http; nil: it stands open
	overTLS  bool            // the requests arrive over TLS
	hsts     []byte          // the line of Strict-Transport-Security; nil: none
	// clock is a reading of handler.Now after the first request had arrived; 0: the clock
	// must be read. consumeClock returns it for that request alone.
	clock time.Duration
}

// consumeClock returns the clock reading for the next request, once: the requests after
// it may have arrived later.
func (r *answerRules) consumeClock() time.Duration {
	clock := r.clock
	r.clock = 0
	return clock
}

// setRules sets the rules of this moment for requests without TLS.
func (f *Front) setRules(r *answerRules) {
	r.handler, r.overTLS, r.hsts, r.draining = f.cfg.FastHandler, false, nil, f.isDraining.Load()
	r.limits, r.gate = f.limits, f.gate
}

// setConnRules sets the rules of this moment for a connection's requests.
func (f *Front) setConnRules(c *conn, r *answerRules) {
	f.setRules(r)
	r.client, r.clock = c.client, 0
	if c.tls != nil {
		r.handler, r.overTLS, r.hsts = f.https.cfg.FastHandler, true, f.https.hsts
	}
}

// answerRequests parses the requests in p and adds a reply for each, until no complete
// plain request or no room is left. It returns the bytes that it has answered and the
// action that is due; for actionLend the next request is b.req.Size long.
func (b *replyBuffers) answerRequests(p []byte, r *answerRules) (answered int, next action) {
	for answered < len(p) {
		if !b.hasRoom() {
			return answered, actionSendFirst
		}
		rest := p[answered:]
		res, header := b.headers.Parse(&b.req.Request, rest)
		switch {
		case res == http1.Incomplete:
			return answered, actionWait
		case res == http1.Foreign:
			return answered, actionHandOff
		case !r.limits.AllowRequest(r.client):
			b.addRefusal(true)
			return len(p), actionClose
		}
		line := rest[:b.req.LineSize]
		if memoised := b.memos.replyTo(header, line, r); memoised != nil {
			b.addMemoisedReply(memoised)
			next = waitOrClose(b.req.Close)
		} else if res == http1.Plain {
			next = b.answerPlain(line, header, r)
		} else {
			next = b.lendOrRefuse(r)
		}
		if next == actionSendFirst || next == actionLend {
			return answered, next // this request comes later
		}
		answered += b.req.Size
		if next == actionClose {
			return answered, next
		}
	}
	return answered, actionWait
}

// answerPlain adds the reply to the request in b.req, and returns the action that is due
// then. line is the request's first; header is a block with its meaning, nil if none is
// known.
func (b *replyBuffers) answerPlain(line []byte, header *http1.CachedHeader, r *answerRules) action {
	head, body, ok := b.buildReply(b.heads[b.headsUsed:b.headsUsed:headBytes], line, header, r)
	switch {
	case !ok:
		return b.lendOrRefuse(r)
	case b.partCount+1+len(body) <= maxParts:
		b.addHead(head)
		b.addBody(body)
		b.replies++
		return waitOrClose(b.req.Close || r.draining)
	case b.partCount > 0:
		return actionSendFirst
	}
	return actionLend
}

// lendOrRefuse has a request lent that only net/http can answer, or refuses it under
// load.
func (b *replyBuffers) lendOrRefuse(r *answerRules) action {
	if !r.gate.ShouldShed(admission.KindBrowse, string(b.req.Host)) {
		return actionLend
	}
	isLast := b.req.Close || b.req.IsHTTP10 || r.draining
	b.addRefusal(isLast)
	return waitOrClose(isLast)
}

func waitOrClose(isLast bool) action {
	if isLast {
		return actionClose
	}
	return actionWait
}

// buildReply appends the head of the reply to a plain request, with the empty line, to
// head, and returns its body. It memoises the reply if that is useful.
func (b *replyBuffers) buildReply(head, line []byte, header *http1.CachedHeader, r *answerRules) (out []byte, body [][]byte, ok bool) {
	q := &b.req
	var memo *replyMemo
	if header != nil && !b.hasMemo {
		memo = b.memos.toReplace(header, line, r)
	}
	q.At = r.consumeClock()
	if q.WantValidity, q.Validity = memo != nil, nil; q.WantValidity {
		q.Validity = memo.spare
	}
	if head, body, ok = r.handler.AppendHit(head, q); !ok {
		return head, nil, false
	}
	if q.IsHTTP10 {
		head[len("HTTP/1.")] = '0'
	}
	if len(r.hsts) > 0 {
		head = appendHSTS(head, r.hsts)
	}
	switch {
	case r.draining || q.Close && !q.IsHTTP10:
		head = append(head, "Connection: close\r\n"...)
	case q.IsHTTP10 && q.KeepAlive && !q.Close:
		head = append(head, "Connection: keep-alive\r\n"...)
	}
	head = append(head, "\r\n"...)
	if q.WantValidity {
		memo.store(q, line, head, body, r)
	}
	return head, body, true
}

// hstsName begins the line; a page from an origin may have it already.
const hstsName = "\r\nStrict-Transport-Security:"

// appendHSTS appends the line to a head that has none.
func appendHSTS(head, line []byte) []byte {
	if bytes.Contains(head, []byte(hstsName)) {
		return head
	}
	return append(head, line...)
}

// hasRoom reports whether another reply's head fits.
func (b *replyBuffers) hasRoom() bool {
	return headBytes-b.headsUsed >= headRoom && b.partCount+2 <= maxParts
}

func (b *replyBuffers) addMemoisedReply(reply []byte) {
	b.parts[b.partCount] = reply
	b.partCount++
	b.tailInHeads, b.hasMemo = false, true
	b.replies++
}

// addHead adds what was appended to the free end of heads.
func (b *replyBuffers) addHead(head []byte) {
	inHeadsBuffer := len(head) > 0 && b.headsUsed < headBytes && &head[0] == &b.heads[b.headsUsed]
	if inHeadsBuffer && b.tailInHeads {
		last := &b.parts[b.partCount-1]
		*last = (*last)[:len(*last)+len(head)]
	} else {
		b.parts[b.partCount] = head
		b.partCount++
	}
	if b.tailInHeads = inHeadsBuffer; inHeadsBuffer {
		b.headsUsed += len(head)
	}
}

// addBody adds a stored body. There is room for it.
func (b *replyBuffers) addBody(body [][]byte) {
	for _, part := range body {
		if len(part) > 0 {
			b.parts[b.partCount] = part
			b.partCount++
			b.tailInHeads = false
		}
	}
}

// addRefusal adds a refusal; isLast: the connection ends with it.
func (b *replyBuffers) addRefusal(isLast bool) {
	b.parts[b.partCount] = []byte(refusalFor(b.req.IsHEAD, isLast))
	b.partCount++
	b.tailInHeads = false
}

func (b *replyBuffers) unsent() [][]byte { return b.parts[:b.partCount] }

// clearReplies drops the parts, and so the stored pages in them.
func (b *replyBuffers) clearReplies() {
	clear(b.parts[:b.partCount])
	b.headsUsed, b.partCount, b.tailInHeads, b.hasMemo = 0, 0, false, false
}

// lacksLineEnd reports whether bytes that follow the beginning of a request cannot be
// its end, so that it need not be parsed again because of them.
func lacksLineEnd(p []byte) bool { return bytes.IndexByte(p, '\n') < 0 }
