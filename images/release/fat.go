package release

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// Reading files from a boot partition: FAT32 with long names, after Microsoft's
// specification of 2005. Nothing is written.

const (
	sector      = 512
	entrySize   = 32
	maxCluster  = 64 << 10 // bytes
	maxFolder   = 1 << 20  // bytes of entries of one folder
	maxTable    = 64 << 20 // bytes of one table of clusters
	entryWidth  = 4        // bytes of a cluster in it
	endOfChain  = 0x0ffffff8
	longName    = 0x0f
	isFolder    = 0x10
	isLabel     = 0x08
	longLetters = 13 // in one entry
)

// ErrNoImage matches every error about a file that is not a card image, or a damaged
// one.
var ErrNoImage = errors.New("not a card image")

// fatVolume is an open FAT file system.
type fatVolume struct {
	disk    io.ReaderAt
	start   int64  // of the volume on the disk, in bytes
	cluster int64  // size in bytes
	table   int64  // offset in the volume
	data    int64  // offset in the volume
	last    uint32 // the highest cluster
	root    uint32 // its first cluster
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
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(boot[at:])) }
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(boot[at:])) }
	perCluster, reserved, tables := int64(boot[13]), u16(14), int64(boot[16])
	sectors, length := u32(32), u32(36)
	f.cluster = perCluster * sector
	f.table = reserved * sector
	f.data = f.table + tables*length*sector
	f.root = uint32(u32(44))
	// A table may be longer than its volume needs, and must not be shorter. Zeros are where
	// FAT16 has its sizes.
	if u16(17)|u16(19)|u16(22) != 0 || u16(11) != sector || perCluster == 0 || perCluster&(perCluster-1) != 0 || f.cluster > maxCluster ||
		reserved == 0 || tables == 0 || tables > 2 || length == 0 || length*sector > maxTable ||
		sectors*sector < f.data+f.cluster || (sectors*sector-f.data)/f.cluster+2 > length*sector/entryWidth {
		return fmt.Errorf("%w: its first partition is not a FAT32 file system", ErrNoImage)
	}
	f.last = uint32((sectors*sector-f.data)/f.cluster + 1)
	return nil
}

// readChain reads a file of at most limit bytes from its first cluster on. size is its
// size, -1 for a folder, which ends with its chain.
func (f *fatVolume) readChain(first uint32, size, limit int64) ([]byte, error) {
	if size > limit {
		return nil, fmt.Errorf("%w: a file of %d bytes is more than a card's slot holds", ErrNoImage, size)
	}
	var out []byte
	for c := first; c < endOfChain && int64(len(out)) != size; {
		switch {
		case c < 2 || c > f.last:
			return nil, fmt.Errorf("%w: a file's chain points outside the volume", ErrNoImage)
		case int64(len(out)) >= limit:
			return nil, fmt.Errorf("%w: a chain is endless", ErrNoImage)
		}
		n := f.cluster
		if size >= 0 {
			n = min(n, size-int64(len(out)))
		}
		at, next := len(out), make([]byte, entryWidth)
		out = append(out, make([]byte, n)...)
		_, err := f.disk.ReadAt(out[at:], f.start+f.data+int64(c-2)*f.cluster)
		if err == nil {
			_, err = f.disk.ReadAt(next, f.start+f.table+int64(c)*entryWidth)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoImage, err)
		}
		c = binary.LittleEndian.Uint32(next) & 0x0fffffff
	}
	if int64(len(out)) < size {
		return nil, fmt.Errorf("%w: a file is shorter than its size", ErrNoImage)
	}
	return out, nil
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
			if strings.Trim(name, ".") == "" {
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

// parseShortName returns name.ext. Short names have no case: those of a slot's files are small.
func parseShortName(e []byte) string {
	stem, ending := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
	return strings.ToLower(strings.TrimSuffix(stem+"."+ending, "."))
}
