package console

import (
	"net/netip"
	"testing"
)

// stranger is the nth of clients elsewhere.
func stranger(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 32)
}

func TestAClientIsAnAddressOrWhatASubscriberHas(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "::1": "::1/128", "127.0.0.1": "127.0.0.1/32",
	} {
		if got := clientPrefix(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

// Each step is somebody who wants one more place of eight, of which a client may
// hold two; "-" is that there is none for him, a letter that of whoever had to go.
func TestPlacesAreShared(t *testing.T) {
	s := newQuota[int](8, 1)
	self := netip.MustParsePrefix("127.0.0.1/32")
	holder := map[int]netip.Prefix{}
	for n, step := range []struct {
		who  netip.Prefix
		want string
	}{
		{stranger(1), "in"}, {stranger(1), "in"}, {stranger(1), "-"}, // his part
		{stranger(2), "in"}, {stranger(2), "in"}, {stranger(3), "in"}, {stranger(3), "in"},
		{stranger(4), "in"}, {stranger(4), "in"}, // all eight
		{stranger(4), "-"}, {self, "in"}, // the board's own has one more
		{stranger(5), "way"}, {stranger(5), "-"}, // as many as those who hold most
		{stranger(6), "way"}, {stranger(7), "way"}, {stranger(8), "way"}, {stranger(9), "-"}, // one each
		{self, "-"}, {self, "-"},
	} {
		way, made, ok := s.reserveSlot(step.who, n)
		got := "-"
		switch {
		case made && ok:
			got = "way"
			if !isNewest(holder, way) || len(s.byClient[holder[way]]) != 1 {
				t.Errorf("step %d: place %d of %s made way", n, way, holder[way])
			}
			delete(holder, way)
		case ok:
			got = "in"
		}
		if got != step.want {
			t.Fatalf("step %d: %s got %q, want %q", n, step.who, got, step.want)
		}
		if ok {
			holder[n] = step.who
		}
		if s.held != len(holder) || s.held > 9 {
			t.Fatalf("step %d: %d are held, and %d were given", n, s.held, len(holder))
		}
	}
	for n, who := range holder {
		s.releaseSlot(who, n)
		s.releaseSlot(who, n)
	}
	if s.held != 0 || len(s.byClient) != 0 {
		t.Errorf("%d are held still, by %d", s.held, len(s.byClient))
	}
}

// isNewest reports whether a place is the last that its holder was given.
func isNewest(holder map[int]netip.Prefix, place int) bool {
	for n, who := range holder {
		if who == holder[place] && n > place {
			return false
		}
	}
	return true
}
