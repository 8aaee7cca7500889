package images

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"
)

// cpioNode is one entry of the archive.
type cpioNode struct {
	mode         uint32 // type and permissions, as in Unix
	content      []byte // or the target of a link
	major, minor uint32 // of a device
}

// The types of entries.
const (
	typeFolder = 0o040000
	typeFile   = 0o100000
	typeLink   = 0o120000
	typeDevice = 0o020000 // a character device
)

// cpioTree is a file system in memory, by path without a leading slash.
type cpioTree map[string]cpioNode

func (c cpioTree) putFile(name string, permissions fs.FileMode, content []byte) {
	c[name] = cpioNode{mode: typeFile | uint32(permissions), content: content}
}

func (c cpioTree) putFolder(name string, permissions fs.FileMode) {
	c[name] = cpioNode{mode: typeFolder | uint32(permissions)}
}

func (c cpioTree) putLink(name, target string) {
	c[name] = cpioNode{mode: typeLink | 0o777, content: []byte(target)}
}

func (c cpioTree) putDevice(name string, permissions fs.FileMode, major, minor uint32) {
	c[name] = cpioNode{mode: typeDevice | uint32(permissions), major: major, minor: minor}
}

// formatCPIO returns the archive that the kernel unpacks at its start ("newc" of
// Documentation/driver-api/early-userspace/buffer-format.rst). All entries belong to
// root and have one date. Missing parent folders are added.
func (c cpioTree) formatCPIO(dated time.Time) []byte {
	all := cpioTree{}
	for name, n := range c {
		all[name] = n
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, known := c[dir]; !known {
				all.putFolder(dir, 0o755)
			}
		}
	}
	var archive []byte
	for i, name := range slices.Sorted(maps.Keys(all)) { // a folder comes before its content
		archive = appendNode(archive, i+1, name, all[name], dated)
	}
	return appendNode(archive, 0, "TRAILER!!!", cpioNode{}, time.Unix(0, 0))
}

func appendNode(to []byte, number int, name string, n cpioNode, dated time.Time) []byte {
	links := 1
	if n.mode&^0o7777 == typeFolder {
		links = 2
	}
	to = fmt.Appendf(to, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", number, n.mode, 0, 0, links,
		dated.Unix(), len(n.content), 0, 0, n.major, n.minor, len(name)+1, 0, name)
	// Name and content each end at a multiple of four bytes.
	to = append(to, make([]byte, -len(to)&3)...)
	to = append(to, n.content...)
	return append(to, make([]byte, -len(to)&3)...)
}

// gzipBytes compresses by gzip, without name and time.
func gzipBytes(content []byte) ([]byte, error) {
	var compressed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = zip.Write(content)
	err = errors.Join(err, zip.Close())
	return compressed.Bytes(), err
}
