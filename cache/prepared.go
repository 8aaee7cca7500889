package cache

import (
	"math"
	"net/http"
	"net/textproto"
	"strconv"
	"time"
	"unsafe"
)

// Writing a hit through net/http costs ten times as much as the lookup. So each
// object has a prepared head, the head of its reply as it goes on the wire, made when
// the object is stored. From it, AppendHit answers a request that a front has parsed
// itself. The answer is that of Serve through net/http, field for field.

// maxPrepared bounds a prepared head, in bytes: pages have about 300, and a front
// copies heads into a buffer of a fixed size.
const maxPrepared = 2 << 10

// maxGaps bounds the runs of fields that a 304 omits from a prepared head.
const maxGaps = 2

// status304 begins the reply to a client that has the page already.
const status304 = "HTTP/1.1 304 Not Modified\r\n"

// HitRequest is a GET or HEAD without body as a front has parsed it. The request
// must have no other field that affects a hit: no Range, If-Match,
// If-Unmodified-Since, or repeated field. Values are without surrounding blanks;
// nil means that the field is absent. The bytes are only read, and only during the
// call. A front may declare a type with the same fields in the same order: Go then
// converts a pointer to it into a *HitRequest, and nothing is copied.
type HitRequest struct {
	// At is a reading of Cache.Now since the request began to arrive: the reply is
	// as of then. 0: AppendHit reads the clock.
	At         time.Duration
	Key        []byte // as KeyOf returns it
	Encoding   []byte // Accept-Encoding
	NoneMatch  []byte // If-None-Match
	Since      []byte // If-Modified-Since
	Directives bool   // the client sent Cache-Control or Pragma
	IsHEAD     bool   // the method is HEAD, otherwise GET
}

// AppendHit is the fast path: it answers a request for which a stored, fresh reply is
// enough. It appends the reply's head to dst, from the status line of HTTP/1.1
// to the last field that is not about the connection, and returns the parts of the
// body that follow the empty line. They must not be changed. If ok is false, the
// request is for Serve, and nothing was counted. AppendHit does not allocate if dst
// has room for 2 KiB, 64 bytes and the cache's name. v, if not nil, is set for StillValid.
func (c *Cache) AppendHit(dst []byte, q *HitRequest, v *HitValidity) (head []byte, body [][]byte, ok bool) {
	now := q.At
	if now == 0 {
		now = c.Now()
	}
	var found storeRef
	if !q.Directives || !c.cfg.ClientDirectives {
		found = c.store.findRef(asString(q.Key))
	}
	o, notModified := c.findHit(found.objects, q, now)
	if v != nil {
		v.set(found, o, now)
	}
	if o == nil {
		return dst, nil, false
	}
	if !notModified && !q.IsHEAD {
		body = o.body
	}
	return c.appendHead(dst, o, now, notModified), body, true
}

// findHit returns the variant that answers a request, nil if none does, and whether
// the client has it already.
func (c *Cache) findHit(objects []*Object, q *HitRequest, now time.Duration) (o *Object, notModified bool) {
	o = matchPrepared(objects, q)
	if o == nil || o.prepared == "" || o.flags&flagNoCache != 0 || o.ttl(now) <= 0 {
		return nil, false
	}
	notModified, known := o.checkNotModified(q)
	if !known {
		return nil, false
	}
	c.counters.prepared.Add(1)
	return o, notModified
}

// appendHead appends the head of a hit: the prepared head, and the fields that
// change with time, Age and Cache-Status.
func (c *Cache) appendHead(dst []byte, o *Object, now time.Duration, notModified bool) []byte {
	if notModified {
		dst = o.appendNotModified(dst)
	} else {
		dst = append(dst, o.prepared...)
	}
	age := o.age(now)
	dst = appendSeconds(append(dst, "Age: "...), age)
	if c.hitStatus != "" {
		dst = appendSeconds(append(dst, c.hitStatus...), o.lifetime-age)
	}
	return append(dst, "\r\n"...)
}

// appendSeconds appends a time of 0 or more in whole seconds, a century at most.
func appendSeconds(dst []byte, d time.Duration) []byte {
	return strconv.AppendUint(dst, min(uint64(d/time.Second), math.MaxUint32), 10)
}

// asString is a view of bytes as a string, valid while they do not change.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// matchPrepared is matchVariant for a request of which only Accept-Encoding is
// known. It returns nil also if that is not enough to decide.
func matchPrepared(objects []*Object, q *HitRequest) *Object {
	for _, o := range objects {
		if o.variantKey == "" {
			return o
		}
		name, want, rest := cutVariantKey(o.variantKey)
		if name != "accept-encoding" || rest != "" {
			return nil
		}
		if want[0] == '+' && want[1:] == preparedEncoding(q.Encoding) {
			return o
		}
	}
	return nil
}

