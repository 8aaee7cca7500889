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
	asked  bool // by HEAD
	old    bool // by HTTP/1.0
	secure bool // over TLS
	misses int  // requests for other pages since
}

// forget lets the answer go, and keeps its room.
func (a *reply) forget() { a.size = 0 }

// begins reports whether b begins with the line that this answers.
func (a *reply) begins(b []byte) bool {
	return a.size > 0 && len(b) >= a.size && string(b[:a.size]) == string(a.line[:a.size])
}

// again finds the block with whose last answered request b begins, byte for byte,
// and has r say what that said.
func (k *known) again(r *request, b []byte) *block {
	for i := range k.blocks {
		one := &k.blocks[i]
		last := &one.last
		if last.begins(b) && isSame(b[last.size:], one.bytes[:one.size]) {
			last.ask(r, b)
			one.tell(r, last.size)
			return one
		}
	}
	return nil
}

// begins reports whether b begins with the line of some request that was answered last.
func (k *known) begins(b []byte) bool {
	for i := range k.blocks {
		if k.blocks[i].last.begins(b) {
			return true
		}
	}
	return false
}

// line reads the request line at the start of b, which is mostly one that was
// answered last.
func (k *known) line(r *request, b []byte) (at int, v verdict) {
	for i := range k.blocks {
		if last := &k.blocks[i].last; last.begins(b) {
			*r = request{asked: Asked{Fields: Fields{Key: r.asked.Key[:0]}}}
			last.ask(r, b)
			return last.size, plain
		}
	}
	return r.begin(b)
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

// fits reports whether the kept answer is one to a request with a given first line
// whose fields mean the same.
func (a *reply) fits(line []byte, r *rules) bool {
	return !r.draining && a.secure == r.secure && a.begins(line)
}

// gives is the kept answer to such a request; nil if there is none, or it does not
// hold any more.
func (a *reply) gives(line []byte, r *rules) []byte {
	if !a.fits(line, r) {
		return nil
	}
	at := r.at
	r.at = 0
	if !a.memo.Again(at) {
		a.forget()
		return nil
	}
	return a.whole
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
	if a.memo = q.asked.Memo; a.memo == nil || size > keptReply {
		return
	}
	a.whole = append(a.whole[:0], head...)
	for _, part := range body {
		a.whole = append(a.whole, part...)
	}
	a.size = copy(a.line[:], line)
	a.target, a.asked, a.old = len(q.asked.Target), q.asked.Head, q.old
	a.secure, a.misses = r.secure, 0
}
