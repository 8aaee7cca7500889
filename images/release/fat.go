package release

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// Reading files from a boot partition: FAT16 and FAT32 with long names, after
// Microsoft's specification of 2005. Nothing is written.

const (
	sector      = 512
	entrySize   = 32
	maxCluster  = 64 << 10 // bytes
	maxFolder   = 1 << 20  // bytes of entries of one folder
	maxTable    = 64 << 20 // bytes of one table of clusters
	longName    = 0x0f
	isFolder    = 0x10
	isLabel     = 0x08
	lowerStem   = 0x08 // in an entry's byte 12
	lowerEnding = 0x10
	longLetters = 13 // in one entry
)

// ErrNoImage matches every error about a file that is not a card image, or a damaged
// one.
var ErrNoImage = errors.New("not a card image")

// fatVolume is an open FAT file system.
type fatVolume struct {
	disk    io.ReaderAt
	start   int64 // of the volume on the disk, in bytes
	cluster int64 // size in bytes
	table   int64 // offset in the volume
	data    int64 // offset in the volume
	isFAT32 bool
	last    uint32 // the highest cluster
	root    uint32 // FAT32: its first cluster
	rootAt  int64  // FAT16: its offset in the volume
	rootLen int64
}

// entry is one file or folder.
type entry struct {
	name   string
	folder bool
	first  uint32
	size   int64
}

// openVolume opens the first partition of a card.
func openVolume(disk io.ReaderAt) (*fatVolume, error) {
	mbr := make([]byte, sector)
	if _, err := disk.ReadAt(mbr, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoImage, err)
	}
	if mbr[510] != 0x55 || mbr[511] != 0xaa {
		return nil, fmt.Errorf("%w: it has no partition table", ErrNoImage)
	}
	v := &fatVolume{disk: disk, start: int64(binary.LittleEndian.Uint32(mbr[446+8:])) * sector}
	boot := make([]byte, sector)
	if _, err := disk.ReadAt(boot, v.start); err != nil {
		return nil, fmt.Errorf("%w: its first partition is missing: %w", ErrNoImage, err)
	}
	return v, v.parseBootSector(boot)
}

func (f *fatVolume) parseBootSector(boot []byte) error {
	bad := fmt.Errorf("%w: its first partition is not a FAT file system", ErrNoImage)
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(boot[at:])) }
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(boot[at:])) }
	perCluster, reserved, tables, roots := int64(boot[13]), u16(14), int64(boot[16]), u16(17)
	sectors, length := u16(19), u16(22)
	if sectors == 0 {
		sectors = u32(32)
	}
	if length == 0 {
		length = u32(36)
	}
	if u16(11) != sector || perCluster == 0 || perCluster&(perCluster-1) != 0 || perCluster*sector > maxCluster ||
		reserved == 0 || tables == 0 || tables > 2 || length == 0 || length*sector > maxTable {
		return bad
	}
	f.cluster = perCluster * sector
	f.table = reserved * sector
	f.rootAt = f.table + tables*length*sector
	f.rootLen = roots * entrySize
	f.data = f.rootAt + (f.rootLen+sector-1)/sector*sector
	clusters := (sectors*sector - f.data) / f.cluster
	f.isFAT32 = u16(22) == 0
	width := int64(2)
	if f.isFAT32 {
		width, f.root = 4, uint32(u32(44))
	}
	// A table may be longer than its volume needs, and must not be shorter.
	if clusters < 1 || clusters+2 > length*sector/width || !f.isFAT32 && (clusters < 4085 || roots == 0) {
		return bad
	}
	f.last = uint32(clusters + 1)
	return nil
}

// nextCluster returns the cluster after c in its file; ok is false at the end.
func (f *fatVolume) nextCluster(c uint32) (n uint32, ok bool, err error) {
	width := int64(2)
	if f.isFAT32 {
		width = 4
	}
	b := make([]byte, width)
	if _, err := f.disk.ReadAt(b, f.start+f.table+int64(c)*width); err != nil {
		return 0, false, fmt.Errorf("%w: %w", ErrNoImage, err)
	}
	end := uint32(0xfff8)
	if f.isFAT32 {
		n, end = binary.LittleEndian.Uint32(b)&0x0fffffff, 0x0ffffff8
	} else {
		n = uint32(binary.LittleEndian.Uint16(b))
	}
	if n >= end {
		return 0, false, nil
	}
	if n < 2 || n > f.last {
		return 0, false, fmt.Errorf("%w: a file's chain points outside the volume", ErrNoImage)
	}
	return n, true, nil
}

