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

// step is what is to be done after some requests have been read.
type step uint8

const (
	stepWait  step = iota // for more bytes
	stepFlush             // write, then go on reading the same bytes
	stepLend              // write, then let net/http answer the next request
	stepGive              // write, then leave the connection to net/http
	stepClose             // write, then close
	stepDrop              // close: nobody is there
)

// batch is what a connection needs while it has bytes, and no longer: room for
// what comes in, and for the replies that go out together.
type batch struct {
	in    [maxRequest]byte
	heads [headBytes]byte
	used  int // bytes of heads
	parts [maxParts][]byte
	count int // of parts
	// tail is whether the last part lies in heads, so that what comes next there
	// belongs to the same piece.
	tail    bool
	kept    bool // some parts are kept answers, which must stay what they are
	replies int64
	req     request
	known   known
	rules   rules // of this moment, for whoever answers
	vector  vector
}

// room reports whether another reply's head fits.
func (b *batch) room() bool { return headBytes-b.used >= headRoom && b.count+2 <= maxParts }

// pieces are the parts to be written.
func (b *batch) pieces() [][]byte { return b.parts[:b.count] }

// written forgets what has gone out, and the stored pages that it was made of.
func (b *batch) written() {
	clear(b.parts[:b.count])
	b.used, b.count, b.tail, b.kept = 0, 0, false, false
}

// addHead adds what was appended to the free end of heads.
func (b *batch) addHead(head []byte) {
	inside := len(head) > 0 && b.used < headBytes && &head[0] == &b.heads[b.used]
	if inside && b.tail {
		last := &b.parts[b.count-1]
		*last = (*last)[:len(*last)+len(head)]
	} else {
		b.parts[b.count] = head
		b.count++
	}
	if b.tail = inside; inside {
		b.used += len(head)
	}
}

// addBody adds a stored body. There is room for it.
func (b *batch) addBody(body [][]byte) {
	for _, part := range body {
		if len(part) > 0 {
			b.parts[b.count] = part
			b.count++
			b.tail = false
		}
	}
}

// addKept adds an answer that is kept.
func (b *batch) addKept(whole []byte) {
	b.parts[b.count] = whole
	b.count++
	b.tail, b.kept = false, true
	b.replies++
}

// refuse adds the short reply that sends a client away; last is whether the
// connection ends with it.
func (b *batch) refuse(last bool) {
	b.parts[b.count] = []byte(refusalTo(b.req.asked.Head, last))
	b.count++
	b.tail = false
}

// rules decide about requests beside what these say.
type rules struct {
	hits     Hits
	draining bool // every reply is its connection's last
	limits   *limits
	client   client
	gate     *gate  // before net/http; nil: it stands open
	secure   bool   // they come over TLS
	strict   []byte // the line of Strict-Transport-Security; nil: none
	// at is a reading of hits.Now after the first request had come; 0: the clock is to
	// be looked at. Those behind it may have come later.
	at time.Duration
}

// strictName begins the line; a page from an origin may have it already.
const strictName = "\r\nStrict-Transport-Security:"

// strictly adds the line to a head that has none.
func strictly(head, line []byte) []byte {
	if bytes.Contains(head, []byte(strictName)) {
		return head
	}
	return append(head, line...)
}

// answer reads the requests in p and adds a reply for each, until there is no
// whole plain one left or no room. It gives the bytes that it has answered and
// what is to be done next; for stepLend the next request is b.req.size long.
func (b *batch) answer(p []byte, r *rules) (answered int, next step) {
	for answered < len(p) {
		if !b.room() {
			return answered, stepFlush
		}
		q := &b.req
		v, like := b.known.parse(q, p[answered:])
		switch {
		case v == more:
			return answered, stepWait
		case v == give:
			return answered, stepGive
		case !r.limits.asks(r.client):
			b.refuse(true)
			return len(p), stepClose
		}
		if v == plain && like != nil {
			if whole := like.last.gives(p[answered:answered+q.line], r); whole != nil {
				b.addKept(whole)
				answered += q.size
				if q.close {
					return answered, stepClose
				}
				continue
			}
		}
		head, body, ok := b.heads[b.used:b.used:headBytes], [][]byte(nil), v == plain
		if ok {
			head, body, ok = b.reply(head, p[answered:answered+q.line], like, r)
		}
		if !ok {
			if !r.gate.sheds(kindAsked) {
				return answered, stepLend
			}
			last := q.close || q.old || r.draining
			b.refuse(last)
			answered += q.size
			if last {
				return answered, stepClose
			}
			continue
		}
		if b.count+1+len(body) > maxParts {
			if b.count > 0 {
				return answered, stepFlush
			}
			return answered, stepLend
		}
		b.addHead(head)
		b.addBody(body)
		b.replies++
		answered += q.size
		if q.close || r.draining {
			return answered, stepClose
		}
	}
	return answered, stepWait
}

// reply appends the head of the reply to a plain request, with the empty line, and
// gives its body. line is the request's first; like is a block that says what its
// fields say, nil if none is known.
func (b *batch) reply(head, line []byte, like *block, r *rules) (whole []byte, body [][]byte, ok bool) {
	q := &b.req
	var last *reply
	if like != nil && !b.kept && like.last.wants(line, r) {
		last = &like.last
	}
	q.asked.At, r.at = r.at, 0
	if q.asked.Keep = last != nil; q.asked.Keep {
		q.asked.Memo = last.spare
	}
	if head, body, ok = r.hits.AppendHit(head, &q.asked); !ok {
		return head, nil, false
	}
	if q.old {
		head[len("HTTP/1.")] = '0'
	}
	if len(r.strict) > 0 {
		head = strictly(head, r.strict)
	}
	switch {
	case r.draining || q.close && !q.old:
		head = append(head, "Connection: close\r\n"...)
	case q.old && q.keep && !q.close:
		head = append(head, "Connection: keep-alive\r\n"...)
	}
	head = append(head, "\r\n"...)
	if q.asked.Keep {
		last.keep(q, line, head, body, r)
	}
	return head, body, true
}

// endless reports whether bytes that follow the beginning of a request cannot
// be its end, so that it need not be read again for them.
func endless(p []byte) bool { return bytes.IndexByte(p, '\n') < 0 }
