package main

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	sys "github.com/tetratelabs/wazero/experimental/sys"
)

// What a killed board's goroutines still write is on no card.
func TestAKilledBoardStoresNothing(t *testing.T) {
	d := newDisks(sha256.New())
	d.volumes["0.0"] = d.newVolume("0.0")
	store := func(v *volume, order string) {
		n := d.newInode(false)
		n.write(0, []byte(orderMark+order))
		d.sync(v, n)
	}
	store(d.volumes["0.0"], "00000001")
	d.crash("0.0", "0.1", keepPrefix, rand.New(rand.NewPCG(1, 2)))
	store(d.volumes["0.0"], "00000002")
	store(d.volumes["0.1"], "00000003")
	for order, want := range []uint64{0, 1, 0, 1} {
		if got := d.holders(uint32(order)); got != want {
			t.Errorf("order %d is on cards %b, want %b", order, got, want)
		}
	}
}

// A full card takes what fits, overwrites what it has, and goes on with room.
func TestAFullCard(t *testing.T) {
	const write = sys.O_RDWR | sys.O_CREAT
	d := newDisks(sha256.New())
	d.volumes["0.0"] = d.newVolume("0.0")
	open := func(p string) sys.File {
		t.Helper()
		f, errno := d.OpenFile(p, write, 0)
		if errno != 0 {
			t.Fatal(p, errno)
		}
		return f
	}
	check := func(what string, n int, errno sys.Errno, want int, wantErrno sys.Errno) {
		t.Helper()
		if n != want || errno != wantErrno {
			t.Errorf("%s: %d, %v; want %d, %v", what, n, errno, want, wantErrno)
		}
	}
	log, state := open("/0.0/log"), open("/0.0/state")
	if errno := log.Truncate(2 * blockSize); errno != 0 {
		t.Fatal(errno)
	}
	d.reserve("/0.0/state", blockSize)
	b := make([]byte, 3*blockSize)
	d.fill("0.0", 0, fillNames)
	n, errno := log.Pwrite(b, 100)
	check("as far as it is allocated", n, errno, 2*blockSize-100, 0)
	n, errno = log.Pwrite(b, 2*blockSize)
	check("beyond that", n, errno, 0, errNoSpace)
	n, errno = state.Pwrite(b[:blockSize], 0)
	check("what is reserved", n, errno, blockSize, 0)
	check("a longer log", 0, log.Truncate(3*blockSize), 0, errNoSpace)
	_, errno = d.OpenFile("/0.0/new", write, 0)
	check("a new file", 0, errno, 0, errNoSpace)
	check("a new directory", 0, d.Mkdir("/0.0/dir", 0), 0, errNoSpace)
	check("a new name", 0, d.Rename("/0.0/state", "/0.0/old"), 0, errNoSpace)
	check("a name that is there", 0, d.Rename("/0.0/state", "/0.0/log"), 0, 0)
	d.crash("0.0", "0.1", keepAll, rand.New(rand.NewPCG(1, 2)))
	log = open("/0.1/log")
	n, errno = log.Pwrite(b, blockSize)
	check("after a start, in the blocks of the removed file", n, errno, 2*blockSize, 0)
	d.fill("0.1", -1, 0)
	n, errno = log.Pwrite(b, blockSize)
	check("with room", n, errno, len(b), 0)
	check("a new directory with room", 0, d.Mkdir("/0.1/dir", 0), 0, 0)
}
