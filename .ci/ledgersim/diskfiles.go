package main

import (
	"io"
	"strings"

	sys "github.com/tetratelabs/wazero/experimental/sys"
	wsys "github.com/tetratelabs/wazero/sys"
)

// openFile is an open file of disks.
type openFile struct {
	sys.UnimplementedFile
	disks    *disks
	volume   *volume
	inode    *inode
	at       int64
	isAppend bool
}

// Ino implements sys.File.
func (o *openFile) Ino() (wsys.Inode, sys.Errno) { return o.inode.number, 0 }

// Stat implements sys.File.
func (o *openFile) Stat() (wsys.Stat_t, sys.Errno) { return o.inode.stat(), 0 }

// IsAppend implements sys.File.
func (o *openFile) IsAppend() bool { return o.isAppend }

// Read implements sys.File.
func (o *openFile) Read(b []byte) (int, sys.Errno) {
	n := o.inode.readAt(b, o.at)
	o.at += int64(n)
	return n, 0
}

// Pread implements sys.File.
func (o *openFile) Pread(b []byte, at int64) (int, sys.Errno) { return o.inode.readAt(b, at), 0 }

// Write implements sys.File.
func (o *openFile) Write(b []byte) (int, sys.Errno) {
	if o.isAppend {
		o.at = o.inode.size
	}
	n, errno := o.Pwrite(b, o.at)
	o.at += int64(n)
	return n, errno
}

// Pwrite implements sys.File. On a full card it writes what fits.
func (o *openFile) Pwrite(b []byte, at int64) (int, sys.Errno) {
	if fits := o.volume.fitting(o.inode, at, int64(len(b))); fits < int64(len(b)) {
		o.disks.record("no room %d %d %d", o.volume.card, o.inode.number, fits)
		if b = b[:fits]; fits == 0 {
			return 0, errNoSpace
		}
	}
	o.inode.write(at, b)
	o.disks.record("write %d %d %d %x", o.volume.card, o.inode.number, at, b)
	return len(b), 0
}

// Seek implements sys.File.
func (o *openFile) Seek(offset int64, whence int) (int64, sys.Errno) {
	switch whence {
	case io.SeekCurrent:
		offset += o.at
	case io.SeekEnd:
		offset += o.inode.size
	}
	if offset < 0 {
		return 0, sys.EINVAL
	}
	o.at = offset
	return offset, 0
}

// Truncate implements sys.File.
func (o *openFile) Truncate(size int64) sys.Errno {
	if size > o.inode.size && o.volume.fitting(o.inode, 0, size) < size {
		return errNoSpace
	}
	o.inode.resize(size)
	return 0
}

// Sync implements sys.File.
func (o *openFile) Sync() sys.Errno {
	o.disks.sync(o.volume, o.inode)
	return 0
}

// Datasync implements sys.File.
func (o *openFile) Datasync() sys.Errno { return o.Sync() }

// openDir is an open directory of disks. It has no volume if it is the top level.
type openDir struct {
	sys.UnimplementedFile
	disks  *disks
	volume *volume
	path   string
	inode  *inode
	left   []sys.Dirent
	listed bool
}

// IsDir implements sys.File.
func (o *openDir) IsDir() (bool, sys.Errno) { return true, 0 }

// Stat implements sys.File.
func (o *openDir) Stat() (wsys.Stat_t, sys.Errno) {
	if o.volume == nil {
		return o.disks.Stat(".")
	}
	return o.inode.stat(), 0
}

// Seek implements sys.File: back to the first name.
func (o *openDir) Seek(int64, int) (int64, sys.Errno) {
	o.listed, o.left = false, nil
	return 0, 0
}

// Readdir implements sys.File. The names are sorted.
func (o *openDir) Readdir(n int) ([]sys.Dirent, sys.Errno) {
	if !o.listed {
		o.listed = true
		o.left = o.list()
	}
	if n <= 0 || n > len(o.left) {
		n = len(o.left)
	}
	part := o.left[:n]
	o.left = o.left[n:]
	return part, 0
}

func (o *openDir) list() (all []sys.Dirent) {
	if o.volume == nil {
		return nil
	}
	prefix := ""
	if o.path != "" {
		prefix = o.path + "/"
	}
	for _, p := range sortedKeys(o.volume.names) {
		name, below := strings.CutPrefix(p, prefix)
		if below && name != "" && !strings.Contains(name, "/") {
			s := o.volume.names[p].stat()
			all = append(all, sys.Dirent{Ino: s.Ino, Name: name, Type: s.Mode.Type()})
		}
	}
	return all
}

// Sync implements sys.File.
func (o *openDir) Sync() sys.Errno {
	if o.volume != nil {
		o.disks.sync(o.volume, o.inode)
	}
	return 0
}

// Datasync implements sys.File.
func (o *openDir) Datasync() sys.Errno { return o.Sync() }
