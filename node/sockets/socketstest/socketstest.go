// Package socketstest gives tests ports of their own. A port that a test found free, and has not yet
// listened at, is easily taken by another test; so tests take ports in blocks, and guard each block.
package socketstest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Tests take ports in blocks, below those that labs take and below the ephemeral ones.
const (
	portsLow  = 10_000
	portsHigh = 20_000
	portBlock = 50
)

// FreePorts reserves n consecutive ports of 127.0.0.1, at most 49, for a test until it ends, and returns
// the first. Nothing listens at them yet, neither by TCP nor by UDP. FreePorts listens at the port
// before them until the test ends, so no other test that calls it takes them, in this process or another.
func FreePorts(t testing.TB, n int) int {
	t.Helper()
	if n >= portBlock {
		t.Fatalf("a block has %d ports, not %d", portBlock-1, n)
	}
	for _, block := range rand.Perm((portsHigh - portsLow) / portBlock) {
		first := portsLow + block*portBlock
		guard, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first))
		if err != nil {
			continue
		}
		if arePortsFree(first+1, n) {
			t.Cleanup(func() { guard.Close() })
			return first + 1
		}
		guard.Close()
	}
	t.Fatalf("no %d free ports in a row on 127.0.0.1", n)
	return 0
}

// arePortsFree reports whether no program listens at n ports from first on.
func arePortsFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			return false
		}
		tcp.Close()
		udp, err := net.ListenPacket("udp", addr)
		if err != nil {
			return false
		}
		udp.Close()
	}
	return true
}
