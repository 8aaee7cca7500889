package release

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"bramble/images/cardinit"
)

// fatImage makes a card image with one FAT32 partition by hand: each file takes clusters
// that do not follow one another.
type fatImage struct {
	bytes []byte
	next  uint32
}

const (
	testStart    = 8 // sectors
	testReserved = 4
	testClusters = 5000
)

func newFATImage() *fatImage {
	const table = (testClusters+2)*entryWidth/sector + 1
	const total = testReserved + 2*table + testClusters
	c := &fatImage{next: 3, bytes: make([]byte, (testStart+total)*sector)}
	put16 := func(at int, v int) { binary.LittleEndian.PutUint16(c.bytes[at:], uint16(v)) }
	put32 := func(at int, v int) { binary.LittleEndian.PutUint32(c.bytes[at:], uint32(v)) }
	put32(446+8, testStart)
	put16(510, 0xaa55)
	b := testStart * sector
	put16(b+11, sector)
	c.bytes[b+13], c.bytes[b+16] = 1, 2
	put16(b+14, testReserved)
	put32(b+32, total)
	put32(b+36, table)
	put32(b+44, 2)
	c.linkClusters(2, 0x0fffffff)
	return c
}

func (f *fatImage) linkClusters(from, to uint32) {
	binary.LittleEndian.PutUint32(f.bytes[(testStart+testReserved)*sector+int(from)*entryWidth:], to)
}

func (f *fatImage) clusterOffset(cluster uint32) int {
	v := &fatVolume{}
	if err := v.parseBootSector(f.bytes[testStart*sector:][:sector]); err != nil {
		panic(err)
	}
	return testStart*sector + int(v.data) + int(cluster-2)*sector
}

// writeContent puts content into every second free cluster, and returns the first.
func (f *fatImage) writeContent(content []byte) uint32 {
	first := f.next
	for {
		n := copy(f.bytes[f.clusterOffset(f.next):][:sector], content)
		content = content[n:]
		if len(content) == 0 {
			f.linkClusters(f.next, 0x0fffffff)
			f.next += 2
			return first
		}
		f.linkClusters(f.next, f.next+2)
		f.next += 2
	}
}

// listing is the bytes of a folder's entries.
func listing(name string, folder bool, first uint32, size int) []byte {
	e := make([]byte, entrySize)
	copy(e, strings.Repeat(" ", 11))
	stem, ending, _ := strings.Cut(name, ".")
	if len(stem) <= 8 && len(ending) <= 3 {
		copy(e, strings.ToUpper(stem))
		copy(e[8:], strings.ToUpper(ending))
	} else {
		copy(e, "LONG~1  DTB")
	}
	if folder {
		e[11] = isFolder
	}
	binary.LittleEndian.PutUint16(e[20:], uint16(first>>16))
	binary.LittleEndian.PutUint16(e[26:], uint16(first))
	binary.LittleEndian.PutUint32(e[28:], uint32(size))
	if len(stem) <= 8 && len(ending) <= 3 {
		return e
	}
	letters := append(utf16.Encode([]rune(name)), 0)
	for len(letters)%longLetters != 0 {
		letters = append(letters, 0xffff)
	}
	var parts []byte
	for n := len(letters) / longLetters; n > 0; n-- {
		p := make([]byte, entrySize)
		p[0], p[11] = byte(n), longName
		if n == len(letters)/longLetters {
			p[0] |= 0x40
		}
		for i, l := range letters[(n-1)*longLetters : n*longLetters] {
			at := [...]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}[i]
			binary.LittleEndian.PutUint16(p[at:], l)
		}
		parts = append(parts, p...)
	}
	return append(parts, e...)
}

// imageWith is a card with a slot of these files.
func imageWith(files map[string]string) *fatImage {
	c := newFATImage()
	slot := slices.Concat(listing(".", true, 0, 0), listing("..", true, 0, 0))
	var order []string
	for name := range files {
		order = append(order, name)
	}
	slices.Sort(order)
	for _, name := range order {
		slot = append(slot, listing(name, false, c.writeContent([]byte(files[name])), len(files[name]))...)
	}
	top := slices.Concat(listing("config.txt", false, 0, 0), listing("a", true, c.writeContent(append(slot, make([]byte, entrySize)...)), 0))
	copy(c.bytes[c.clusterOffset(2):], top)
	return c
}

func goodFiles() map[string]string {
	return map[string]string{
		"vmlinuz": strings.Repeat("kernel ", 300), "initrd.img": strings.Repeat("files ", 5000),
		"bcm2835-rpi-b-plus.dtb": "tree", "cmdline.txt": "console=ttyAMA0 bramble.slot=a panic=10\n", "slot.txt": "v1.2.3\n",
	}
}

