package front

import "unsafe"

const (
	// knownBlocks is how many header blocks a batch remembers: those of the
	// browsers that most of a crowd has.
	knownBlocks = 4
	// knownBytes bounds each, in bytes: a browser sends about 900, with cookies
	// up to twice that.
	knownBytes = 2 << 10
	// knownLines bounds the lines of a block that are told one by one.
	knownLines = 32
	// knownBearing bounds those of them that are not to be ignored: browsers send
	// five or six.
	knownBearing = 8
	// renewEvery is how many requests that differ from a block in a few lines are
	// read by it before one takes its place.
	renewEvery = 64
	// trailMisses is how many lines in a row may be unknown before a block is no
	// longer followed: a browser with a cookie has one or two.
	trailMisses = 3
)

// Most of a crowd has one of a few browsers, and each of these sends the same
// fields with every request for a page, byte for byte, but for a cookie or the
// page that it comes from. What a line means hangs on nothing but its bytes. So a
// batch keeps the last few blocks of fields that it has read, and what it made of
// them: to compare a request with them takes a tenth of the time to read it, and
// if some lines differ, only those are read.

// known are blocks of fields that were read before.
type known struct {
	blocks [knownBlocks]block
	next   int // the one that makes way
	walked int // how many requests were read by a block that they differ from
}

// block is what stands between the request line and the end of a plain request,
// the empty line included, and what its fields say. The values lie in its bytes.
type block struct {
	bytes   [knownBytes]byte
	size    int                 // of bytes in use; 0: none
	begins  [knownLines + 1]int // where each line begins, and the empty one behind them
	count   int                 // of lines
	bearing [knownBearing]struct {
		field     // its places counted from the block's beginning
		line  int // of the block
	}
	bears       int // lines that are not to be ignored
	host        []byte
	encoding    []byte
	noneMatch   []byte
	since       []byte
	directives  bool
	close, keep bool
	last        reply // to a request with these fields, or ones that say the same
}

// parse is request.parse, by what is known if it can. like is a block whose fields
// say what the request's say, if it is plain and there is one.
func (k *known) parse(r *request, b []byte) (v verdict, like *block) {
	if like = k.again(r, b); like != nil {
		return plain, like
	}
	at, v := r.begin(b)
	if v != plain {
		return v, nil
	}
	nearest, same := k.nearest(b[at:])
	if nearest != nil && same == nearest.size {
		nearest.tell(r, at)
		return plain, nearest
	}
	t := trail{block: nearest, same: same}
	if v = r.fields(b, at, &t); v != plain {
		return v, nil
	}
	if !r.old && r.size-at <= knownBytes {
		k.note(r, b[at:r.size], &t, nearest)
	}
	if nearest != nil && nearest.means(r) {
		return plain, nearest
	}
	return plain, nil
}

// nearest is the block that goes with b for longest, nil if none does, and for how
// many bytes.
func (k *known) nearest(b []byte) (best *block, same int) {
	for i := range k.blocks {
		one := &k.blocks[i]
		if n := common(b, one.bytes[:one.size]); n > same {
			best, same = one, n
			if n == one.size {
				break
			}
		}
	}
	return best, same
}

// note keeps a block that is new. One that is like another but for a few lines
// takes its place now and then, so that what most of a crowd sends is known whole
// in the end.
func (k *known) note(r *request, b []byte, t *trail, nearest *block) {
	if t.skipped < t.read {
		k.blocks[k.next].learn(r, b)
		k.next = (k.next + 1) % knownBlocks
		return
	}
	if k.walked++; k.walked%renewEvery == 0 {
		nearest.learn(r, b)
	}
}

// tell has a request whose fields begin at an index say what the block says.
func (k *block) tell(r *request, at int) {
	a := &r.asked
	a.Host, a.Encoding, a.NoneMatch, a.Since, a.Directives = k.host, k.encoding, k.noneMatch, k.since, k.directives
	r.close, r.keep, r.line, r.size = k.close, k.keep, at, at+k.size
	r.version()
}

