package cluster_test

import (
	"fmt"
	"maps"
	"slices"

	"bramble/cluster"
)

func newExampleRing() *cluster.Ring {
	return cluster.NewRing([]cluster.RingMember{
		{Name: "board-1", Weight: cluster.OrdinaryWeight},
		{Name: "board-2", Weight: cluster.OrdinaryWeight},
		{Name: "board-3", Weight: cluster.OrdinaryWeight},
		{Name: "board-4", Weight: 0}, // it is draining, so it owns nothing
	})
}

// Every board computes the same owners from the same members. The second owner
// holds the replica, and becomes the first owner when the first is gone.
func ExampleRing_Owners() {
	ring := newExampleRing()
	for _, page := range []string{"/shop", "/news", "/berry"} {
		owner, replica := ring.Owners(page)
		fmt.Printf("%s is on %s, its replica on %s\n", page, owner, replica)
	}
	// Output:
	// /shop is on board-1, its replica on board-3
	// /news is on board-2, its replica on board-3
	// /berry is on board-3, its replica on board-1
}

// A key moves off its owner only while that board has more than its bounded share
// of the requests in flight.
func ExampleRing_Pick() {
	ring := newExampleRing()
	inFlight := map[string]int{"board-1": 2, "board-2": 2, "board-3": 2}
	load := func(board string) int { return inFlight[board] }

	fmt.Println("idle rack:", ring.Pick("/shop", load))

	// At 30 requests in flight a board may have ⌈1.25 · (30+1) / 3⌉ = 13 of them.
	inFlight = map[string]int{"board-1": 12, "board-2": 9, "board-3": 9}
	fmt.Println("12 of 30 on the owner:", ring.Pick("/shop", load))
	inFlight = map[string]int{"board-1": 13, "board-2": 9, "board-3": 8}
	fmt.Println("13 of 30 on the owner:", ring.Pick("/shop", load))
	// Output:
	// idle rack: board-1
	// 12 of 30 on the owner: board-1
	// 13 of 30 on the owner: board-3
}

// Shares returns the fraction of all keys that each board owns.
func ExampleRing_Shares() {
	shares := newExampleRing().Shares()
	for _, board := range slices.Sorted(maps.Keys(shares)) {
		fmt.Printf("%s: %.0f %%\n", board, 100*shares[board])
	}
	// Output:
	// board-1: 35 %
	// board-2: 32 %
	// board-3: 33 %
	// board-4: 0 %
}
