package cache

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// A partial reply (206) is stored beside the page's variants, under a key of its own,
// as a variant that varies on Range. It answers the same Range again, and each range
// inside it. Parts are joined, and completed by a request for what is missing, only
// under one strong validator (RFC 9111 §3.3, §3.4, RFC 9110 §15.3.7.3). They are never
// sent to other boards.

// partsMark ends the key under which the parts of a page are stored. No URL has a NUL
// in it.
const partsMark = "\x00parts"

func partsKey(key string) string { return key + partsMark }

func isPartsKey(key string) bool { return strings.HasSuffix(key, partsMark) }

// singleRange returns the request's Range if it is a single range of bytes. Such a
// range of a page that is not stored is sent upstream as it is: to fetch a complete
// film because a client seeks to the middle would be useless.
func singleRange(r *http.Request) (string, bool) {
	lines := r.Header["Range"]
	if r.Method != http.MethodGet || len(lines) != 1 {
		return "", false
	}
	parts, kind := parseRange(lines[0], 1<<62)
	return lines[0], kind == rangePart && len(parts) == 1 && !strings.Contains(lines[0], ",")
}

// bodyExtent returns the range of the page that a partial reply's body covers: claimed
// is the range in its Content-Range, have the part of it that has arrived. A body that
// is shorter than claimed counts for the bytes that it has.
func (o *Object) bodyExtent() (claimed, have byteRange, size int64, ok bool) {
	claimed, size, ok = parseContentRange(o.fieldLines("Content-Range"))
	have = byteRange{claimed.offset, o.size}
	return claimed, have, size, ok && o.size > 0 && o.size <= claimed.length
}

// answerFromParts answers a request for a range from a stored part that contains it.
func (l *lookup) answerFromParts() bool {
	c, r := l.c, l.r
	text, ok := singleRange(r)
	if !ok || len(r.Header["If-None-Match"]) > 0 || len(r.Header["If-Modified-Since"]) > 0 {
		return false
	}
	parts := c.store.get(partsKey(l.key))
	for _, o := range parts {
		if o.Matches(r) && l.isPartUsable(o) {
			_, have, size, _ := o.bodyExtent()
			l.writeStoredPart(o, have, o.Field("Content-Range"), size)
			return true
		}
	}
	for _, o := range parts {
		claimed, have, size, ok := o.bodyExtent()
		if !ok || !l.isPartUsable(o) {
			continue
		}
		wanted, kind := parseRange(text, size)
		if kind != rangePart || !claimed.contains(wanted[0]) || wanted[0].offset >= have.end() {
			continue
		}
		// A 206 states its range, so it may have less than was requested
		// (RFC 9110 §15.3.7).
		part := wanted[0]
		part.length = min(part.length, have.end()-part.offset)
		l.writeStoredPart(o, part, contentRange(part, size), size)
		return true
	}
	return false
}

// isPartUsable applies to a part the rules that answerFromMemory applies to a
// complete reply.
func (l *lookup) isPartUsable(o *Object) bool {
	now := l.c.Now()
	if !o.isFresh(now) || !l.route.acceptsAge(o, now) || !matchesVariantKey(withoutRange(o.variantKey), l.r) || !ifRangeHolds(l.r, o, l.c.cfg.Now()) {
		return false
	}
	if !l.c.cfg.ClientDirectives {
		return true
	}
	usable := true
	return parseControl(l.r.Header["Cache-Control"]).acceptsStored(o, now, &usable, l.r)
}

// writeStoredPart writes the bytes of a stored part that lie at part in the page.
func (l *lookup) writeStoredPart(o *Object, part byteRange, at string, size int64) {
	c, h := l.c, l.w.Header()
	now := c.Now()
	_, have, _, _ := o.bodyExtent()
	c.counters.hits.Add(1)
	o.putFields(h, nil)
	setAge(h, o.age(now))
	h["Content-Range"] = []string{at}
	c.signReply(h, c.newCacheStatus().addFlag("hit").addTTL(o.ttl(now)))
	part.offset -= have.offset
	l.writePart(http.StatusPartialContent, o, part)
}

func withRange(variant, text string) string { return variant + "range\x00+" + trimOWS(text) + "\x00" }

func withoutRange(variant string) string {
	if i := strings.LastIndex(variant, "range\x00+"); i == 0 || i > 0 && variant[i-1] == 0 {
		return variant[:i]
	}
	return variant
}

