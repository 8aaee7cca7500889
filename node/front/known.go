package front

import (
	"bytes"
	"runtime"
	"unsafe"
)

const (
	// knownBlocks is how many header blocks a batch remembers: those of the
	// browsers that most of a crowd has.
	knownBlocks = 4
	// knownBytes bounds each, in bytes: a browser sends about 900, with cookies
	// up to twice that.
	knownBytes = 2 << 10
)

// Most of a crowd has one of a few browsers, and each of these sends the same
// fields with every request for a page, byte for byte. What they mean hangs on
// nothing but these bytes. So a batch keeps the last few blocks of fields that it
// has read, and what it made of them: to compare a request with them takes a
// tenth of the time to read it.

// known are the blocks of fields that were read last.
type known struct {
	blocks [knownBlocks]block
	next   int // the one that makes way
}

// block is what stands between the request line and the end of a plain request,
// the empty line included, and what its fields say. The values lie in its bytes.
type block struct {
	bytes       [knownBytes]byte
	size        int // of bytes in use; 0: none
	host        []byte
	encoding    []byte
	noneMatch   []byte
	since       []byte
	directives  bool
	close, keep bool
}

// parse is request.parse, by what is known if it can.
func (k *known) parse(r *request, b []byte) verdict {
	at, v := r.begin(b)
	if v != plain {
		return v
	}
	for i := range k.blocks {
		one := &k.blocks[i]
		if end := at + one.size; end > at && end <= len(b) && alike(b[at:end], one.bytes[:one.size]) {
			one.tell(r, at)
			return plain
		}
	}
	if v = r.fields(b, at); v == plain && !r.old {
		k.learn(r, b[at:r.size])
	}
	return v
}

// tell has a request whose fields begin at an index say what the block says.
func (k *block) tell(r *request, at int) {
	a := &r.asked
	a.Host, a.Encoding, a.NoneMatch, a.Since, a.Directives = k.host, k.encoding, k.noneMatch, k.since, k.directives
	r.close, r.keep, r.size = k.close, k.keep, at+k.size
	r.version()
}

// learn keeps a block that has been read.
func (k *known) learn(r *request, b []byte) {
	if len(b) > knownBytes {
		return
	}
	one, a := &k.blocks[k.next], &r.asked
	k.next = (k.next + 1) % knownBlocks
	one.size = copy(one.bytes[:], b)
	one.host, one.encoding = one.own(b, a.Host), one.own(b, a.Encoding)
	one.noneMatch, one.since = one.own(b, a.NoneMatch), one.own(b, a.Since)
	one.directives, one.close, one.keep = a.Directives, r.close, r.keep
}

// own is a part of the bytes that the block was copied from, in the block.
func (k *block) own(b, part []byte) []byte {
	if part == nil {
		return nil
	}
	at := int(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	return k.bytes[at : at+len(part) : at+len(part)]
}

// alike is bytes.Equal for slices of one length. On ARM that goes byte by byte
// unless both lie at whole words, which an ARM1176 and its successors do not need.
func alike(a, b []byte) bool {
	if runtime.GOARCH != "arm" {
		return bytes.Equal(a, b)
	}
	const step = 16
	i := 0
	for ; i <= len(a)-step; i += step {
		p, q := (*[step / 4]uint32)(unsafe.Pointer(&a[i])), (*[step / 4]uint32)(unsafe.Pointer(&b[i]))
		if p[0] != q[0] || p[1] != q[1] || p[2] != q[2] || p[3] != q[3] {
			return false
		}
	}
	return bytes.Equal(a[i:], b[i:])
}
