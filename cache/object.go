package cache

import (
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// maxHead bounds the bytes of a reply's fields.
const maxHead = 64 << 10

// maxKey bounds the bytes of a key. The page of a longer URL is never stored.
const maxKey = 8 << 10

// Object is one stored reply. Once it is in the store, nothing but a soft purge
// changes it: a 304 makes a new Object that shares the body. All its memory is a
// handful of flat strings and byte slices, because a header map costs about 1 KB per
// page and a board has thousands of pages.
type Object struct {
	key        string
	head       string   // "Name: value\r\n" for each field line, names canonical
	variantKey string   // of the requests that it answers (vary.go)
	tags       string   // purge tags, each followed by a NUL
	body       [][]byte // in order, exactly sized
	size       int64    // bytes of body

	// born is when the reply's age was 0, on the clock of Cache.Now. It may lie
	// before the cache was created.
	born         time.Duration
	lifetime     time.Duration
	staleWhile   time.Duration // stale-while-revalidate, 0 if none
	staleIfError time.Duration // stale-if-error, -1 if the reply has none
	status       int16
	flags        objectFlags

	// The prepared head (prepared.go), of which head is a part; "" if there is none.
	// In it, the fields begin at fieldsAt, and Content-Length, which follows them
	// and our own Via, begins at lengthAt.
	prepared           string
	etag               string // the entity tag, if it is a valid one
	fieldsAt, lengthAt uint16
	gaps               [maxGaps]gap // what a 304 omits
	hasLastModified    bool         // it has one Last-Modified, which is a date

	// softenedAt is when the object was purged softly, on the same clock and a
	// nanosecond later, less staleWhile if an unsafe request did it; 0 if it was not. Nothing else about a stored object changes.
	softenedAt atomic.Int64
}

// withBody returns the object with another body. The copy does not inherit a soft
// purge.
func (o *Object) withBody(body [][]byte) *Object {
	size := int64(0)
	for _, part := range body {
		size += int64(len(part))
	}
	return &Object{
		key: o.key, head: o.head, variantKey: o.variantKey, tags: o.tags, body: body, size: size,
		born: o.born, lifetime: o.lifetime, staleWhile: o.staleWhile, staleIfError: o.staleIfError,
		status: o.status, flags: o.flags,
	}
}

// soften makes the object permanently stale: only upstream can confirm it. If it is
// invalid, its age is also past the time for which it may be served while it is
// refreshed. It returns false if the object was softened before.
func (o *Object) soften(now time.Duration, invalid bool) bool {
	at := int64(now) + 1
	if invalid {
		if at -= int64(o.staleWhile); at == 0 {
			at = -1
		}
	}
	for {
		old := o.softenedAt.Load()
		if old != 0 && old <= at {
			return false
		}
		if o.softenedAt.CompareAndSwap(old, at) {
			return old == 0
		}
	}
}

type objectFlags uint8

const (
	flagNoCache   objectFlags = 1 << iota // validate before every use
	flagNoStale                           // must-revalidate or proxy-revalidate
	flagSharedAge                         // s-maxage: stale only by explicit permission
	flagImmutable                         // RFC 8246
	flagSplit                             // stored in two variants, one compressed here
	flagMax       = flagSplit<<1 - 1
)

// newObject returns an object without body for a judged reply. Fields are copied;
// variant is the request's variant key.
func newObject(key, variant string, status int, h http.Header, judged storability, now time.Duration) *Object {
	c := judged.control
	o := &Object{
		key: key, variantKey: variant, status: int16(status), tags: packTags(h),
		born: now - judged.age, lifetime: judged.lifetime,
		staleWhile: c.staleWhile.duration(), staleIfError: -1,
	}
	if c.staleIfError.set {
		o.staleIfError = c.staleIfError.duration()
	}
	if c.noCache {
		o.flags |= flagNoCache
	}
	if c.mustRevalidate || c.proxyRevalidate {
		o.flags |= flagNoStale
	}
	if c.sMaxAge.set {
		o.flags |= flagSharedAge
	}
	if c.immutable {
		o.flags |= flagImmutable
	}
	o.head = flattenFields(h, judged.strip)
	return o
}

// flattenFields writes the fields as they will be sent, in the order of their names,
// without Age, Content-Length and Cache-Status, which each answer makes itself.
func flattenFields(h http.Header, strip []string) string {
	names := make([]string, 0, len(h))
	size := 0
	for name, lines := range h {
		switch name {
		case "Age", "Content-Length", "Cache-Status":
			continue
		}
		if slices.Contains(strip, name) {
			continue
		}
		names = append(names, name)
		for _, l := range lines {
			size += len(name) + len(l) + 4
		}
	}
	slices.Sort(names)
	var b strings.Builder
	b.Grow(size)
	for _, name := range names {
		for _, l := range h[name] {
			b.WriteString(name)
			b.WriteString(": ")
			b.WriteString(l)
			b.WriteString("\r\n")
		}
	}
	return b.String()
}

// Key is the URL that the object answers, as [KeyOf] returns it.
func (o *Object) Key() string { return o.key }

// Status is the stored reply's status code.
func (o *Object) Status() int { return int(o.status) }

// Matches reports whether the object answers the request as far as Vary goes
// (RFC 9111 §4.1).
func (o *Object) Matches(r *http.Request) bool { return matchesVariantKey(o.variantKey, r) }

// Field is the first line of a field, "" if there is none. name is in
// canonical form. It does not allocate.
func (o *Object) Field(name string) string {
	for n, v := range o.Fields() {
		if n == name {
			return v
		}
	}
	return ""
}

// Fields yields the stored field lines.
func (o *Object) Fields() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for head := o.head; head != ""; {
			line, rest, _ := strings.Cut(head, "\r\n")
			name, value, _ := strings.Cut(line, ": ")
			if !yield(name, value) {
				return
			}
			head = rest
		}
	}
}

