package main

import (
	"bytes"
	"fmt"
	"hash"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	sys "github.com/tetratelabs/wazero/experimental/sys"
	wsys "github.com/tetratelabs/wazero/sys"
)

// disks is the file system of the simulated boards: in memory, with what a power cut
// leaves. Its top level has one directory for each run of a board from a card,
// "card.run". When a board is killed, crash copies what was durable to the directory of
// the next run; the old one belongs to goroutines of the dead board that still write.
//
// A file's bytes are durable after its sync. Names are durable after any sync in their
// directory of the top level, as with a journaling file system.
type disks struct {
	sys.UnimplementedFS
	volumes map[string]*volume
	inodes  uint64
	// orders are the orders that ever were durable on each card.
	orders map[int]map[uint32]bool
	digest hash.Hash // of everything that happened
	lie    bool      // a sync does nothing
}

// volume is one directory of the top level.
type volume struct {
	card    int
	names   map[string]*inode // by path below the volume
	durable map[string]*inode // the names after the last sync
	renamed bool              // names differ from durable
	isOver  bool              // its board was killed: what goroutines still write is on no card
	full    *fullness         // nil if it has room
}

// inode is a file or a directory.
type inode struct {
	number  uint64
	isDir   bool
	data    []byte // up to the last byte written
	size    int64  // zeros follow data
	durable []byte
	// durableSize is the size after the last sync.
	durableSize int64
	pending     []diskWrite
	allocated   int64 // bytes of its blocks up to the last one that was written
	reserved    int64 // bytes of the blocks that it keeps, also beyond its end
}

// diskWrite is one write that no sync has followed, or a change of size.
type diskWrite struct {
	at    int64
	bytes []byte
	size  int64 // for a change of size, else -1
}

func newDisks(digest hash.Hash) *disks {
	return &disks{volumes: map[string]*volume{}, orders: map[int]map[uint32]bool{}, digest: digest}
}

func (d *disks) newInode(dir bool) *inode {
	d.inodes++
	return &inode{number: d.inodes, isDir: dir}
}

// find splits a path into its volume and the rest.
func (d *disks) find(p string) (v *volume, rest string) {
	name, rest, _ := strings.Cut(strings.Trim(path.Clean(p), "/"), "/")
	return d.volumes[name], rest
}

// crashKind is what a power cut leaves of the writes that no sync followed.
type crashKind uint32

const (
	keepAll     crashKind = iota // as after kill -9: the system writes everything
	keepNothing                  // none of them
	keepPrefix                   // those before a moment, the last torn at a sector
	keepSectors                  // any of their sectors
	crashKinds
)

const sectorSize = 512

// crash copies a volume to a new one, as a power cut would leave it.
func (d *disks) crash(from, to string, kind crashKind, rng *rand.Rand) {
	old := d.volumes[from]
	if old == nil {
		d.volumes[to] = d.newVolume(to)
		return
	}
	old.isOver = true
	names := old.durable
	if kind == keepAll || rng.IntN(2) == 0 {
		names = old.names
	}
	v := &volume{card: old.card, names: map[string]*inode{}, full: old.full}
	old.full = nil // nobody sees what its goroutines still do
	for _, p := range sortedKeys(names) {
		n := names[p]
		c := d.newInode(n.isDir)
		c.data, c.size = slices.Clone(n.durable), n.durableSize
		kept := len(n.pending)
		switch kind {
		case keepNothing:
			kept = 0
		case keepPrefix:
			kept = rng.IntN(len(n.pending) + 1)
		}
		for i, w := range n.pending[:kept] {
			switch {
			case w.size >= 0:
				c.resize(w.size)
			case kind == keepPrefix && i == kept-1:
				c.write(w.at, w.bytes[:min(len(w.bytes), sectorSize*rng.IntN(2+len(w.bytes)/sectorSize))])
			case kind == keepSectors:
				for at := 0; at < len(w.bytes); at += sectorSize {
					if rng.IntN(2) == 0 {
						c.write(w.at+int64(at), w.bytes[at:min(len(w.bytes), at+sectorSize)])
					}
				}
			default:
				c.write(w.at, w.bytes)
			}
		}
		c.durable, c.durableSize, c.pending = slices.Clone(c.data), c.size, nil
		c.allocated, c.reserved = max(roundUp(int64(len(c.data))), n.allocated), n.reserved
		v.names[p] = c
	}
	v.durable = cloneNames(v.names)
	d.volumes[to] = v
}