// readChain reads a file of at most limit bytes from its first cluster on. size is its
// size, -1 for a folder, which ends with its chain.
func (f *fatVolume) readChain(first uint32, size, limit int64) ([]byte, error) {
	if size > limit {
		return nil, fmt.Errorf("%w: a file of %d bytes is more than a card's slot holds", ErrNoImage, size)
	}
	var out []byte
	for c := first; size < 0 || int64(len(out)) < size; {
		if c < 2 || c > f.last {
			return nil, fmt.Errorf("%w: a file begins outside the volume", ErrNoImage)
		}
		if int64(len(out)) >= limit {
			return nil, fmt.Errorf("%w: a chain is endless", ErrNoImage)
		}
		n := f.cluster
		if size >= 0 {
			n = min(n, size-int64(len(out)))
		}
		at := len(out)
		out = append(out, make([]byte, n)...)
		if _, err := f.disk.ReadAt(out[at:], f.start+f.data+int64(c-2)*f.cluster); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoImage, err)
		}
		following, more, err := f.nextCluster(c)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		c = following
	}
	if size >= 0 && int64(len(out)) < size {
		return nil, fmt.Errorf("%w: a file is shorter than its size", ErrNoImage)
	}
	return out, nil
}

func (f *fatVolume) readRoot() ([]entry, error) {
	if f.isFAT32 {
		return f.readFolder(f.root)
	}
	b := make([]byte, f.rootLen)
	if _, err := f.disk.ReadAt(b, f.start+f.rootAt); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoImage, err)
	}
	return parseEntries(b), nil
}

func (f *fatVolume) readFolder(first uint32) ([]entry, error) {
	b, err := f.readChain(first, -1, maxFolder)
	if err != nil {
		return nil, err
	}
	return parseEntries(b), nil
}

// parseEntries reads a folder. A long name comes before its entry, last part first.
func parseEntries(b []byte) []entry {
	var list []entry
	var long []uint16
	for ; len(b) >= entrySize && b[0] != 0; b = b[entrySize:] {
		e := b[:entrySize]
		switch {
		case e[0] == 0xe5: // deleted
			long = nil
		case e[11]&0x3f == longName:
			if e[0]&0x40 != 0 {
				long = nil
			}
			if len(long) <= 20*longLetters {
				long = append(longNameLetters(e), long...)
			}
		case e[11]&isLabel != 0:
			long = nil
		default:
			name := parseShortName(e)
			if len(long) > 0 {
				name = string(utf16.Decode(long))
			}
			long = nil
			if name == "." || name == ".." {
				continue
			}
			first := uint32(binary.LittleEndian.Uint16(e[20:]))<<16 | uint32(binary.LittleEndian.Uint16(e[26:]))
			list = append(list, entry{name, e[11]&isFolder != 0, first, int64(binary.LittleEndian.Uint32(e[28:]))})
		}
	}
	return list
}

// longNameLetters returns the letters in one entry of a long name, without padding.
func longNameLetters(e []byte) []uint16 {
	var out []uint16
	for _, part := range [...][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for at := part[0]; at < part[1]; at += 2 {
			c := binary.LittleEndian.Uint16(e[at:])
			if c == 0 {
				return out
			}
			out = append(out, c)
		}
	}
	return out
}

// parseShortName returns NAME.EXT, in small letters where Windows has marked it so.
func parseShortName(e []byte) string {
	stem, ending := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
	if e[12]&lowerStem != 0 {
		stem = strings.ToLower(stem)
	}
	if e[12]&lowerEnding != 0 {
		ending = strings.ToLower(ending)
	}
	if ending == "" {
		return stem
	}
	return stem + "." + ending
}
