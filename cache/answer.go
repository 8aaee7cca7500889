package cache

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// putFields sets the stored fields on a reply. The values of one page share one
// backing array, so that a hit through net/http allocates little.
func (o *Object) putFields(h http.Header, skip func(string) bool) {
	values := make([]string, 0, strings.Count(o.head, "\r\n"))
	for name, value := range o.Fields() {
		if skip != nil && skip(name) {
			continue
		}
		if have, again := h[name]; again && len(have) > 0 {
			h[name] = append(have, value)
			continue
		}
		values = append(values, value)
		n := len(values)
		h[name] = values[n-1 : n : n]
	}
}

func setAge(h http.Header, age time.Duration) {
	h["Age"] = []string{strconv.FormatInt(int64(age/time.Second), 10)}
}

// writeStored writes a stored reply. Conditions and ranges of the client are
// evaluated here.
func (l *lookup) writeStored(o *Object, status cacheStatus) {
	c, h := l.c, l.w.Header()
	now := c.Now()
	if notModified(l.r, o, c.cfg.Now()) {
		o.putFields(h, notIn304)
		setAge(h, o.age(now))
		c.signReply(h, status)
		l.w.WriteHeader(http.StatusNotModified)
		return
	}
	code, kind := o.Status(), rangeWhole
	var parts []byteRange
	if _, has := l.r.Header["Range"]; has {
		parts, kind = pickRange(l.r, o, o.size, c.cfg.Now())
	}
	o.putFields(h, nil)
	setAge(h, o.age(now))
	c.signReply(h, status)
	part := byteRange{0, o.size}
	switch {
	case kind == rangePart && len(parts) > 1:
		multipart := newMultipartBody(o, parts)
		multipart.setFields(h)
		l.w.WriteHeader(http.StatusPartialContent)
		if multipart.writeTo(l.w, o) != nil {
			panic(http.ErrAbortHandler)
		}
		return
	case kind == rangePart:
		code, part = http.StatusPartialContent, parts[0]
		h["Content-Range"] = []string{contentRange(part, o.size)}
	case kind == rangeNone:
		code, part = setUnsatisfiable(h, o.size), byteRange{}
	}
	l.writePart(code, o, part)
}

// writePart writes the status and a part of a stored body; the caller has set the other
// fields.
func (l *lookup) writePart(code int, o *Object, part byteRange) {
	if statusHasBody(code) {
		l.w.Header()["Content-Length"] = []string{strconv.FormatInt(part.length, 10)}
	}
	l.w.WriteHeader(code)
	if l.r.Method == http.MethodHead || !statusHasBody(code) {
		return
	}
	if o.writeBody(l.w, part) != nil {
		panic(http.ErrAbortHandler)
	}
}

