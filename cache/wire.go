package cache

import (
	"encoding/binary"
	"math"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// wireVersion is the first byte of an object in wire form. A board with another
// version declines the object and fetches the page when it is requested.
const wireVersion = 2

// AppendWire appends the object in the form in which boards send objects to each
// other. The form carries the age rather than a timestamp, because boards' clocks
// differ. A softly purged object arrives stale.
func (c *Cache) AppendWire(dst []byte, o *Object) []byte {
	dst = append(dst, wireVersion)
	dst = binary.AppendUvarint(dst, uint64(o.status))
	dst = binary.AppendUvarint(dst, uint64(o.flags))
	dst = binary.AppendUvarint(dst, uint64(o.age(c.Now())/time.Millisecond))
	dst = binary.AppendUvarint(dst, uint64(o.lifetime/time.Millisecond))
	dst = binary.AppendUvarint(dst, uint64(o.staleWhile/time.Second))
	dst = binary.AppendUvarint(dst, uint64((o.staleIfError+time.Second)/time.Second)) // 0: absent
	for _, s := range [...]string{o.key, o.head, o.variantKey, o.tags} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	dst = binary.AppendUvarint(dst, uint64(o.size))
	for _, part := range o.body {
		dst = append(dst, part...)
	}
	return dst
}

// ParseObject reads an object in wire form; b may be reused afterwards. It refuses
// with ErrWire anything that AppendWire would not write, and no length in b makes it
// allocate more than the length of b. The object's age is converted to a
// cache's clock by [Cache.Insert].
func ParseObject(b []byte) (*Object, error) {
	w := wireReader{b: b, ok: len(b) > 0 && b[0] == wireVersion}
	if !w.ok {
		return nil, ErrWire
	}
	w.b = b[1:]
	o := &Object{
		status: int16(w.readNumber(599)),
		flags:  objectFlags(w.readNumber(uint64(flagMax))),
	}
	o.born = -time.Duration(w.readNumber(math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
	o.lifetime = time.Duration(w.readNumber(maxDelta*1000)) * time.Millisecond
	o.staleWhile = time.Duration(w.readNumber(maxDelta)) * time.Second
	o.staleIfError = time.Duration(w.readNumber(maxDelta+1))*time.Second - time.Second
	if o.staleIfError < 0 {
		o.staleIfError = -1
	}
	o.key = string(w.readBytes(maxKey))
	o.head = string(w.readBytes(maxHead))
	o.variantKey = string(w.readBytes(maxVariantKey))
	o.tags = string(w.readBytes(maxTags * (maxTagLen + 1)))
	body := w.readBytes(math.MaxInt)
	o.size = int64(len(body))
	if len(body) > 0 {
		o.body = [][]byte{append(make([]byte, 0, len(body)), body...)}
	}
	if !w.ok || len(w.b) != 0 || o.status < 200 || o.key == "" || !httpguts.ValidHeaderFieldValue(o.key) ||
		!validHead(o.head) || !validVariantKey(o.variantKey) || !validTags(o.tags) {
		return nil, ErrWire
	}
	return o, nil
}

// wireReader reads bounded values off the front of b; once one is missing or out of
// bounds, ok is false and everything else is zero.
type wireReader struct {
	b  []byte
	ok bool
}

func (w *wireReader) readNumber(limit uint64) uint64 {
	n, used := binary.Uvarint(w.b)
	if used <= 0 || n > limit {
		w.ok, w.b = false, nil
		return 0
	}
	w.b = w.b[used:]
	return n
}

func (w *wireReader) readBytes(limit int) []byte {
	n := w.readNumber(uint64(min(limit, len(w.b))))
	if uint64(len(w.b)) < n {
		w.ok, w.b = false, nil
		return nil
	}
	part := w.b[:n]
	w.b = w.b[n:]
	return part
}

// validHead checks flattened fields: every line "Name: value\r\n" with the name
// in canonical form, nothing that could end a line early.
func validHead(head string) bool {
	for head != "" {
		line, rest, ok := strings.Cut(head, "\r\n")
		if !ok {
			return false
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok || !httpguts.ValidHeaderFieldName(name) || http.CanonicalHeaderKey(name) != name || !httpguts.ValidHeaderFieldValue(value) {
			return false
		}
		switch name {
		case "Age", "Content-Length", "Cache-Status":
			return false
		}
		head = rest
	}
	return true
}