// joinStored returns the object to store for a partial reply: joined with the stored parts
// if the rules allow it, and the complete page if nothing is missing then. It returns nil
// if the reply contradicts its Content-Range.
func (f *flight) joinStored(o *Object) *Object {
	c := f.c
	_, have, size, ok := o.bodyExtent()
	if !ok {
		return nil
	}
	o.key = partsKey(f.id.url)
	variant := withoutRange(o.variantKey)
	for _, p := range c.store.peek(o.key) {
		_, other, total, _ := p.bodyExtent()
		if total != size || withoutRange(p.variantKey) != variant || !sameStrong(o, p) ||
			max(have.end(), other.end())-min(have.offset, other.offset) > c.cfg.MaxObject ||
			have.offset > other.end() || other.offset > have.end() {
			continue
		}
		o, have = joinParts(o, have, p, other), byteRange{min(have.offset, other.offset), 0}
		have.length = o.size
		o.head = replaceField(o.head, "Content-Range", contentRange(have, size))
		o.variantKey = withRange(variant, strings.Replace(contentRange(have, -1), " ", "=", 1))
		c.store.dropMatching(o.key, func(x *Object) bool { return x == p })
	}
	if have.length == size {
		o = o.withBody(o.body)
		o.key, o.variantKey, o.status = f.id.url, variant, http.StatusOK
		o.head = replaceField(o.head, "Content-Range", "")
	}
	return o
}

// sameStrong reports whether two objects have the same strong entity tag.
func sameStrong(a, b *Object) bool {
	etag := a.Field("Etag")
	return strongETag(etag) && etag == b.Field("Etag")
}

// joinParts joins two parts that touch or overlap. The fields are those of the
// younger, o (RFC 9111 §3.4).
func joinParts(o *Object, own byteRange, p *Object, other byteRange) *Object {
	from, to := min(own.offset, other.offset), max(own.end(), other.end())
	var all bytes.Buffer
	all.Grow(int(to - from))
	first, second, end := o, p, own.end()
	if other.offset < own.offset {
		first, second, end = p, o, other.end()
		own, other = other, own
	}
	// Writes to a buffer cannot fail.
	_ = first.writeBody(&all, byteRange{0, first.size})
	if rest := other.end() - end; rest > 0 {
		_ = second.writeBody(&all, byteRange{second.size - rest, rest})
	}
	return o.withBody([][]byte{exactCopy(all.Bytes())})
}

// replaceField sets a field that occurs once in flattened fields; an empty value
// removes it.
func replaceField(head, name, value string) string {
	var b strings.Builder
	for head != "" {
		line, rest, _ := strings.Cut(head, "\r\n")
		head = rest
		if !strings.HasPrefix(line, name+": ") {
			b.WriteString(line + "\r\n")
		} else if value != "" {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	return b.String()
}

// findCompletable returns a stored part that one more range would complete; nil if there
// is none.
func (l *lookup) findCompletable() *Object {
	if l.r.Method != http.MethodGet {
		return nil
	}
	for _, o := range l.c.store.peek(partsKey(l.key)) {
		_, have, size, ok := o.bodyExtent()
		if ok && size <= l.c.cfg.MaxObject && strongETag(o.Field("Etag")) && matchesVariantKey(withoutRange(o.variantKey), l.r) &&
			(have.offset == 0 || have.end() == size) {
			return o
		}
	}
	return nil
}

// missingRange is the one range that a part lacks.
func missingRange(o *Object) byteRange {
	_, have, size, _ := o.bodyExtent()
	if have.offset > 0 {
		return byteRange{0, have.offset}
	}
	return byteRange{have.end(), size - have.end()}
}

// requestMissing turns the flight's request into one for the range that the part lacks.
func (f *flight) requestMissing() {
	lacks := missingRange(f.part)
	_, _, size, _ := f.part.bodyExtent()
	text, _, _ := strings.Cut(contentRange(lacks, size), "/")
	text = strings.Replace(text, " ", "=", 1)
	if lacks.end() == size {
		text = text[:strings.IndexByte(text, '-')+1]
	}
	f.req.Header["Range"] = []string{text}
	f.req.Header["If-Range"] = []string{f.part.Field("Etag")}
}

// completePart turns a 206 with the missing range into the complete reply. It returns
// false for any other reply.
func (f *flight) completePart(resp *http.Response) bool {
	at, size, ok := parseContentRange(resp.Header["Content-Range"])
	_, have, total, _ := f.part.bodyExtent()
	if !ok || size != total || at != missingRange(f.part) || resp.ContentLength >= 0 && resp.ContentLength != at.length ||
		resp.Header.Get("Etag") != f.part.Field("Etag") {
		return false
	}
	h := f.part.toHeader()
	for name, lines := range resp.Header {
		h[name] = lines
	}
	delete(h, "Content-Range")
	delete(h, "Content-Length")
	var stored []io.Reader
	for _, part := range f.part.body {
		stored = append(stored, bytes.NewReader(part))
	}
	pieces := append(stored, io.LimitReader(resp.Body, at.length+1))
	if have.offset > 0 {
		pieces = append([]io.Reader{resp.Body}, stored...)
	}
	resp.Header, resp.StatusCode, resp.ContentLength = h, http.StatusOK, size
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(pieces...), resp.Body}
	return true
}