func (o *Object) writeBody(w io.Writer, part byteRange) error {
	for _, b := range o.body {
		if part.offset >= int64(len(b)) {
			part.offset -= int64(len(b))
			continue
		}
		b = b[part.offset:]
		part.offset = 0
		b = b[:min(int64(len(b)), part.length)]
		part.length -= int64(len(b))
		if len(b) == 0 {
			return nil
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// signReply adds the fields by which this cache identifies itself: Cache-Status, after
// those of the caches nearer to the origin, and Via, unless a board of the same rack has
// already added it.
func (c *Cache) signReply(h http.Header, status cacheStatus) {
	if len(status.b) > 0 {
		h["Cache-Status"] = append(h["Cache-Status"], string(status.b))
	}
	if via := c.cfg.Via; via != "" && !viaNames(h["Via"], via) {
		h["Via"] = append(h["Via"], "1.1 "+via)
	}
}

// viaNames reports whether one of the members of a Via field has this name
// (RFC 9110 §7.6.3).
func viaNames(lines []string, name string) bool {
	found := false
	eachListMember(lines, func(m string) bool {
		_, by, _ := strings.Cut(m, " ")
		by, _, _ = strings.Cut(trimOWS(by), " ")
		found = strings.EqualFold(by, name)
		return !found
	})
	return found
}

// setUnsatisfiable turns a reply's fields into those of a 416.
func setUnsatisfiable(h http.Header, size int64) int {
	for _, name := range [...]string{"Content-Type", "Content-Encoding", "Content-Language", "Etag", "Last-Modified"} {
		delete(h, name)
	}
	h["Content-Range"] = []string{contentRange(byteRange{}, size)}
	return http.StatusRequestedRangeNotSatisfiable
}

// writeConfirmed answers with a stored reply that upstream has confirmed, or that is
// served because upstream failed.
func (l *lookup) writeConfirmed(j joinedFlight) {
	c, out := l.c, &j.flight.outcome
	status := c.forwardStatus(l.fwdReason, out.status)
	if out.stale {
		c.counters.stale.Add(1)
		status = c.newCacheStatus().addFlag("hit")
	}
	status = status.addTTL(out.object.ttl(c.Now()))
	switch {
	case out.stale:
		status = status.addWord("detail", "upstream-failed")
	case !j.isStarter:
		status = status.addFlag("collapsed")
	}
	if j.isStarter && len(out.cookies) > 0 {
		l.w.Header()["Set-Cookie"] = slices.Clone(out.cookies)
	}
	l.writeStored(out.object, status)
}

// streamReply writes a reply whose body may still be arriving. It holds the fields back until the beginning of a
// body of known length is there: if upstream breaks off before, the client gets an error page.
func (l *lookup) streamReply(j joinedFlight) {
	f, out, h := j.flight, &j.flight.outcome, l.w.Header()
	if err := j.reader.awaitBytes(l.r.Context(), min(out.length, maxHeld)); err != nil {
		l.writeError(err)
		return
	}
	l.setReplyFields(j)
	code, part := out.status, byteRange{0, out.length}
	if f.dropClientConditions && f.req.Method == http.MethodGet {
		if notModified(l.r, out.head, l.c.cfg.Now()) {
			for name := range h {
				if notIn304(name) {
					delete(h, name)
				}
			}
			l.w.WriteHeader(http.StatusNotModified)
			return
		}
		// Several ranges of a body that is still arriving are not supported.
		parts, kind := pickRange(l.r, out.head, out.length, l.c.cfg.Now())
		switch {
		case kind == rangePart && len(parts) == 1:
			code, part = http.StatusPartialContent, parts[0]
			h["Content-Range"] = []string{contentRange(part, out.length)}
		case kind == rangeNone:
			code, part = setUnsatisfiable(h, out.length), byteRange{}
		}
	}
	switch {
	case f.req.Method == http.MethodHead:
		if lines, has := out.header["Content-Length"]; has {
			h["Content-Length"] = lines
		}
		part.length = 0
	case !statusHasBody(code):
		part.length = 0
	case part.length >= 0:
		h["Content-Length"] = []string{strconv.FormatInt(part.length, 10)}
	}
	l.w.WriteHeader(code)
	if err := j.reader.copyTo(l.r.Context(), l.w, part); err != nil {
		l.c.noteCutReply(l.r, err)
		_ = http.NewResponseController(l.w).Flush() // the client sees that the reply broke off, rather than none
		panic(http.ErrAbortHandler)
	}
}

// setReplyFields sets the fields of a reply from upstream: all fields for the client
// that caused the fetch, only the stored ones for the others.
func (l *lookup) setReplyFields(j joinedFlight) {
	c, out, h := l.c, &j.flight.outcome, l.w.Header()
	head, now := out.head, c.Now()
	if j.isStarter {
		for name, lines := range out.header {
			if name != "Content-Length" {
				h[name] = lines[:len(lines):len(lines)]
			}
		}
	} else {
		head.putFields(h, nil)
	}
	if _, has := out.header["Age"]; has || !j.isStarter {
		setAge(h, head.age(now))
	}
	status := c.forwardStatus(l.fwdReason, out.status)
	if out.stored {
		status = status.addFlag("stored").addTTL(head.ttl(now))
	}
	if !j.isStarter {
		status = status.addFlag("collapsed")
	}
	c.signReply(h, status)
}
