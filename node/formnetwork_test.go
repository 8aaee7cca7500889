package node

import (
	"net/netip"
	"testing"
)

// A network has one hash on every board, and two have most often two. Nobody without the key can compute it.
func TestNetworksOfFormsAreHashed(t *testing.T) {
	key := []byte("key")
	for _, same := range [][2]string{{"192.0.2.1", "192.0.2.250"}, {"192.0.2.1", "::ffff:192.0.2.7"}, {"2001:db8:1:2::3", "2001:db8:1:ffff::1"}} {
		if hashNetwork(key, netip.MustParseAddr(same[0])) != hashNetwork(key, netip.MustParseAddr(same[1])) {
			t.Errorf("%q are two networks", same)
		}
	}
	hashes, others := map[uint16]bool{}, 0
	for i := range 1000 {
		client := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		hashes[hashNetwork(key, client)] = true
		if hashNetwork([]byte("another"), client) != hashNetwork(key, client) {
			others++
		}
	}
	if len(hashes) < 980 || others < 990 { // 8 pairs of 1,000 share one on the average
		t.Errorf("1,000 networks have %d hashes, and %d others with another key", len(hashes), others)
	}
	if first, second := hashNetwork(key, netip.Addr{}), hashNetwork(key, netip.Addr{}); first != second {
		t.Error("no client has two hashes")
	}
}
