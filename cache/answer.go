package cache

import (
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

// answer writes a stored reply. Conditions and range of the client are
// evaluated here.
func (q *question) answer(o *Object, status statusLine) {
	h := q.w.Header()
	now := q.c.clock()
	if notModified(q.r, o) {
		o.putFields(h, notIn304)
		setAge(h, o.age(now))
		status.addTo(h)
		q.w.WriteHeader(http.StatusNotModified)
		return
	}
	code := o.Status()
	part, kind := span{0, o.size}, rangeWhole
	if _, has := q.r.Header["Range"]; has {
		var p span
		if p, kind = pickRange(q.r, o, o.size); kind != rangeWhole {
			part = p
		}
	}
	o.putFields(h, nil)
	setAge(h, o.age(now))
	status.addTo(h)
	switch kind {
	case rangePart:
		code = http.StatusPartialContent
		h["Content-Range"] = []string{contentRange(part, o.size)}
	case rangeNone:
		code = unsatisfiable(h, o.size)
	}
	if statusHasBody(code) {
		h["Content-Length"] = []string{strconv.FormatInt(part.length, 10)}
	}
	q.w.WriteHeader(code)
	if q.r.Method == http.MethodHead || !statusHasBody(code) {
		return
	}
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
			return
		}
		if _, err := q.w.Write(b); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// unsatisfiable turns a reply's fields into those of a 416.
func unsatisfiable(h http.Header, size int64) int {
	for _, name := range [...]string{"Content-Type", "Content-Encoding", "Content-Language", "Etag", "Last-Modified"} {
		delete(h, name)
	}
	h["Content-Range"] = []string{contentRange(span{}, size)}
	return http.StatusRequestedRangeNotSatisfiable
}

// confirmed answers with a stored reply about which upstream was asked.
func (q *question) confirmed(f *flight, leader bool) {
	c, out := q.c, &f.out
	s := c.forward(q.why, out.status)
	if out.stale {
		c.counters.stale.Add(1)
		s = c.statusLine().flag("hit")
	}
	s = s.ttl(out.object.ttl(c.clock()))
	switch {
	case out.stale:
		s = s.word("detail", "upstream-failed")
	case !leader:
		s = s.flag("collapsed")
	}
	if leader && len(out.cookies) > 0 {
		q.w.Header()["Set-Cookie"] = slices.Clone(out.cookies)
	}
	q.answer(out.object, s)
}

// stream writes a reply whose body may still be on its way.
func (q *question) stream(f *flight, rd *reader, leader bool) {
	c, out := q.c, &f.out
	head := out.head
	h := q.w.Header()
	now := c.clock()
	if leader {
		for name, lines := range out.header {
			if name != "Content-Length" {
				h[name] = lines[:len(lines):len(lines)]
			}
		}
	} else {
		head.putFields(h, nil)
	}
	if _, has := out.header["Age"]; has || !leader {
		setAge(h, head.age(now))
	}
	s := c.forward(q.why, out.status)
	if out.stored {
		s = s.flag("stored").ttl(head.ttl(now))
	}
	if !leader {
		s = s.flag("collapsed")
	}
	s.addTo(h)

	code, part, known := out.status, span{0, out.length}, out.length
	if f.whole && f.req.Method == http.MethodGet {
		if notModified(q.r, head) {
			for name := range h {
				if notIn304(name) {
					delete(h, name)
				}
			}
			q.w.WriteHeader(http.StatusNotModified)
			return
		}
		p, kind := pickRange(q.r, head, out.length)
		switch kind {
		case rangePart:
			code, part, known = http.StatusPartialContent, p, p.length
			h["Content-Range"] = []string{contentRange(p, out.length)}
		case rangeNone:
			code, part, known = unsatisfiable(h, out.length), span{}, 0
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
	case known >= 0:
		h["Content-Length"] = []string{strconv.FormatInt(known, 10)}
	}
	q.w.WriteHeader(code)
	if err := rd.copyTo(q.r.Context(), q.w, part); err != nil {
		panic(http.ErrAbortHandler)
	}
}