// learn keeps a block that has been read, and that fits.
func (k *block) learn(r *request, b []byte) {
	a := &r.asked
	k.last.forget()
	k.size = copy(k.bytes[:], b)
	k.host, k.encoding = k.own(b, a.Host), k.own(b, a.Encoding)
	k.noneMatch, k.since = k.own(b, a.NoneMatch), k.own(b, a.Since)
	k.directives, k.close, k.keep = a.Directives, r.close, r.keep
	k.count, k.bears = 0, 0
	for at := 0; b[at] != '\r'; {
		f, _ := readField(b[at:]) // it has been read before, without a fault
		if k.count == knownLines || f.rule != ruleIgnore && k.bears == knownBearing {
			return // what is behind is read each time
		}
		if f.rule != ruleIgnore {
			one := &k.bearing[k.bears]
			one.field, one.line = f, k.count
			one.from, one.to = at+f.from, at+f.to
			k.bears++
		}
		at += f.size
		k.count++
		k.begins[k.count] = at
	}
}

// trail finds the lines of a request in a block that is much like it.
type trail struct {
	block         *block // nil: there is none, or it has been lost
	same          int    // bytes at its start that are known to be the request's too
	line          int    // of the block, which comes next
	missed        int    // lines since the last that was known
	read, skipped int    // lines that were unknown, and known
}

// follow has a request take in the lines from b[at:] on that the block has too, in
// their turn or behind lines that this request has not. It gives how many there
// are, and where the next one begins.
func (t *trail) follow(r *request, b []byte, at int) (lines, next int, v verdict) {
	k := t.block
	for line := t.line; line < k.count && line <= t.line+t.missed; line++ {
		begin := k.begins[line]
		same := t.same
		if t.same = 0; same == 0 && at < len(b) && b[at] == k.bytes[begin] {
			same = common(b[at:], k.bytes[begin:k.size])
		}
		end := line
		for end < k.count && k.begins[end+1] <= begin+same {
			end++
		}
		if end == line {
			continue
		}
		t.line, t.missed = end, 0
		t.skipped += end - line
		return end - line, at + k.begins[end] - begin, k.take(r, b, at-begin, line, end)
	}
	if t.missed++; t.missed > trailMisses {
		t.block = nil
	}
	return 0, at, plain
}

// take has a request take in some lines of the block, which begin as far into b as
// in the block, and by so many bytes more.
func (k *block) take(r *request, b []byte, more, line, end int) (v verdict) {
	v = plain
	for i := range k.bearing[:k.bears] {
		one := &k.bearing[i]
		if one.line < line || one.line >= end {
			continue
		}
		switch r.take(one.rule, b[more+one.from:more+one.to:more+one.to]) {
		case give:
			return give
		case lend:
			v = lend
		}
	}
	return v
}

// own is a part of the bytes that the block was copied from, in the block.
func (k *block) own(b, part []byte) []byte {
	if len(part) == 0 {
		return part // nil, or nothing: that stands nowhere
	}
	at := int(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	return k.bytes[at : at+len(part) : at+len(part)]
}

// common is how many bytes two slices have in common at their start. It reads words
// where they lie, which an ARM1176 and its successors can, and x86 can.
func common(a, b []byte) int {
	const words = 8
	n := min(len(a), len(b))
	i := 0
	for ; i <= n-words*wordBytes; i += words * wordBytes {
		p, q := (*[words]uint)(unsafe.Pointer(&a[i])), (*[words]uint)(unsafe.Pointer(&b[i]))
		if (p[0]^q[0])|(p[1]^q[1])|(p[2]^q[2])|(p[3]^q[3])|(p[4]^q[4])|(p[5]^q[5])|(p[6]^q[6])|(p[7]^q[7]) != 0 {
			break
		}
	}
	for ; i <= n-wordBytes; i += wordBytes {
		if *(*uint)(unsafe.Pointer(&a[i])) != *(*uint)(unsafe.Pointer(&b[i])) {
			break
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
