package orders

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strings"
)

// Parts of bbolt's file format (version 2, unchanged since 2014; its internal/common has
// the types). Numbers have the machine's own byte order.
const (
	boltMagic       = 0xED0CDAED
	boltVersion     = 2
	branchPage      = 0x01
	leafPage        = 0x02
	metaPage        = 0x04
	freelistPage    = 0x10
	bucketElement   = 0x01 // flag of a leaf element: the value is a bucket
	pageHeaderSize  = 16   // id (8), flags (2), number of elements (2), further pages (4)
	pageElementSize = 16   // leaf: flags (4), offset (4), key's length (4), value's length (4); branch: offset (4), key's length (4), page (8)
	firstPage       = 2    // after the two meta pages
	// bulkPageFill is how full a page gets, in bytes: the rest is for later keys.
	bulkPageFill = pageSize * 9 / 10
)

// bulkWriter writes a working copy from keys in order: page after page, each once, as if
// the tree were built from its leaves up. bbolt itself looks each key up, keeps whole
// transactions in memory and sorts their pages, which takes ten times as many
// instructions. The file need not outlive the process, so a change of
// bbolt's format is a failed test and no lost data.
type bulkWriter struct {
	file *os.File
	to   *bufio.Writer
	next uint64 // id of the next page
	err  error  // the first one; nothing is written after it

	page    pageBuilder
	leaves  []childPage // of the present bucket, which are written
	lastKey []byte
	buckets []bucketRoot
}

// childPage is a page that a branch page points to.
type childPage struct {
	firstKey string
	id       uint64
}

// bucketRoot is a finished bucket; id 0 means that it is empty.
type bucketRoot struct {
	name string
	id   uint64
}

// pageBuilder holds the elements of one page.
type pageBuilder struct {
	elements []pageElement
	data     []byte // keys and values
	head     []byte // the last page's header and elements: its memory is used again
}

type pageElement struct {
	flags      uint32 // leaf
	key, value int    // lengths
	child      uint64 // branch
	offset     int    // of the key in data
}

// addElement adds an element from its key and value, which are one slice.
func (p *pageBuilder) addElement(pair []byte, key int, flags uint32, child uint64) {
	p.elements = append(p.elements, pageElement{flags: flags, key: key, value: len(pair) - key, child: child, offset: len(p.data)})
	p.data = append(p.data, pair...)
}

func (p *pageBuilder) pageBytes() int {
	return pageHeaderSize + len(p.elements)*pageElementSize + len(p.data)
}

func (p *pageBuilder) beginPage() { p.elements, p.data = p.elements[:0], p.data[:0] }

func newBulkWriter(name string) (*bulkWriter, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	b := &bulkWriter{file: file, to: bufio.NewWriterSize(file, 64<<10), next: firstPage}
	if _, err := file.Seek(firstPage*pageSize, 0); err != nil {
		b.err = err
	}
	b.writePage(freelistPage) // empty, so that bbolt need not look for free pages
	return b, nil
}

// addPair adds a pair to the present bucket. It reports whether the key is larger than the last
// one. The pair is the key, whose length is given, and its value. The caller may reuse the slice.
func (b *bulkWriter) addPair(pair []byte, keyLen int) (inOrder bool) {
	key := pair[:keyLen]
	if len(key) == 0 || b.hasPairs() && bytes.Compare(b.lastKey, key) >= 0 {
		return false
	}
	b.lastKey = append(b.lastKey[:0], key...)
	if len(b.page.elements) > 0 && b.page.pageBytes()+pageElementSize+len(pair) > bulkPageFill {
		b.finishLeaf()
	}
	b.page.addElement(pair, keyLen, 0, 0)
	return true
}

func (b *bulkWriter) hasPairs() bool { return len(b.leaves) > 0 || len(b.page.elements) > 0 }

func (b *bulkWriter) finishLeaf() {
	first := string(b.page.data[:b.page.elements[0].key])
	b.leaves = append(b.leaves, childPage{first, b.writePage(leafPage)})
}

// finishBucket ends the present bucket: it writes the branch pages above the leaves.
func (b *bulkWriter) finishBucket(name string) {
	if len(b.page.elements) > 0 {
		b.finishLeaf()
	}
	root := bucketRoot{name: name}
	for level := b.leaves; len(level) > 0; level = b.writeBranches(level) {
		if len(level) == 1 {
			root.id = level[0].id
			break
		}
	}
	b.leaves = b.leaves[:0]
	b.buckets = append(b.buckets, root)
}