// preparedEncoding is encodingClass, with a table of what browsers send.
func preparedEncoding(value []byte) string {
	switch string(value) {
	case "":
		return encodingNone
	case "gzip, deflate", "gzip, deflate, br", "gzip, deflate, br, zstd", "gzip":
		return encodingGzip
	}
	line := [...]string{asString(value)}
	return encodingClass(line[:])
}

// checkNotModified is notModified without comparing dates: known is false unless
// If-Modified-Since is the page's own date, byte for byte.
func (o *Object) checkNotModified(q *HitRequest) (notModified, known bool) {
	switch {
	case o.status != http.StatusOK:
		return false, true
	case q.NoneMatch != nil && o.etag != "" && o.etag == asString(q.NoneMatch):
		return true, true // as most clients send it
	case q.NoneMatch != nil:
		line := [...]string{asString(q.NoneMatch)}
		return matchETag(line[:], o.Field("Etag")), true
	case q.Since != nil:
		return true, o.hasLastModified && o.Field("Last-Modified") == asString(q.Since)
	}
	return false, true
}

// appendNotModified appends the prepared head without the fields that describe the
// body.
func (o *Object) appendNotModified(dst []byte) []byte {
	dst = append(dst, status304...)
	from := o.fieldsAt
	for _, gap := range o.gaps {
		if gap.to > 0 {
			dst = append(dst, o.prepared[from:gap.from]...)
			from = gap.to
		}
	}
	return append(dst, o.prepared[from:o.lengthAt]...)
}

// gap is a part of a prepared head, from its start to behind its end, that a 304
// omits.
type gap struct{ from, to uint16 }

// findGaps records the positions of the fields that no 304 has. Fields are sorted by name, so
// they form one or two runs. It returns false if there are more.
func (o *Object) findGaps() bool {
	n, at := 0, o.fieldsAt
	o.gaps = [maxGaps]gap{}
	for name, value := range o.Fields() {
		end := at + uint16(len(name)+len(": ")+len(value)+len("\r\n"))
		switch {
		case !notIn304(name):
		case n > 0 && o.gaps[n-1].to == at:
			o.gaps[n-1].to = end
		case n == maxGaps:
			return false
		default:
			o.gaps[n] = gap{at, end}
			n++
		}
		at = end
	}
	return true
}

// prepareHead sets the object's prepared head, before the object is stored. It sets
// none if net/http would add a field or change a stored one.
func (c *Cache) prepareHead(o *Object) {
	o.prepared, o.etag, o.hasLastModified = "", "", false
	reason := http.StatusText(int(o.status))
	if reason == "" || !statusHasBody(int(o.status)) || o.status == http.StatusPartialContent ||
		isPartsKey(o.key) || !o.sentUnchanged() {
		return
	}
	var via string
	if name := c.cfg.Via; name != "" && !viaNames(o.fieldLines("Via"), name) {
		via = "Via: 1.1 " + name + "\r\n"
	}
	first := "HTTP/1.1 " + strconv.Itoa(int(o.status)) + " " + reason + "\r\n"
	wire := first + o.head + via + "Content-Length: " + strconv.FormatInt(o.size, 10) + "\r\n"
	if len(wire) > maxPrepared {
		return
	}
	end := len(first) + len(o.head)
	if o.fieldsAt, o.lengthAt = uint16(len(first)), uint16(end+len(via)); !o.findGaps() {
		return
	}
	o.prepared, o.head = wire, wire[len(first):end]
	if etag := o.Field("Etag"); validETag(etag) {
		o.etag = etag
	}
	if modified := o.fieldLines("Last-Modified"); len(modified) == 1 {
		_, o.hasLastModified = parseDate(modified, c.cfg.Now())
	}
}

// sentUnchanged reports whether net/http would send exactly the stored fields.
func (o *Object) sentUnchanged() bool {
	dated, typed := false, o.size == 0
	for name, value := range o.Fields() {
		if textproto.TrimString(value) != value {
			return false
		}
		switch name {
		case "Connection", "Keep-Alive", "Transfer-Encoding", "Trailer", "Upgrade":
			return false
		case "Date":
			dated = true
		case "Content-Type":
			typed = true
		case "Content-Encoding":
			typed = typed || value != ""
		}
	}
	return dated && typed
}
