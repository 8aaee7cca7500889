package front

import (
	"bytes"
	"time"
)

const (
	// maxRequest bounds what the lane reads of one request, in bytes: twice what
	// a browser sends with a shop's cookies. Longer ones are net/http's.
	maxRequest = 8 << 10
	// headRoom is the most that one reply's head may take, in bytes: what a cache
	// prepares, which is half of it at most, and the fields of the connection.
	headRoom = 4 << 10
	// headBytes is the room for heads of replies that go out in one write:
	// about twenty of a page's 400 bytes.
	headBytes = 8 << 10
	// maxParts bounds the pieces of memory in one write. The kernel takes 1,024;
	// with twenty heads there are forty pieces as a rule.
	maxParts = 64
)

// action is what is to be done after some requests have been read.
type action uint8

const (
	actionWait    action = iota // for more bytes
	actionFlush                 // write, then go on reading the same bytes
	actionLend                  // write, then let net/http answer the next request
	actionHandOff               // write, then leave the connection to net/http
	actionClose                 // write, then close
	actionDrop                  // close: nobody is there
)

// replyBatch is what a connection needs while it has bytes, and no longer: room for
// what comes in, and for the replies that go out together.
type replyBatch struct {
	input     [maxRequest]byte
	heads     [headBytes]byte
	headsUsed int // bytes of heads
	parts     [maxParts][]byte
	partCount int // of parts
	// tailInHeads is whether the last part lies in heads, so that what comes next there
	// belongs to the same piece.
	tailInHeads bool
	hasMemo     bool // some parts are kept answers, which must stay what they are
	replies     int64
	req         request
	headers     headerCache
	rules       answerRules // of this moment, for whoever answers
	vector      sendVector
}

// hasRoom reports whether another reply's head fits.
func (b *replyBatch) hasRoom() bool {
	return headBytes-b.headsUsed >= headRoom && b.partCount+2 <= maxParts
}

// unsent are the parts to be written.
func (b *replyBatch) unsent() [][]byte { return b.parts[:b.partCount] }

// clearReplies forgets what has gone out, and the stored pages that it was made of.
func (b *replyBatch) clearReplies() {
	clear(b.parts[:b.partCount])
	b.headsUsed, b.partCount, b.tailInHeads, b.hasMemo = 0, 0, false, false
}

// addHead adds what was appended to the free end of heads.
func (b *replyBatch) addHead(head []byte) {
	inside := len(head) > 0 && b.headsUsed < headBytes && &head[0] == &b.heads[b.headsUsed]
	if inside && b.tailInHeads {
		last := &b.parts[b.partCount-1]
		*last = (*last)[:len(*last)+len(head)]
	} else {
		b.parts[b.partCount] = head
		b.partCount++
	}
	if b.tailInHeads = inside; inside {
		b.headsUsed += len(head)
	}
}

// addBody adds a stored body. There is room for it.
func (b *replyBatch) addBody(body [][]byte) {
	for _, part := range body {
		if len(part) > 0 {
			b.parts[b.partCount] = part
			b.partCount++
			b.tailInHeads = false
		}
	}
}

// addMemo adds an answer that is kept.
func (b *replyBatch) addMemo(whole []byte) {
	b.parts[b.partCount] = whole
	b.partCount++
	b.tailInHeads, b.hasMemo = false, true
	b.replies++
}

// addRefusal adds the short reply that sends a client away; last is whether the
// connection ends with it.
func (b *replyBatch) addRefusal(last bool) {
	b.parts[b.partCount] = []byte(refusalFor(b.req.asked.Head, last))
	b.partCount++
	b.tailInHeads = false
}

// answerRules decide about requests beside what these say.
type answerRules struct {
	fast     FastHandler
	draining bool // every reply is its connection's last
	limits   *clientLimits
	client   clientKey
	gate     *gate  // before net/http; nil: it stands open
	overTLS  bool   // they come over TLS
	hsts     []byte // the line of Strict-Transport-Security; nil: none
	// at is a reading of hits.Now after the first request had come; 0: the clock is to
	// be looked at. Those behind it may have come later.
	at time.Duration
}

