package front

import "unsafe"

const (
	// maxCachedHeaders is how many header blocks a batch remembers: those of the
	// browsers that most of a crowd has.
	maxCachedHeaders = 4
	// maxHeaderBytes bounds each, in bytes: a browser sends about 900, with cookies
	// up to twice that.
	maxHeaderBytes = 2 << 10
	// maxLines bounds the lines of a block that are told one by one.
	maxLines = 32
	// maxSignificant bounds those of them that are not to be ignored: browsers send
	// five or six.
	maxSignificant = 8
	// relearnEvery is how many requests that differ from a block in a few lines are
	// read by it before one takes its place.
	relearnEvery = 64
	// maxMisses is how many lines in a row may be unknown before a block is no
	// longer followed: a browser with a cookie has one or two.
	maxMisses = 3
)

// Most of a crowd has one of a few browsers, and each of these sends the same
// fields with every request for a page, byte for byte, but for a cookie or the
// page that it comes from. What a line means hangs on nothing but its bytes. So a
// batch keeps the last few blocks of fields that it has read, and what it made of
// them: to compare a request with them takes a tenth of the time to read it, and
// if some lines differ, only those are read.

// headerCache are blocks of fields that were read before.
type headerCache struct {
	headers [maxCachedHeaders]cachedHeader
	oldest  int // the one that makes way
	// lastWasExact: the last request's fields were those of a block, to the byte; then the
	// next one's are likely to be, and are looked at so first.
	lastWasExact   bool
	partialMatches int // how many requests were read by a block that they differ from
}

// cachedHeader is what stands between the request line and the end of a plain request,
// the empty line included, and what its fields say. The values lie in its bytes.
type cachedHeader struct {
	bytes             [maxHeaderBytes]byte
	size              int                         // of bytes in use; 0: none
	lineStart         [maxLines + 1]int           // where each line begins, and the empty one behind them
	lineCount         int                         // of lines
	significant       [maxSignificant]headerField // not to be ignored; places count from the block's beginning
	significantCount  int                         // of bearing
	significantBefore [maxLines + 1]int           // how many of bearing stand before each line
	isComplete        bool                        // every line that is not to be ignored is in bearing
	host              []byte
	acceptEncoding    []byte
	ifNoneMatch       []byte
	ifModifiedSince   []byte
	hasDirectives     bool
	close, keepAlive  bool
	memo              memoisedReply // to a request with these fields, or ones that say the same
}

// parse is request.parse, by what is known if it can. like is a block whose fields
// say what the request's say, if it is plain and there is one.
func (k *headerCache) parse(r *request, b []byte) (v parseResult, like *cachedHeader) {
	if k.lastWasExact {
		if like = k.parseExact(r, b); like != nil {
			return plain, like
		}
	}
	at, v := k.parseLine(r, b)
	if v != plain {
		return v, nil
	}
	nearest, same := k.findClosest(b[at:])
	k.lastWasExact = nearest != nil && same == nearest.size
	if k.lastWasExact {
		nearest.fillRequest(r, at)
		return plain, nearest
	}
	t := lineMatcher{header: nearest, source: nearest, sameBytes: same}
	if v = r.parseFields(b, at, &t); v != plain {
		return v, nil
	}
	if !r.isHTTP10 && r.size-at <= maxHeaderBytes {
		if learnt := k.remember(r, b[at:r.size], &t, nearest); learnt != nil {
			learnt.fillFields(r) // what it said may have stood where the block is now
			return plain, learnt
		}
	}
	if nearest != nil && nearest.means(r) {
		return plain, nearest
	}
	return plain, nil
}

// findClosest is the block that goes with b for longest, or for more than a half of it,
// nil if none goes with it at all, and for how many bytes.
func (k *headerCache) findClosest(b []byte) (best *cachedHeader, same int) {
	for i := range k.headers {
		one := &k.headers[i]
		if n := commonPrefix(b, one.bytes[:one.size]); n > same {
			best, same = one, n
			if 2*n > one.size {
				break // no two browsers have so much in common
			}
		}
	}
	return best, same
}

// remember keeps a block that is new, and gives it; nil if it is not kept. One that is
// like another but for a few lines takes its place now and then, so that what most of
// a crowd sends is known whole in the end.
func (k *headerCache) remember(r *request, b []byte, t *lineMatcher, nearest *cachedHeader) (learnt *cachedHeader) {
	if t.linesMatched < t.linesRead {
		learnt = &k.headers[k.oldest]
		learnt.memo.forget()
		k.oldest = (k.oldest + 1) % maxCachedHeaders
	} else {
		if k.partialMatches++; k.partialMatches%relearnEvery != 0 {
			return nil
		}
		if learnt = nearest; !learnt.means(r) {
			learnt.memo.forget()
		}
	}
	learnt.store(b)
	return learnt
}

// fillRequest has a request whose fields begin at an index say what the block says.
func (k *cachedHeader) fillRequest(r *request, at int) {
	k.fillFields(r)
	r.lineSize, r.size = at, at+k.size
	r.applyVersion()
}