// writeBranches writes the branch pages above a level of at least two pages, and returns
// them. bbolt requires at least two children of each.
func (b *bulkWriter) writeBranches(level []childPage) []childPage {
	var above []childPage
	for len(level) > 0 {
		n, size := 0, pageHeaderSize
		for ; n < len(level) && size <= bulkPageFill; n++ {
			size += pageElementSize + len(level[n].firstKey)
		}
		if n == len(level)-1 {
			n-- // the next page gets two
		}
		for _, child := range level[:n] {
			b.page.addElement([]byte(child.firstKey), len(child.firstKey), 0, child.id)
		}
		above = append(above, childPage{level[0].firstKey, b.writePage(branchPage)})
		level = level[n:]
	}
	return above
}

// writePage writes the built page, and returns its id.
func (b *bulkWriter) writePage(flags uint16) uint64 {
	id, p := b.next, &b.page
	pages := (p.pageBytes() + pageSize - 1) / pageSize
	b.next += uint64(pages)
	rest := pages*pageSize - p.pageBytes()
	head := appendPageHeader(p.head[:0], id, flags, len(p.elements), pages-1)
	order := binary.NativeEndian
	for i := range p.elements {
		e := &p.elements[i]
		// The offset counts from the element.
		offset := uint32((len(p.elements)-i)*pageElementSize + e.offset)
		if flags == branchPage {
			head = order.AppendUint32(head, offset)
			head = order.AppendUint32(head, uint32(e.key))
			head = order.AppendUint64(head, e.child)
			continue
		}
		head = order.AppendUint32(head, e.flags)
		head = order.AppendUint32(head, offset)
		head = order.AppendUint32(head, uint32(e.key))
		head = order.AppendUint32(head, uint32(e.value))
	}
	b.writeBytes(head)
	p.head, p.data = head, append(p.data, make([]byte, rest)...)
	b.writeBytes(p.data)
	p.beginPage()
	return id
}

func appendPageHeader(to []byte, id uint64, flags uint16, elements, furtherPages int) []byte {
	to = binary.NativeEndian.AppendUint64(to, id)
	to = binary.NativeEndian.AppendUint16(to, flags)
	to = binary.NativeEndian.AppendUint16(to, uint16(elements))
	return binary.NativeEndian.AppendUint32(to, uint32(furtherPages))
}

func (b *bulkWriter) writeBytes(data []byte) {
	if b.err == nil {
		_, b.err = b.to.Write(data)
	}
}

// finishFile writes the page of the buckets and the meta pages, and closes the file.
func (b *bulkWriter) finishFile() error {
	slices.SortFunc(b.buckets, func(x, y bucketRoot) int { return strings.Compare(x.name, y.name) })
	for _, bucket := range b.buckets {
		value := binary.NativeEndian.AppendUint64(nil, bucket.id)
		value = binary.NativeEndian.AppendUint64(value, 0) // its sequence, which the book does not use
		if bucket.id == 0 {
			value = appendPageHeader(value, 0, leafPage, 0, 0) // an empty page within the value
		}
		b.page.addElement(append([]byte(bucket.name), value...), len(bucket.name), bucketElement, 0)
	}
	root := b.writePage(leafPage)
	if b.err == nil {
		b.err = b.to.Flush()
	}
	for id := range uint64(firstPage) {
		page := appendPageHeader(make([]byte, 0, pageSize), id, metaPage, 0, 0)
		for _, v := range []uint32{boltMagic, boltVersion, pageSize, 0} {
			page = binary.NativeEndian.AppendUint32(page, v)
		}
		for _, v := range []uint64{root, 0, firstPage, b.next, id} { // root bucket and its sequence, free list, number of pages, transaction
			page = binary.NativeEndian.AppendUint64(page, v)
		}
		sum := fnv.New64a()
		sum.Write(page[pageHeaderSize:])
		page = binary.NativeEndian.AppendUint64(page, sum.Sum64())
		if b.err == nil {
			_, b.err = b.file.WriteAt(page[:pageSize], int64(id)*pageSize)
		}
	}
	return b.closeFile()
}

// closeFile closes the file, and returns the first error.
func (b *bulkWriter) closeFile() error {
	if err := b.file.Close(); b.err == nil && err != nil {
		b.err = err
	}
	if b.err != nil {
		return fmt.Errorf("writing the working copy: %w", b.err)
	}
	return nil
}