// hstsName begins the line; a page from an origin may have it already.
const hstsName = "\r\nStrict-Transport-Security:"

// appendHSTS adds the line to a head that has none.
func appendHSTS(head, line []byte) []byte {
	if bytes.Contains(head, []byte(hstsName)) {
		return head
	}
	return append(head, line...)
}

// answerRequests reads the requests in p and adds a reply for each, until there is no
// whole plain one left or no room. It gives the bytes that it has answered and
// what is to be done next; for stepLend the next request is b.req.size long.
func (b *replyBatch) answerRequests(p []byte, r *answerRules) (answered int, next action) {
	for answered < len(p) {
		if !b.hasRoom() {
			return answered, actionFlush
		}
		q := &b.req
		v, like := b.headers.parse(q, p[answered:])
		switch {
		case v == incomplete:
			return answered, actionWait
		case v == foreign:
			return answered, actionHandOff
		case !r.limits.allowRequest(r.client):
			b.addRefusal(true)
			return len(p), actionClose
		}
		if v == plain && like != nil {
			if whole := like.memo.replyFor(p[answered:answered+q.lineSize], r); whole != nil {
				b.addMemo(whole)
				answered += q.size
				if q.close {
					return answered, actionClose
				}
				continue
			}
		}
		head, body, ok := b.heads[b.headsUsed:b.headsUsed:headBytes], [][]byte(nil), v == plain
		if ok {
			head, body, ok = b.buildReply(head, p[answered:answered+q.lineSize], like, r)
		}
		if !ok {
			if !r.gate.shouldShed(kindBrowse) {
				return answered, actionLend
			}
			last := q.close || q.isHTTP10 || r.draining
			b.addRefusal(last)
			answered += q.size
			if last {
				return answered, actionClose
			}
			continue
		}
		if b.partCount+1+len(body) > maxParts {
			if b.partCount > 0 {
				return answered, actionFlush
			}
			return answered, actionLend
		}
		b.addHead(head)
		b.addBody(body)
		b.replies++
		answered += q.size
		if q.close || r.draining {
			return answered, actionClose
		}
	}
	return answered, actionWait
}

// buildReply appends the head of the reply to a plain request, with the empty line, and
// gives its body. line is the request's first; like is a block that says what its
// fields say, nil if none is known.
func (b *replyBatch) buildReply(head, line []byte, like *cachedHeader, r *answerRules) (whole []byte, body [][]byte, ok bool) {
	q := &b.req
	var last *memoisedReply
	if like != nil && !b.hasMemo && like.memo.shouldReplace(line, r) {
		last = &like.memo
	}
	q.asked.At, r.at = r.at, 0
	if q.asked.WantMemo = last != nil; q.asked.WantMemo {
		q.asked.Memo = last.spareMemo
	}
	if head, body, ok = r.fast.AppendHit(head, &q.asked); !ok {
		return head, nil, false
	}
	if q.isHTTP10 {
		head[len("HTTP/1.")] = '0'
	}
	if len(r.hsts) > 0 {
		head = appendHSTS(head, r.hsts)
	}
	switch {
	case r.draining || q.close && !q.isHTTP10:
		head = append(head, "Connection: close\r\n"...)
	case q.isHTTP10 && q.keepAlive && !q.close:
		head = append(head, "Connection: keep-alive\r\n"...)
	}
	head = append(head, "\r\n"...)
	if q.asked.WantMemo {
		last.store(q, line, head, body, r)
	}
	return head, body, true
}

// lacksLineEnd reports whether bytes that follow the beginning of a request cannot
// be its end, so that it need not be read again for them.
func lacksLineEnd(p []byte) bool { return bytes.IndexByte(p, '\n') < 0 }
