package console

import (
	"net/netip"
	"testing"
)

// remoteClient returns the nth client on another machine.
func remoteClient(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 32)
}

func TestClientPrefix(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "::1": "::1/128", "127.0.0.1": "127.0.0.1/32",
	} {
		if got := clientPrefix(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

// Each step is a client that asks for one more of eight permits, of which a client may
// hold two: it gets a free one ("free"), the permit of another client ("evict") or none
// ("-").
func TestQuotaIsSharedFairly(t *testing.T) {
	q := newQuota[int](8, 1)
	self := netip.MustParsePrefix("127.0.0.1/32")
	holder := map[int]netip.Prefix{}
	for n, step := range []struct {
		client netip.Prefix
		want   string
	}{
		{remoteClient(1), "free"}, {remoteClient(1), "free"}, {remoteClient(1), "-"}, // its share
		{remoteClient(2), "free"}, {remoteClient(2), "free"}, {remoteClient(3), "free"}, {remoteClient(3), "free"},
		{remoteClient(4), "free"}, {remoteClient(4), "free"}, // all eight
		{remoteClient(4), "-"}, {self, "free"}, // the board's own has one more
		{remoteClient(5), "evict"}, {remoteClient(5), "-"}, // as many as the clients with the most
		{remoteClient(6), "evict"}, {remoteClient(7), "evict"}, {remoteClient(8), "evict"}, {remoteClient(9), "-"}, // one each
		{self, "-"}, {self, "-"},
	} {
		victim, evicted, ok := q.reservePermit(step.client, n)
		got := "-"
		switch {
		case evicted && ok:
			got = "evict"
			if !isNewest(holder, victim) || len(q.byClient[holder[victim]]) != 1 {
				t.Errorf("step %d: permit %d of %s was evicted", n, victim, holder[victim])
			}
			delete(holder, victim)
		case ok:
			got = "free"
		}
		if got != step.want {
			t.Fatalf("step %d: %s got %q, want %q", n, step.client, got, step.want)
		}
		if ok {
			holder[n] = step.client
		}
		if q.held != len(holder) || q.held > 9 {
			t.Fatalf("step %d: %d permits are held, want %d", n, q.held, len(holder))
		}
	}
	for n, client := range holder {
		q.releasePermit(client, n)
		q.releasePermit(client, n)
	}
	if q.held != 0 || len(q.byClient) != 0 {
		t.Errorf("%d permits are still held, by %d clients", q.held, len(q.byClient))
	}
}

// isNewest reports whether a permit is its holder's newest.
func isNewest(holder map[int]netip.Prefix, permit int) bool {
	for n, client := range holder {
		if client == holder[permit] && n > permit {
			return false
		}
	}
	return true
}