// fillFields has a request say what the block says.
func (k *cachedHeader) fillFields(r *request) {
	a := &r.asked
	a.Host, a.Encoding, a.NoneMatch, a.Since, a.Directives = k.host, k.acceptEncoding, k.ifNoneMatch, k.ifModifiedSince, k.hasDirectives
	r.close, r.keepAlive = k.close, k.keepAlive
}

// store keeps a block that has been read as a part of a plain request, and that fits.
// The kept answer stays: it is for who knows what both blocks say.
func (k *cachedHeader) store(b []byte) {
	k.size = copy(k.bytes[:], b)
	k.lineCount, k.significantCount, k.isComplete = 0, 0, true
	var all request
	for at := 0; k.bytes[at] != '\r'; {
		f, _ := parseField(k.bytes[at:k.size]) // without a fault, as before
		f.from, f.to = at+f.from, at+f.to
		at += f.size
		if f.rule != ruleIgnore {
			all.applyField(f.rule, k.bytes[f.from:f.to:f.to])
		}
		if k.lineCount == maxLines || f.rule != ruleIgnore && k.significantCount == maxSignificant {
			k.isComplete = false // from here on, lines are read each time
		}
		if !k.isComplete {
			continue
		}
		if f.rule != ruleIgnore {
			k.significant[k.significantCount] = f
			k.significantCount++
		}
		k.lineCount++
		k.lineStart[k.lineCount], k.significantBefore[k.lineCount] = at, k.significantCount
	}
	a := &all.asked
	k.host, k.acceptEncoding, k.ifNoneMatch, k.ifModifiedSince, k.hasDirectives = a.Host, a.Encoding, a.NoneMatch, a.Since, a.Directives
	k.close, k.keepAlive = all.close, all.keepAlive
}

// lineMatcher finds the lines of a request in a block that is much like it. What the lines
// say that both have is taken in at the end: as a rule that is all that the block
// says, and known already.
type lineMatcher struct {
	header                  *cachedHeader // nil: there is none, or it has been lost
	sameBytes               int           // bytes at its start that are known to be the request's too
	line                    int           // of the block, which comes next
	misses                  int           // lines since the last that was known
	linesRead, linesMatched int           // lines that were unknown, and known

	source       *cachedHeader // what block was
	spans        [maxSpans]lineSpan
	spanCount    int // of met
	significant  int // lines of the block that bear on the request, in met
	linesApplied int // lines of the request's own that do
}

// maxSpans bounds the stretches of lines that a request has in common with a block
// before they are taken in one after the other.
const maxSpans = 4

// lineSpan is lines of a block that stand so many bytes further on in a request.
type lineSpan struct{ line, end, shift int }

// matchLines finds the lines from b[at:] on that the block has too, in their turn or
// behind lines that this request has not. It gives how many there are, and where the
// next one begins.
func (t *lineMatcher) matchLines(r *request, b []byte, at int) (lines, next int, v parseResult) {
	k := t.header
	for line := t.line; line < k.lineCount && line <= t.line+t.misses; line++ {
		begin := k.lineStart[line]
		same := t.sameBytes
		if t.sameBytes = 0; same == 0 && at < len(b) && b[at] == k.bytes[begin] {
			same = commonPrefix(b[at:], k.bytes[begin:k.size])
		}
		end := line
		for end < k.lineCount && k.lineStart[end+1] <= begin+same {
			end++
		}
		if end == line {
			continue
		}
		t.line, t.misses = end, 0
		t.linesMatched += end - line
		t.spans[t.spanCount] = lineSpan{line, end, at - begin}
		t.spanCount++
		t.significant += k.significantBefore[end] - k.significantBefore[line]
		v = plain
		if t.linesApplied > 0 || t.spanCount == maxSpans {
			v = t.applySpans(r, b)
		}
		return end - line, at + k.lineStart[end] - begin, v
	}
	if t.misses++; t.misses > maxMisses {
		t.header = nil
	}
	return 0, at, plain
}

// applySpans has the request take in the lines that were met, line by line.
func (t *lineMatcher) applySpans(r *request, b []byte) (v parseResult) {
	v = plain
	for _, s := range t.spans[:t.spanCount] {
		for _, one := range t.source.significant[t.source.significantBefore[s.line]:t.source.significantBefore[s.end]] {
			v = max(v, r.applyField(one.rule, b[s.shift+one.from:s.shift+one.to:s.shift+one.to]))
		}
	}
	t.spanCount = 0
	t.linesApplied++
	return v
}

// applyOwnLine has the request take in a line that was read, and those before it.
func (t *lineMatcher) applyOwnLine(r *request, b []byte, rule fieldRule, value []byte) (v parseResult) {
	v = t.applySpans(r, b)
	return max(v, r.applyField(rule, value))
}

// applyRest takes in what was met last.
func (t *lineMatcher) applyRest(r *request, b []byte) parseResult {
	if t.linesApplied == 0 && t.spanCount > 0 && t.source.isComplete && t.significant == t.source.significantCount {
		t.source.fillFields(r)
		return plain
	}
	return t.applySpans(r, b)
}

// commonPrefix is how many bytes two slices have in common at their start. It reads words
// where they lie, which an ARM1176 and its successors can, and x86 can.
func commonPrefix(a, b []byte) int {
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