func openBytes(t *testing.T, content []byte) (Release, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "card.img")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return Open(file)
}

func TestReleaseOfAnImage(t *testing.T) {
	files := goodFiles()
	r, err := openBytes(t, imageWith(files).bytes)
	if err != nil {
		t.Fatal(err)
	}
	b := r.ForSlot("b")
	if b.Version != "v1.2.3" || len(b.Files) != 4 || len(r.Files) != 3 {
		t.Errorf("the release is %+v", b.SlotManifest)
	}
	for name, content := range b.Content {
		want := files[name]
		if name == "cmdline.txt" {
			want = "console=ttyAMA0 bramble.slot=b panic=10\n"
		}
		if string(content) != want {
			t.Errorf("%s is not what was put there: %d bytes", name, len(content))
		}
	}
	// The statement has the kernel parameters of both slots.
	s := r.Statement(time.Unix(1, 0))
	if len(s.Files) != len(b.Files)+1 || s.Files[3].Name != "a/cmdline.txt" || s.Files[4].Name != "b/cmdline.txt" ||
		s.Files[4].SHA256 != b.Files[3].SHA256 || s.Files[3].SHA256 != r.ForSlot("a").Files[3].SHA256 || s.Version != r.Version {
		t.Errorf("the statement is %+v", s)
	}
	private, _ := cardinit.NewUpdateKey()
	if files["slot.sig"], err = s.Sign(private); err != nil {
		t.Fatal(err)
	}
	if r, err = openBytes(t, imageWith(files).bytes); err != nil || r.Signature != files["slot.sig"] || len(r.ForSlot("b").Files) != 4 {
		t.Errorf("the signed release is %+v (%v)", r.SlotManifest, err)
	}
}

func TestNoImage(t *testing.T) {
	change := func(edit func(*fatImage)) []byte {
		c := imageWith(goodFiles())
		edit(c)
		return c.bytes
	}
	without := func(name string) []byte {
		files := goodFiles()
		delete(files, name)
		return imageWith(files).bytes
	}
	boot := testStart * sector
	for name, content := range map[string][]byte{
		"empty":              nil,
		"text":               bytes.Repeat([]byte("not an image\n"), 100),
		"no partition":       change(func(c *fatImage) { copy(c.bytes[446:], make([]byte, 64)) }),
		"partition outside":  change(func(c *fatImage) { c.bytes[446+11] = 0x7f }),
		"cluster of nothing": change(func(c *fatImage) { c.bytes[boot+13] = 0 }),
		"odd cluster":        change(func(c *fatImage) { c.bytes[boot+13] = 3 }),
		"huge sectors":       change(func(c *fatImage) { c.bytes[boot+12] = 0x10 }),
		"FAT16":              change(func(c *fatImage) { c.bytes[boot+17] = 64 }),
		"short table":        change(func(c *fatImage) { c.bytes[boot+36], c.bytes[boot+37] = 1, 0 }),
		"chain in a circle": change(func(c *fatImage) {
			c.linkClusters(2, 2)
			copy(c.bytes[c.clusterOffset(2):], bytes.Repeat([]byte{0xe5}, sector))
		}),
		"chain to nowhere": change(func(c *fatImage) { c.linkClusters(7, 0x00ffff00) }),
		"cut off":          imageWith(goodFiles()).bytes[:40*sector],
		"no kernel":        without("vmlinuz"),
		"no version":       without("slot.txt"),
		"no parameters":    without("cmdline.txt"),
	} {
		if r, err := openBytes(t, content); !errors.Is(err, ErrNoImage) {
			t.Errorf("%s: %+v, %v", name, r.SlotManifest, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file at all: %v", err)
	}
}

// fuzzed is how much of a card the fuzzer changes: tables and first clusters.
const fuzzed = 128 * sector

// endless is a card that is empty after its first bytes.
type endless []byte

func (e endless) ReadAt(p []byte, at int64) (int, error) {
	clear(p)
	if at < int64(len(e)) {
		copy(p, e[at:])
	}
	return len(p), nil
}

// FuzzVolume: no first sectors of a card make the reader panic, read without
// end, or give out a release that a board would refuse.
func FuzzVolume(f *testing.F) {
	c := imageWith(map[string]string{"vmlinuz": "k", "initrd.img": "i", "cmdline.txt": "bramble.slot=a", "slot.txt": "v1"})
	f.Add(c.bytes[:fuzzed])
	f.Fuzz(func(t *testing.T, content []byte) {
		v, err := openVolume(endless(content))
		if err != nil {
			return
		}
		r, err := v.readSlot()
		if err != nil {
			if !errors.Is(err, ErrNoImage) {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		if err := r.ForSlot("b").Check(); err != nil {
			t.Errorf("a release that no board takes: %v", err)
		}
	})
}