func (d *disks) newVolume(name string) *volume {
	v := &volume{names: map[string]*inode{"": d.newInode(true)}}
	fmt.Sscanf(name, "%d.", &v.card)
	v.durable = cloneNames(v.names)
	return v
}

func cloneNames(names map[string]*inode) map[string]*inode {
	c := make(map[string]*inode, len(names))
	for k, n := range names {
		c[k] = n
	}
	return c
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// write writes to the page cache.
func (n *inode) write(at int64, b []byte) {
	end := at + int64(len(b))
	if end > int64(len(n.data)) {
		n.data = append(n.data, make([]byte, end-int64(len(n.data)))...)
	}
	copy(n.data[at:], b)
	n.size, n.allocated = max(n.size, end), max(n.allocated, roundUp(end))
	n.pending = append(n.pending, diskWrite{at, slices.Clone(b), -1})
}

// resize makes a file shorter, or longer with the blocks for that, as fallocate does.
func (n *inode) resize(size int64) {
	if size < int64(len(n.data)) {
		n.data = n.data[:size]
	}
	if size < n.size { // ext4 frees what is beyond the end
		n.allocated, n.reserved = roundUp(size), 0
	}
	n.size, n.allocated = size, max(n.allocated, roundUp(size))
	n.pending = append(n.pending, diskWrite{size: size})
}

func (n *inode) readAt(b []byte, at int64) int {
	if at >= n.size {
		return 0
	}
	b = b[:min(int64(len(b)), n.size-at)]
	copied := 0
	if at < int64(len(n.data)) {
		copied = copy(b, n.data[at:])
	}
	clear(b[copied:])
	return len(b)
}

// sync makes a file durable, and every name of its volume.
func (d *disks) sync(v *volume, n *inode) {
	if d.lie {
		return
	}
	if !n.isDir {
		for _, w := range n.pending {
			if !v.isOver {
				d.noteOrders(v.card, w.bytes)
			}
		}
		n.durable, n.durableSize = applyWrites(n.durable, n.pending), n.size
		n.pending = nil
	}
	if v.renamed {
		v.durable, v.renamed = cloneNames(v.names), false
	}
	d.record("sync %d %d", v.card, n.number)
}

func applyWrites(b []byte, writes []diskWrite) []byte {
	for _, w := range writes {
		switch {
		case w.size >= 0:
			b = b[:min(int64(len(b)), w.size)]
		default:
			if end := int(w.at) + len(w.bytes); end > len(b) {
				b = append(b, make([]byte, end-len(b))...)
			}
			copy(b[w.at:], w.bytes)
		}
	}
	return b
}

// orderMark is before the eight digits of an order's number, in every command.
const orderMark = "order-"

// noteOrders notes the orders whose text is now durable on a card.
func (d *disks) noteOrders(card int, b []byte) {
	for {
		i := bytes.Index(b, []byte(orderMark))
		if i < 0 || len(b) < i+len(orderMark)+8 {
			return
		}
		var number uint32
		b = b[i+len(orderMark):]
		for _, c := range b[:8] {
			number = number*10 + uint32(c-'0')
		}
		if d.orders[card] == nil {
			d.orders[card] = map[uint32]bool{}
		}
		d.orders[card][number] = true
	}
}

// holders returns the cards on which an order ever was durable, as bits.
func (d *disks) holders(order uint32) (cards uint64) {
	for card, orders := range d.orders {
		if orders[order] {
			cards |= 1 << card
		}
	}
	return cards
}

func (d *disks) record(format string, args ...any) { fmt.Fprintf(d.digest, format+"\n", args...) }

// OpenFile implements sys.FS.
func (d *disks) OpenFile(p string, flag sys.Oflag, _ fs.FileMode) (sys.File, sys.Errno) {
	if p == "." || p == "" || p == "/" {
		return &openDir{disks: d}, 0
	}
	v, rest := d.find(p)
	if v == nil {
		return nil, sys.ENOENT
	}
	n := v.names[rest]
	switch {
	case n == nil && flag&sys.O_CREAT == 0:
		return nil, sys.ENOENT
	case n == nil:
		if parent := v.names[parentOf(rest)]; parent == nil || !parent.isDir {
			return nil, sys.ENOENT
		}
		if !v.takesNames() {
			return nil, errNoSpace
		}
		n = d.newInode(false)
		v.names[rest], v.renamed = n, true
	case flag&sys.O_CREAT != 0 && flag&sys.O_EXCL != 0:
		return nil, sys.EEXIST
	}
	if n.isDir {
		return &openDir{disks: d, volume: v, path: rest, inode: n}, 0
	}
	if flag&sys.O_DIRECTORY != 0 {
		return nil, sys.ENOTDIR
	}
	if flag&sys.O_TRUNC != 0 {
		n.resize(0)
	}
	return &openFile{disks: d, volume: v, inode: n, isAppend: flag&sys.O_APPEND != 0}, 0
}

func parentOf(p string) string {
	if dir := path.Dir(p); dir != "." {
		return dir
	}
	return ""
}

// Stat implements sys.FS.
func (d *disks) Stat(p string) (wsys.Stat_t, sys.Errno) {
	if p == "." || p == "" || p == "/" {
		return wsys.Stat_t{Mode: fs.ModeDir | 0o755, Ino: 1, Nlink: 1}, 0
	}
	v, rest := d.find(p)
	if v == nil || v.names[rest] == nil {
		return wsys.Stat_t{}, sys.ENOENT
	}
	return v.names[rest].stat(), 0
}

// Lstat implements sys.FS: there are no links.
func (d *disks) Lstat(p string) (wsys.Stat_t, sys.Errno) { return d.Stat(p) }

func (n *inode) stat() wsys.Stat_t {
	s := wsys.Stat_t{Ino: n.number, Nlink: 1, Size: n.size, Mode: 0o644}
	if n.isDir {
		s.Mode = fs.ModeDir | 0o755
	}
	return s
}

// Mkdir implements sys.FS. A directory of the top level is a new card's first run.
func (d *disks) Mkdir(p string, _ fs.FileMode) sys.Errno {
	v, rest := d.find(p)
	switch {
	case v == nil && rest == "":
		name := strings.Trim(path.Clean(p), "/")
		d.volumes[name] = d.newVolume(name)
		return 0
	case v == nil || v.names[parentOf(rest)] == nil:
		return sys.ENOENT
	case v.names[rest] != nil:
		return sys.EEXIST
	case !v.takesNames() || v.room() < blockSize:
		return errNoSpace
	}
	v.names[rest], v.renamed = d.newInode(true), true
	return 0
}

// Rename implements sys.FS, within a volume.
func (d *disks) Rename(from, to string) sys.Errno {
	v, a := d.find(from)
	w, b := d.find(to)
	if v == nil || v != w || v.names[a] == nil {
		return sys.ENOENT
	}
	if v.names[b] == nil && !v.takesNames() {
		return errNoSpace
	}
	v.names[b] = v.names[a]
	delete(v.names, a)
	for _, p := range sortedKeys(v.names) {
		if rest, below := strings.CutPrefix(p, a+"/"); below {
			v.names[b+"/"+rest] = v.names[p]
			delete(v.names, p)
		}
	}
	v.renamed = true
	d.record("rename %s %s", from, to)
	return 0
}

// Unlink implements sys.FS.
func (d *disks) Unlink(p string) sys.Errno {
	v, rest := d.find(p)
	switch {
	case v == nil || v.names[rest] == nil:
		return sys.ENOENT
	case v.names[rest].isDir:
		return sys.EISDIR
	}
	delete(v.names, rest)
	v.renamed = true
	return 0
}

// Rmdir implements sys.FS.
func (d *disks) Rmdir(p string) sys.Errno {
	v, rest := d.find(p)
	if v == nil || v.names[rest] == nil {
		return sys.ENOENT
	}
	if !v.names[rest].isDir {
		return sys.ENOTDIR
	}
	for q := range v.names {
		if strings.HasPrefix(q, rest+"/") {
			return sys.ENOTEMPTY
		}
	}
	delete(v.names, rest)
	v.renamed = true
	return 0
}

// Chmod implements sys.FS: there are no permissions.
func (d *disks) Chmod(string, fs.FileMode) sys.Errno { return 0 }

// Utimens implements sys.FS: files have no times.
func (d *disks) Utimens(string, int64, int64) sys.Errno { return 0 }
