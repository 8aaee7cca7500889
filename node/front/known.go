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
	// whole: the last request's fields were those of a block, to the byte; then the
	// next one's are likely to be, and are looked at so first.
	whole  bool
	walked int // how many requests were read by a block that they differ from
}

// block is what stands between the request line and the end of a plain request,
// the empty line included, and what its fields say. The values lie in its bytes.
type block struct {
	bytes       [knownBytes]byte
	size        int                 // of bytes in use; 0: none
	begins      [knownLines + 1]int // where each line begins, and the empty one behind them
	count       int                 // of lines
	bearing     [knownBearing]field // not to be ignored; places count from the block's beginning
	bears       int                 // of bearing
	borne       [knownLines + 1]int // how many of bearing stand before each line
	told        bool                // every line that is not to be ignored is in bearing
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
	if k.whole {
		if like = k.again(r, b); like != nil {
			return plain, like
		}
	}
	at, v := k.line(r, b)
	if v != plain {
		return v, nil
	}
	nearest, same := k.nearest(b[at:])
	k.whole = nearest != nil && same == nearest.size
	if k.whole {
		nearest.tell(r, at)
		return plain, nearest
	}
	t := trail{block: nearest, from: nearest, same: same}
	if v = r.fields(b, at, &t); v != plain {
		return v, nil
	}
	if !r.old && r.size-at <= knownBytes {
		if learnt := k.note(r, b[at:r.size], &t, nearest); learnt != nil {
			learnt.say(r) // what it said may have stood where the block is now
			return plain, learnt
		}
	}
	if nearest != nil && nearest.means(r) {
		return plain, nearest
	}
	return plain, nil
}

// nearest is the block that goes with b for longest, or for more than a half of it,
// nil if none goes with it at all, and for how many bytes.
func (k *known) nearest(b []byte) (best *block, same int) {
	for i := range k.blocks {
		one := &k.blocks[i]
		if n := common(b, one.bytes[:one.size]); n > same {
			best, same = one, n
			if 2*n > one.size {
				break // no two browsers have so much in common
			}
		}
	}
	return best, same
}

// note keeps a block that is new, and gives it; nil if it is not kept. One that is
// like another but for a few lines takes its place now and then, so that what most of
// a crowd sends is known whole in the end.
func (k *known) note(r *request, b []byte, t *trail, nearest *block) (learnt *block) {
	if t.skipped < t.read {
		learnt = &k.blocks[k.next]
		learnt.last.forget()
		k.next = (k.next + 1) % knownBlocks
	} else {
		if k.walked++; k.walked%renewEvery != 0 {
			return nil
		}
		if learnt = nearest; !learnt.means(r) {
			learnt.last.forget()
		}
	}
	learnt.learn(b)
	return learnt
}

// tell has a request whose fields begin at an index say what the block says.
func (k *block) tell(r *request, at int) {
	k.say(r)
	r.line, r.size = at, at+k.size
	r.version()
}

// say has a request say what the block says.
func (k *block) say(r *request) {
	a := &r.asked
	a.Host, a.Encoding, a.NoneMatch, a.Since, a.Directives = k.host, k.encoding, k.noneMatch, k.since, k.directives
	r.close, r.keep = k.close, k.keep
}

// learn keeps a block that has been read as a part of a plain request, and that fits.
// The kept answer stays: it is for who knows what both blocks say.
func (k *block) learn(b []byte) {
	k.size = copy(k.bytes[:], b)
	k.count, k.bears, k.told = 0, 0, true
	var all request
	for at := 0; k.bytes[at] != '\r'; {
		f, _ := readField(k.bytes[at:k.size]) // without a fault, as before
		f.from, f.to = at+f.from, at+f.to
		at += f.size
		if f.rule != ruleIgnore {
			all.take(f.rule, k.bytes[f.from:f.to:f.to])
		}
		if k.count == knownLines || f.rule != ruleIgnore && k.bears == knownBearing {
			k.told = false // from here on, lines are read each time
		}
		if !k.told {
			continue
		}
		if f.rule != ruleIgnore {
			k.bearing[k.bears] = f
			k.bears++
		}
		k.count++
		k.begins[k.count], k.borne[k.count] = at, k.bears
	}
	a := &all.asked
	k.host, k.encoding, k.noneMatch, k.since, k.directives = a.Host, a.Encoding, a.NoneMatch, a.Since, a.Directives
	k.close, k.keep = all.close, all.keep
}

// trail finds the lines of a request in a block that is much like it. What the lines
// say that both have is taken in at the end: as a rule that is all that the block
// says, and known already.
type trail struct {
	block         *block // nil: there is none, or it has been lost
	same          int    // bytes at its start that are known to be the request's too
	line          int    // of the block, which comes next
	missed        int    // lines since the last that was known
	read, skipped int    // lines that were unknown, and known

	from    *block // what block was
	met     [metMost]stretch
	mets    int // of met
	bearing int // lines of the block that bear on the request, in met
	own     int // lines of the request's own that do
}

// metMost bounds the stretches of lines that a request has in common with a block
// before they are taken in one after the other.
const metMost = 4

// stretch is lines of a block that stand so many bytes further on in a request.
type stretch struct{ line, end, more int }

// follow finds the lines from b[at:] on that the block has too, in their turn or
// behind lines that this request has not. It gives how many there are, and where the
// next one begins.
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
		t.met[t.mets] = stretch{line, end, at - begin}
		t.mets++
		t.bearing += k.borne[end] - k.borne[line]
		v = plain
		if t.own > 0 || t.mets == metMost {
			v = t.takeMet(r, b)
		}
		return end - line, at + k.begins[end] - begin, v
	}
	if t.missed++; t.missed > trailMisses {
		t.block = nil
	}
	return 0, at, plain
}

// takeMet has the request take in the lines that were met, line by line.
func (t *trail) takeMet(r *request, b []byte) (v verdict) {
	v = plain
	for _, s := range t.met[:t.mets] {
		for _, one := range t.from.bearing[t.from.borne[s.line]:t.from.borne[s.end]] {
			v = max(v, r.take(one.rule, b[s.more+one.from:s.more+one.to:s.more+one.to]))
		}
	}
	t.mets = 0
	t.own++
	return v
}

// takeOwn has the request take in a line that was read, and those before it.
func (t *trail) takeOwn(r *request, b []byte, rule rule, value []byte) (v verdict) {
	v = t.takeMet(r, b)
	return max(v, r.take(rule, value))
}

// finish takes in what was met last.
func (t *trail) finish(r *request, b []byte) verdict {
	if t.own == 0 && t.mets > 0 && t.from.told && t.bearing == t.from.bears {
		t.from.say(r)
		return plain
	}
	return t.takeMet(r, b)
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
