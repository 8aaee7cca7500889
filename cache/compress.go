package cache

import (
	"bytes"
	"compress/gzip"
	"mime"
	"net/http"
	"strings"
	"sync"
)

// Limits on the bodies that are compressed, in bytes. Smaller bodies gain little; the
// upper limit bounds the time that one page can take on a slow board.
const (
	minCompress = 1 << 10
	maxCompress = 256 << 10
)

// compressor compresses one body at a time. Its working memory is about 0.8 MB; it is
// not part of the budget, and is allocated at the first use.
type compressor struct {
	mu  sync.Mutex
	zip *gzip.Writer
}

// compress returns the compressed body, nil if the compressor is in use or if it
// saves less than a tenth.
func (c *compressor) compress(o *Object) []byte {
	if !c.mu.TryLock() {
		return nil
	}
	defer c.mu.Unlock()
	var out bytes.Buffer
	if c.zip == nil {
		c.zip = gzip.NewWriter(&out)
	} else {
		c.zip.Reset(&out)
	}
	// Writes to a buffer cannot fail.
	_ = o.writeBody(c.zip, byteRange{0, o.size})
	_ = c.zip.Close()
	c.zip.Reset(nil)
	if int64(out.Len()) > o.size-o.size/10 {
		return nil
	}
	return exactCopy(out.Bytes())
}

// isCompressible reports whether a reply is text that is not compressed yet, may be
// changed, and has no digest of its bytes.
func isCompressible(status int, h http.Header, length int64) bool {
	if status != http.StatusOK || length > maxCompress || length >= 0 && length < minCompress ||
		hasListMember(h["Cache-Control"], "no-transform") {
		return false
	}
	for _, name := range [...]string{"Content-Encoding", "Content-Range", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		if _, has := h[name]; has {
			return false
		}
	}
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return false
	}
	switch kind {
	case "application/json", "application/javascript", "application/xml", "application/manifest+json", "image/svg+xml":
		return true
	}
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml")
}

// prepareSplit decides whether a reply will be stored in two variants, and adds Vary
// before any client sees its fields. Only the page's owner does so: once per rack.
func (f *flight) prepareSplit(status int, h http.Header, length int64) bool {
	class := encodingClass(f.req.Header["Accept-Encoding"])
	if !f.c.cfg.Compress || !f.route.Replicate || class != encodingGzip && class != encodingNone || !isCompressible(status, h, length) {
		return false
	}
	addVary(h)
	return true
}

func addVary(h http.Header) {
	if !hasListMember(h["Vary"], "accept-encoding") && !hasListMember(h["Vary"], "*") {
		h["Vary"] = append(h["Vary"], "Accept-Encoding")
	}
}

// storeSplit stores both variants of a reply that was just stored for the class of
// its first client.
func (f *flight) storeSplit(o *Object) {
	if o.size < minCompress || o.size > maxCompress {
		return
	}
	body := f.c.compressor.compress(o)
	if body == nil {
		return
	}
	plain := o.withBody(o.body)
	plain.variantKey = withEncoding(o.variantKey, encodingNone)
	zipped := o.withBody([][]byte{body})
	zipped.variantKey = withEncoding(o.variantKey, encodingGzip)
	zipped.head = replaceField(o.head, "Etag", weakTag(o.Field("Etag"))) + "Content-Encoding: gzip\r\n"
	for _, variant := range [...]*Object{plain, zipped} {
		if variant.variantKey != o.variantKey || variant == zipped {
			_ = f.commit(variant) // a variant that is not stored is fetched again
		}
	}
}

// weakTag returns the tag of a variant with the same meaning but other bytes
// (RFC 9110 §8.8.1). Upstream compares weakly, and so still confirms it.
func weakTag(etag string) string {
	if strongETag(etag) {
		return "W/" + etag
	}
	return etag
}

// withEncoding replaces the class of Accept-Encoding in a variant key.
func withEncoding(variant, class string) string {
	var b strings.Builder
	for variant != "" {
		name, value, rest := cutVariantKey(variant)
		variant = rest
		if name == "accept-encoding" {
			value = "+" + class
		}
		b.WriteString(name + "\x00" + value + "\x00")
	}
	return b.String()
}

// compressedHere reports whether this cache compressed the body.
func (o *Object) compressedHere() bool {
	return o.flags&flagSplit != 0 && o.Field("Content-Encoding") != ""
}

// fixSplitFields changes the fields of a 304, which describe upstream's page, into those
// of the variant.
func (o *Object) fixSplitFields(h http.Header) {
	if o.flags&flagSplit == 0 {
		return
	}
	addVary(h)
	if etag := h.Get("Etag"); o.compressedHere() && etag != "" {
		h["Etag"] = []string{weakTag(etag)}
	}
}
