package http1

// MaxRememberedLine limits a request line that is remembered, in bytes: a shop's paths
// are shorter.
const MaxRememberedLine = 256

// rememberedLine is the line of a request whose reply the caller has memoised beside a
// header block. In a crowd most clients request one page, so the line, too, is mostly
// parsed by comparing it.
type rememberedLine struct {
	bytes      [MaxRememberedLine]byte // with the line end
	size       int                     // of bytes in use; 0: no line is remembered
	targetSize int                     // bytes of the target in it
	isHEAD     bool
	isHTTP10   bool
	close      bool // the request ended its connection
}

// RememberLine remembers the line of a request that has the block's meaning. It must
// not be longer than MaxRememberedLine.
func (h *CachedHeader) RememberLine(r *Request, line []byte) {
	h.line.size = copy(h.line.bytes[:], line)
	h.line.targetSize = len(r.Target)
	h.line.isHEAD, h.line.isHTTP10, h.line.close = r.IsHEAD, r.IsHTTP10, r.Close
}

// ForgetLine forgets the remembered line. The HeaderCache does the same when the
// block gets another meaning.
func (h *CachedHeader) ForgetLine() { h.line.size = 0 }

// HasLine reports whether a line is remembered.
func (h *CachedHeader) HasLine() bool { return h.line.size > 0 }

// BeginsWithLine reports whether b begins with the remembered line.
func (h *CachedHeader) BeginsWithLine(b []byte) bool { return h.line.begins(b) }

func (l *rememberedLine) begins(b []byte) bool {
	return l.size > 0 && len(b) >= l.size && string(b[:l.size]) == string(l.bytes[:l.size])
}

// fillRequest sets a request, which begins with the line at the start of b, to its
// meaning.
func (l *rememberedLine) fillRequest(r *Request, b []byte) {
	at := len("GET ")
	if l.isHEAD {
		at = len("HEAD ")
	}
	r.IsHEAD, r.IsHTTP10, r.LineSize = l.isHEAD, l.isHTTP10, l.size
	r.Target = b[at : at+l.targetSize]
}

// parseLine parses the request line at the start of b, which is mostly a remembered one.
func (c *HeaderCache) parseLine(r *Request, b []byte) (at int, res ParseResult) {
	header := c.findLine(b)
	if header == nil {
		return r.parseFirstLine(b)
	}
	r.reset()
	header.line.fillRequest(r, b)
	return header.line.size, Plain
}

// findLine returns a block whose remembered line is at the start of b.
func (c *HeaderCache) findLine(b []byte) *CachedHeader {
	for i := range c.headers {
		if header := &c.headers[i]; header.line.begins(b) {
			return header
		}
	}
	return nil
}

// findRemembered returns the block whose remembered line and bytes are at the start of b.
func (c *HeaderCache) findRemembered(b []byte) *CachedHeader {
	for i := range c.headers {
		header := &c.headers[i]
		if header.line.begins(b) && hasPrefix(b[header.line.size:], header.bytes[:header.size]) {
			return header
		}
	}
	return nil
}

// parseRemembered parses the request at the start of b if findRemembered finds it.
func (c *HeaderCache) parseRemembered(r *Request, b []byte) *CachedHeader {
	header := c.findRemembered(b)
	if header != nil {
		header.line.fillRequest(r, b)
		header.fillRequest(r, header.line.size)
	}
	return header
}

// FindRemembered returns the block whose remembered line and meaning are those of the
// request in b, if b is exactly one request. It may miss such a block. Of r it always
// sets IsHEAD and Close, and not always the rest.
func (c *HeaderCache) FindRemembered(r *Request, b []byte) *CachedHeader {
	if c.lastWasExact {
		if header := c.findRemembered(b); header != nil && len(b) == header.line.size+header.size {
			r.IsHEAD, r.Close = header.line.isHEAD, header.line.close
			return header
		}
		c.lastWasExact = false
	}
	if c.findLine(b) == nil {
		return nil
	}
	res, header := c.Parse(r, b)
	if res != Plain || header == nil || r.Size != len(b) || !header.line.begins(b[:r.LineSize]) {
		return nil
	}
	return header
}
