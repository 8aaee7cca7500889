package http1

const (
	// MaxCachedHeaders is the number of header blocks that a HeaderCache remembers: those
	// of the browsers that most of a crowd has.
	MaxCachedHeaders = 4
	// maxHeaderBytes limits the size of a block: a browser sends about 900 bytes, with
	// cookies up to twice that.
	maxHeaderBytes = 2 << 10
	// maxLines limits the lines of a block that can be matched one by one.
	maxLines = 32
	// maxSignificant limits the significant fields among them: browsers send five or six.
	maxSignificant = 8
	// relearnEvery: of the requests that differ from a block in a few lines, each 64th
	// replaces it.
	relearnEvery = 64
)

// HeaderCache remembers the last few header blocks and their meaning. Most of a crowd
// has one of a few browsers, and each of these sends the same fields with every request
// for a page, byte for byte, except for a cookie or the page that it comes from. The
// meaning of a line depends on its bytes alone, and comparing a request with a
// remembered block takes a tenth of the time of parsing it. If some lines differ, only
// those are parsed. The zero value is empty.
type HeaderCache struct {
	headers [MaxCachedHeaders]CachedHeader
	oldest  int // the one to be replaced next
	// lastWasExact: the last request's fields were those of a block, to the byte. The next
	// request's are likely to be too, so that is tried first.
	lastWasExact   bool
	partialMatches int // requests that were parsed with the help of a similar block
}

// CachedHeader is a header block: what follows a plain request's line, the empty line
// included, and what its fields mean. The values lie in its bytes.
type CachedHeader struct {
	index             int // in the HeaderCache
	bytes             [maxHeaderBytes]byte
	size              int                         // of bytes in use; 0: none
	lineStart         [maxLines + 1]int           // where each line begins, and the empty one after them
	lineCount         int                         // lines in use
	significant       [maxSignificant]headerField // not ignored; positions count from the block's beginning
	significantCount  int
	significantBefore [maxLines + 1]int // the number of significant fields before each line
	isComplete        bool              // every line that is not ignored is in significant
	host              []byte
	acceptEncoding    []byte
	ifNoneMatch       []byte
	ifModifiedSince   []byte
	hasDirectives     bool
	close, keepAlive  bool
	line              rememberedLine // of a request with these fields, or ones that mean the same
}

// Parse parses the request at the start of b with the remembered blocks' help. If the result is Plain, header is a block whose fields mean what the
// request's mean; nil if there is none.
func (c *HeaderCache) Parse(r *Request, b []byte) (res ParseResult, header *CachedHeader) {
	if c.lastWasExact {
		if header = c.parseRemembered(r, b); header != nil {
			return Plain, header
		}
	}
	at, res := c.parseLine(r, b)
	if res != Plain {
		return res, nil
	}
	closest, common := c.findClosest(b[at:])
	c.lastWasExact = closest != nil && common == closest.size
	if c.lastWasExact {
		closest.fillRequest(r, at)
		return Plain, closest
	}
	m := lineMatcher{candidate: closest, original: closest, commonBytes: common}
	if res = r.parseFields(b, at, &m); res != Plain {
		return res, nil
	}
	if !r.IsHTTP10 && r.Size-at <= maxHeaderBytes {
		if learnt := c.remember(r, b[at:r.Size], &m, closest); learnt != nil {
			learnt.fillFields(r) // r's values may lie where the block has been overwritten
			return Plain, learnt
		}
	}
	if closest != nil && closest.means(r) {
		return Plain, closest
	}
	return Plain, nil
}

// findClosest returns the block that has the most bytes in common with the start of b,
// or the first that has more than half of its own; nil if none has any.
func (c *HeaderCache) findClosest(b []byte) (closest *CachedHeader, common int) {
	for i := range c.headers {
		header := &c.headers[i]
		if n := commonPrefix(b, header.bytes[:header.size]); n > common {
			closest, common = header, n
			if 2*n > header.size {
				break // no two browsers have that much in common
			}
		}
	}
	return closest, common
}

// remember stores a block if it is new and returns it, otherwise nil. A block that is
// like another except for a few lines replaces that one now and then, so that what most
// of a crowd sends is an exact match in the end.
func (c *HeaderCache) remember(r *Request, b []byte, m *lineMatcher, closest *CachedHeader) (learnt *CachedHeader) {
	if m.linesMatched < m.linesRead {
		learnt = &c.headers[c.oldest]
		learnt.ForgetLine()
		learnt.index = c.oldest
		c.oldest = (c.oldest + 1) % MaxCachedHeaders
	} else {
		if c.partialMatches++; c.partialMatches%relearnEvery != 0 {
			return nil
		}
		if learnt = closest; !learnt.means(r) {
			learnt.ForgetLine()
		}
	}
	learnt.store(b)
	return learnt
}

// Index returns the block's index in its HeaderCache, below MaxCachedHeaders.
func (h *CachedHeader) Index() int { return h.index }

// fillRequest sets a request, whose fields begin at an index, to the block's meaning.
func (h *CachedHeader) fillRequest(r *Request, at int) {
	h.fillFields(r)
	r.LineSize, r.Size = at, at+h.size
	r.applyVersion()
}

// fillFields sets the fields of a request to those of the block.
func (h *CachedHeader) fillFields(r *Request) {
	r.Host, r.Encoding, r.NoneMatch, r.Since = h.host, h.acceptEncoding, h.ifNoneMatch, h.ifModifiedSince
	r.Directives, r.Close, r.KeepAlive = h.hasDirectives, h.close, h.keepAlive
}

// means reports whether the fields of a request mean what the block's mean.
func (h *CachedHeader) means(r *Request) bool {
	return r.Directives == h.hasDirectives && r.Close == h.close && r.KeepAlive == h.keepAlive &&
		string(r.Host) == string(h.host) && equalValue(r.Encoding, h.acceptEncoding) &&
		equalValue(r.NoneMatch, h.ifNoneMatch) && equalValue(r.Since, h.ifModifiedSince)
}

// store stores a block that has been parsed as a part of a plain request, and that
// fits. The remembered line stays: it is for fields that mean what both blocks mean.
func (h *CachedHeader) store(b []byte) {
	h.size = copy(h.bytes[:], b)
	h.lineCount, h.significantCount, h.isComplete = 0, 0, true
	var all Request
	for at := 0; h.bytes[at] != '\r'; {
		f, _ := parseField(h.bytes[at:h.size]) // it was Plain before
		f.from, f.to = at+f.from, at+f.to
		at += f.size
		if f.rule != ruleIgnore {
			all.applyField(f.rule, h.bytes[f.from:f.to:f.to])
		}
		if h.lineCount == maxLines || f.rule != ruleIgnore && h.significantCount == maxSignificant {
			h.isComplete = false // from here on, lines are parsed each time
		}
		if !h.isComplete {
			continue
		}
		if f.rule != ruleIgnore {
			h.significant[h.significantCount] = f
			h.significantCount++
		}
		h.lineCount++
		h.lineStart[h.lineCount], h.significantBefore[h.lineCount] = at, h.significantCount
	}
	h.host, h.acceptEncoding, h.ifNoneMatch, h.ifModifiedSince = all.Host, all.Encoding, all.NoneMatch, all.Since
	h.hasDirectives, h.close, h.keepAlive = all.Directives, all.Close, all.KeepAlive
}
