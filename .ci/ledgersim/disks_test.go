package main

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"
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
