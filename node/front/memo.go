package front

import "bytes"

const (
	// maxMemoLine bounds the request line of an answer that is kept, in bytes: a shop's
	// paths are shorter.
	maxMemoLine = 256
	// maxMemoReply bounds an answer that is kept, in bytes: a page of a shop in one
	// packet's flight, and its head. It is a copy, so that it goes out in one piece;
	// to send a longer one takes so long that nothing would be gained.
	maxMemoReply = 16 << 10
	// replaceEvery is of how many requests for other pages one has its answer kept in
	// place of the last: what most ask for stays.
	replaceEvery = 8
)

// In a crowd most ask for one page, with one of a few browsers. So a block of fields
// has the last answer to a request with it, whole: while Hits says that it would be
// given again, it is, and nothing is looked up or put together.

// memoisedReply is an answer that may be given again.
type memoisedReply struct {
	requestLine [maxMemoLine]byte // of the request that it answers, with its line end
	lineSize    int               // bytes of line; 0: there is no answer
	targetSize  int               // bytes of the target in it
	bytes       []byte            // head and body
	validity    ResponseMemo
	spareMemo   ResponseMemo // room for that of the next
	isHEAD      bool         // by HEAD
	isHTTP10    bool         // by HTTP/1.0
	overTLS     bool         // over TLS
	isLast      bool         // the last of its connection
	misses      int          // requests for other pages since
	pendingUses int          // so often in the stroke of a crowd (callers_linux.go)
}

// forget lets the answer go, and keeps its room.
func (a *memoisedReply) forget() { a.lineSize = 0 }

// matchesLine reports whether b begins with the line that this answers.
func (a *memoisedReply) matchesLine(b []byte) bool {
	return a.lineSize > 0 && len(b) >= a.lineSize && string(b[:a.lineSize]) == string(a.requestLine[:a.lineSize])
}

// findExact is the block with whose last answered request b begins, byte for byte.
func (k *headerCache) findExact(b []byte) *cachedHeader {
	for i := range k.headers {
		one := &k.headers[i]
		if one.memo.matchesLine(b) && hasPrefix(b[one.memo.lineSize:], one.bytes[:one.size]) {
			return one
		}
	}
	return nil
}

// parseExact is whose, and has r say what that request said.
func (k *headerCache) parseExact(r *request, b []byte) *cachedHeader {
	one := k.findExact(b)
	if one != nil {
		one.memo.fillRequest(r, b)
		one.fillRequest(r, one.memo.lineSize)
	}
	return one
}

// findLine is a kept answer with whose first line b begins.
func (k *headerCache) findLine(b []byte) *memoisedReply {
	for i := range k.headers {
		if last := &k.headers[i].memo; last.matchesLine(b) {
			return last
		}
	}
	return nil
}

// parseLine reads the request line at the start of b, which is mostly one that was
// answered last.
func (k *headerCache) parseLine(r *request, b []byte) (at int, v parseResult) {
	last := k.findLine(b)
	if last == nil {
		return r.parseFirstLine(b)
	}
	r.reset()
	last.fillRequest(r, b)
	return last.lineSize, plain
}

// fillRequest has a request whose first line begins b say what that says.
func (a *memoisedReply) fillRequest(r *request, b []byte) {
	at := len("GET ")
	if a.isHEAD {
		at = len("HEAD ")
	}
	r.asked.Head, r.isHTTP10, r.lineSize = a.isHEAD, a.isHTTP10, a.lineSize
	r.asked.Target = b[at : at+a.targetSize]
}

// findMemo is the block that has a kept answer to p, if p is just one request, after
// which its connection goes on; nil if there is none, which means nothing.
func (k *headerCache) findMemo(q *request, p []byte) *cachedHeader {
	if k.lastWasExact {
		if one := k.findExact(p); one != nil && len(p) == one.memo.lineSize+one.size {
			q.asked.Head, q.close = one.memo.isHEAD, one.memo.isLast
			return one
		}
		k.lastWasExact = false
	}
	if k.findLine(p) == nil {
		return nil
	}
	v, one := k.parse(q, p)
	if v != plain || one == nil || q.size != len(p) || !one.memo.matchesLine(p[:q.lineSize]) {
		return nil
	}
	return one
}

// confirmMemos lets those kept answers go that were found for a crowd and do not hold any
// more, and gives how many will be given.
func (k *headerCache) confirmMemos(r *answerRules) (given int) {
	at := r.at
	for i := range k.headers {
		last := &k.headers[i].memo
		if n := last.pendingUses; n > 0 {
			last.pendingUses = 0
			r.at = at
			if last.revalidate(r, n) {
				given += n
			}
		}
	}
	return given
}

// hasPrefix reports whether b begins with another slice.
func hasPrefix(b, with []byte) bool {
	if wordBytes == 8 { // the library's comparison takes 32 bytes at a time there
		return len(b) >= len(with) && string(b[:len(with)]) == string(with)
	}
	return commonPrefix(b, with) == len(with)
}

// means reports whether the fields of a request say what the block's say.
func (k *cachedHeader) means(q *request) bool {
	a := &q.asked
	return a.Directives == k.hasDirectives && q.close == k.close && q.keepAlive == k.keepAlive &&
		bytes.Equal(a.Host, k.host) && equalValue(a.Encoding, k.acceptEncoding) &&
		equalValue(a.NoneMatch, k.ifNoneMatch) && equalValue(a.Since, k.ifModifiedSince)
}

// equalValue compares the values of a field; that there is none is not an empty one.
func equalValue(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// replyFor is the kept answer to a request whose first line is given and whose fields
// mean the same; nil if there is none, or it does not hold any more.
func (a *memoisedReply) replyFor(line []byte, r *answerRules) []byte {
	if r.draining || !a.matchesLine(line) || !a.revalidate(r, 1) {
		return nil
	}
	return a.bytes
}

// revalidate reports whether the kept answer is one by these rules, and counts it so often.
// If not, it is let go.
func (a *memoisedReply) revalidate(r *answerRules, times int) bool {
	at := r.at
	r.at = 0
	ok := a.lineSize > 0 && a.overTLS == r.overTLS && a.validity.StillValid(at, times)
	if !ok {
		a.forget()
	}
	return ok
}

// shouldReplace reports whether the answer to a request with this first line is to be kept.
func (a *memoisedReply) shouldReplace(line []byte, r *answerRules) bool {
	if r.draining || len(line) > maxMemoLine {
		return false
	}
	if a.lineSize == 0 || a.matchesLine(line) {
		return true
	}
	a.misses++
	return a.misses >= replaceEvery
}

// store takes an answer in, if it fits.
func (a *memoisedReply) store(q *request, line, head []byte, body [][]byte, r *answerRules) {
	size := len(head)
	for _, part := range body {
		size += len(part)
	}
	if a.spareMemo = q.asked.Memo; a.spareMemo == nil || size > maxMemoReply {
		return
	}
	a.validity, a.spareMemo = a.spareMemo, a.validity
	a.bytes = append(a.bytes[:0], head...)
	for _, part := range body {
		a.bytes = append(a.bytes, part...)
	}
	a.lineSize = copy(a.requestLine[:], line)
	a.targetSize, a.isHEAD, a.isHTTP10 = len(q.asked.Target), q.asked.Head, q.isHTTP10
	a.overTLS, a.isLast, a.misses = r.overTLS, q.close, 0
}