func (o *Object) fieldLines(name string) []string {
	var all []string
	for n, v := range o.Fields() {
		if n == name {
			all = append(all, v)
		}
	}
	return all
}

// toHeader unpacks the fields into a map, for a merge with a 304.
func (o *Object) toHeader() http.Header {
	h := make(http.Header, 16)
	for n, v := range o.Fields() {
		h[n] = append(h[n], v)
	}
	return h
}

func (o *Object) hasTag(tag string) bool { return hasTag(o.tags, tag) }

// age is the object's current age (RFC 9111 §4.2.3). A soft purge makes it older
// than its lifetime, so that it is stale for every cache that it is sent to.
func (o *Object) age(now time.Duration) time.Duration {
	age := max(now-o.born, 0)
	if at := time.Duration(o.softenedAt.Load()); at != 0 {
		age = max(age, o.lifetime+now-(at-1))
	}
	return age
}

// ttl is the remaining lifetime of the object; negative if it is stale.
func (o *Object) ttl(now time.Duration) time.Duration { return o.lifetime - o.age(now) }

// isFresh reports whether the object may be used without asking upstream.
func (o *Object) isFresh(now time.Duration) bool {
	return o.flags&flagNoCache == 0 && o.ttl(now) > 0
}

// mayServeWhile reports whether the object may be served stale while it is being
// refreshed (RFC 5861 §3). must-revalidate overrides that permission.
func (o *Object) mayServeWhile(now time.Duration) bool {
	return o.flags&(flagNoCache|flagNoStale) == 0 && -o.ttl(now) < o.staleWhile
}

// mayServeOnError reports whether the object may be served stale because upstream
// has failed: by its own stale-if-error (RFC 5861 §4), or, if it has none and
// nothing in it forbids stale replies (RFC 9111 §4.2.4), for at most limit.
func (o *Object) mayServeOnError(now, limit time.Duration) bool {
	stale := -o.ttl(now)
	if o.softenedAt.Load() != 0 {
		stale -= o.staleWhile // which soften may have added
	}
	switch {
	case o.flags&(flagNoCache|flagNoStale) != 0:
		return false
	case o.staleIfError >= 0:
		return stale <= o.staleIfError
	case limit < 0 || o.flags&flagSharedAge != 0:
		return false // s-maxage implies proxy-revalidate (RFC 9111 §5.2.2.10)
	}
	return stale <= limit
}
