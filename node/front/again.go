package front

import "bytes"

const (
	// keptLine bounds the request line of an answer that is kept, in bytes: a shop's
	// paths are shorter.
	keptLine = 256
	// keptReply bounds an answer that is kept, in bytes: a page of a shop in one
	// packet's flight, and its head. It is a copy, so that it goes out in one piece;
	// to send a longer one takes so long that nothing would be gained.
	keptReply = 16 << 10
	// keepEvery is of how many requests for other pages one has its answer kept in
	// place of the last: what most ask for stays.
	keepEvery = 8
)

// In a crowd most ask for one page, with one of a few browsers. So a block of fields
// has the last answer to a request with it, whole: while Hits says that it would be
// given again, it is, and nothing is looked up or put together.

// reply is an answer that may be given again.
type reply struct {
	line   [keptLine]byte // of the request that it answers, with its line end
	size   int            // bytes of line; 0: there is no answer
	target int            // bytes of the target in it
	whole  []byte         // head and body
	memo   Memo
	spare  Memo // room for that of the next
	asked  bool // by HEAD
	old    bool // by HTTP/1.0
	secure bool // over TLS
	ends   bool // the last of its connection
	misses int  // requests for other pages since
	wanted int  // so often in the stroke of a crowd (callers_linux.go)
}

// forget lets the answer go, and keeps its room.
func (a *reply) forget() { a.size = 0 }

// begins reports whether b begins with the line that this answers.
func (a *reply) begins(b []byte) bool {
	return a.size > 0 && len(b) >= a.size && string(b[:a.size]) == string(a.line[:a.size])
}

// whose is the block with whose last answered request b begins, byte for byte.
func (k *known) whose(b []byte) *block {
	for i := range k.blocks {
		one := &k.blocks[i]
		if one.last.begins(b) && isSame(b[one.last.size:], one.bytes[:one.size]) {
			return one
		}
	}
	return nil
}

// again is whose, and has r say what that request said.
func (k *known) again(r *request, b []byte) *block {
	one := k.whose(b)
	if one != nil {
		one.last.ask(r, b)
		one.tell(r, one.last.size)
	}
	return one
}

// answered is a kept answer with whose first line b begins.
func (k *known) answered(b []byte) *reply {
	for i := range k.blocks {
		if last := &k.blocks[i].last; last.begins(b) {
			return last
		}
	}
	return nil
}

// line reads the request line at the start of b, which is mostly one that was
// answered last.
func (k *known) line(r *request, b []byte) (at int, v verdict) {
	last := k.answered(b)
	if last == nil {
		return r.begin(b)
	}
	r.reset()
	last.ask(r, b)
	return last.size, plain
}

// ask has a request whose first line begins b say what that says.
func (a *reply) ask(r *request, b []byte) {
	at := len("GET ")
	if a.asked {
		at = len("HEAD ")
	}
	r.asked.Head, r.old, r.line = a.asked, a.old, a.size
	r.asked.Target = b[at : at+a.target]
}

// find is the block that has a kept answer to p, if p is just one request, after
// which its connection goes on; nil if there is none, which means nothing.
func (k *known) find(q *request, p []byte) *block {
	if k.whole {
		if one := k.whose(p); one != nil && len(p) == one.last.size+one.size {
			q.asked.Head, q.close = one.last.asked, one.last.ends
			return one
		}
		k.whole = false
	}
	if k.answered(p) == nil {
		return nil
	}
	v, one := k.parse(q, p)
	if v != plain || one == nil || q.size != len(p) || !one.last.begins(p[:q.line]) {
		return nil
	}
	return one
}

// confirm lets those kept answers go that were found for a crowd and do not hold any
// more, and gives how many will be given.
func (k *known) confirm(r *rules) (given int) {
	at := r.at
	for i := range k.blocks {
		last := &k.blocks[i].last
		if n := last.wanted; n > 0 {
			last.wanted = 0
			r.at = at
			if last.holds(r, n) {
				given += n
			}
		}
	}
	return given
}

// isSame reports whether b begins with another slice.
func isSame(b, with []byte) bool {
	if wordBytes == 8 { // the library's comparison takes 32 bytes at a time there
		return len(b) >= len(with) && string(b[:len(with)]) == string(with)
	}
	return common(b, with) == len(with)
}

// means reports whether the fields of a request say what the block's say.
func (k *block) means(q *request) bool {
	a := &q.asked
	return a.Directives == k.directives && q.close == k.close && q.keep == k.keep &&
		bytes.Equal(a.Host, k.host) && isSameValue(a.Encoding, k.encoding) &&
		isSameValue(a.NoneMatch, k.noneMatch) && isSameValue(a.Since, k.since)
}

// isSameValue compares the values of a field; that there is none is not an empty one.
func isSameValue(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// gives is the kept answer to a request whose first line is given and whose fields
// mean the same; nil if there is none, or it does not hold any more.
func (a *reply) gives(line []byte, r *rules) []byte {
	if r.draining || !a.begins(line) || !a.holds(r, 1) {
		return nil
	}
	return a.whole
}

// holds reports whether the kept answer is one by these rules, and counts it so often.
// If not, it is let go.
func (a *reply) holds(r *rules, times int) bool {
	at := r.at
	r.at = 0
	ok := a.size > 0 && a.secure == r.secure && a.memo.Again(at, times)
	if !ok {
		a.forget()
	}
	return ok
}

// wants reports whether the answer to a request with this first line is to be kept.
func (a *reply) wants(line []byte, r *rules) bool {
	if r.draining || len(line) > keptLine {
		return false
	}
	if a.size == 0 || a.begins(line) {
		return true
	}
	a.misses++
	return a.misses >= keepEvery
}

// keep takes an answer in, if it fits.
func (a *reply) keep(q *request, line, head []byte, body [][]byte, r *rules) {
	size := len(head)
	for _, part := range body {
		size += len(part)
	}
	if a.spare = q.asked.Memo; a.spare == nil || size > keptReply {
		return
	}
	a.memo, a.spare = a.spare, a.memo
	a.whole = append(a.whole[:0], head...)
	for _, part := range body {
		a.whole = append(a.whole, part...)
	}
	a.size = copy(a.line[:], line)
	a.target, a.asked, a.old = len(q.asked.Target), q.asked.Head, q.old
	a.secure, a.ends, a.misses = r.secure, q.close, 0
}
