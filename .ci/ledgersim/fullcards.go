package main

import (
	"math"

	sys "github.com/tetratelabs/wazero/experimental/sys"
)

// A card is full when its files have all blocks that it offers. A write in blocks that a
// file has needs no room; one that goes past them is done as far as there is room, as
// ext4 does it. A file has the blocks up to its last written byte: a hole before that
// counts as written.

// blockSize is that of ext4.
const blockSize = 4096

// errNoSpace is ENOSPC, which wazero does not have. systemChanges lets the world see
// ENOSPC in place of this error, which files do not have.
const errNoSpace = sys.ENOTSOCK

// fullness is why a volume has no room.
type fullness struct {
	limit   int64 // bytes of blocks, of all files and directories
	noNames bool  // its directories have no room either: no file gets a new name
}

// fillKind is what is full besides the blocks, as bits.
type fillKind uint32

const (
	fillNames fillKind = 1 << iota // no name can be added
	// fillHoles takes the blocks that no byte was written to from the log's files, as if they had
	// been copied to this card, or as a file system without fallocate has them.
	fillHoles
)

// fill leaves a volume this many free bytes, or any number if free is negative.
func (d *disks) fill(name string, free int64, kind fillKind) {
	v := d.volumes[name]
	if v == nil {
		return
	}
	if v.full = nil; free >= 0 {
		if kind&fillHoles != 0 {
			for _, n := range v.names {
				if !n.isDir && n.reserved == 0 {
					n.allocated = roundUp(int64(len(n.data)))
				}
			}
		}
		v.full = &fullness{limit: v.used() + free, noNames: kind&fillNames != 0}
	}
	d.record("fill %s %d %d", name, free, kind)
}

func (v *volume) used() (sum int64) {
	for _, n := range v.names {
		sum += n.blocks()
	}
	return sum
}

// room returns the bytes of the blocks that are free.
func (v *volume) room() int64 {
	if v.full == nil {
		return math.MaxInt64 / 2
	}
	return max(0, v.full.limit-v.used()) / blockSize * blockSize
}

// takesNames reports whether a name can be added.
func (v *volume) takesNames() bool { return v.full == nil || !v.full.noNames }

func roundUp(n int64) int64 { return (n + blockSize - 1) / blockSize * blockSize }

// blocks returns the bytes that a file or a directory has on the card.
func (n *inode) blocks() int64 {
	if n.isDir {
		return blockSize
	}
	return max(n.allocated, n.reserved)
}

// fitting returns how many of some bytes can be written at a place.
func (v *volume) fitting(n *inode, at, length int64) int64 {
	if at+length <= n.blocks() {
		return length
	}
	return max(0, min(length, n.blocks()+v.room()-at))
}

// reserve gives a file blocks beyond its end, as far as there is room.
func (d *disks) reserve(p string, size int64) {
	if v, rest := d.find(p); v != nil && v.names[rest] != nil {
		n := v.names[rest]
		n.reserved = max(n.reserved, min(size, n.blocks()+v.room()))
		d.record("reserve %s %d", p, n.reserved)
	}
}
