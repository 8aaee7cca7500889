package admission

import (
	"net/netip"
	"testing"
	"time"
)

func TestALimitLetsABurstThroughAndThenItsRate(t *testing.T) {
	const second = 1000 * rateUnits
	for _, start := range []uint32{0, 1 << 31, ^uint32(0) - 30*second} {
		l := newRateLimiter(10, time.Second, 20)
		allowed := func(at uint32) (n int) {
			for l.allow(1<<16|7, at) {
				n++
			}
			return n
		}
		for i, want := range []int{20, 10, 10, 20, 20} {
			at := start + []uint32{0, 1, 2, 9, 1 << 30}[i]*second
			if i == 4 {
				at = start + 1<<31 - 1 // hours later, when the time has nearly gone half round
			}
			if got := allowed(at); got != want {
				t.Errorf("from %d, step %d: %d allowed, want %d", start, i, got, want)
			}
		}
	}
	if l := newRateLimiter(0, time.Second, 0); !l.allow(1, 1) {
		t.Error("a limiter without a limit refuses")
	}
}

func TestClientsAndTheirNetworks(t *testing.T) {
	l := NewClientLimits(Rates{})
	of := func(text string) ClientKey { return l.KeyOf(netip.MustParseAddr(text)) }
	for _, test := range []struct {
		a, b             string
		address, network bool
	}{
		{"192.0.2.1", "192.0.2.1", true, true}, {"192.0.2.1", "::ffff:192.0.2.1", true, true},
		{"192.0.2.1", "192.0.2.200", false, true}, {"192.0.2.1", "192.0.3.1", false, false},
		{"2001:db8::1", "2001:db8::2", false, true}, {"2001:db8::1", "2001:db8:0:1::1", false, false},
		{"fe80::1%a", "fe80::1%b", true, true},
	} {
		a, b := of(test.a), of(test.b)
		if (a.address == b.address) != test.address || (a.network == b.network) != test.network {
			t.Errorf("%s and %s: same address %v, same network %v", test.a, test.b, a.address == b.address, a.network == b.network)
		}
	}
}

func TestArrivalsAreSpread(t *testing.T) {
	p := ArrivalPacer{Rate: 100}
	now := time.Unix(0, 0)
	for i := range ArrivalBurst {
		if pause := p.DelayNext(now); pause > 0 {
			t.Fatalf("arrival %d waits %v", i, pause)
		}
	}
	if pause := p.DelayNext(now); pause != 10*time.Millisecond {
		t.Errorf("the first beyond the burst waits %v", pause)
	}
	if pause := p.DelayNext(now.Add(time.Hour)); pause > 0 {
		t.Errorf("an hour later one waits %v", pause)
	}
}

func TestTimeoutsShrinkAsTheTableFills(t *testing.T) {
	for _, test := range []struct {
		configured time.Duration
		open, want int64
	}{
		{time.Minute, 0, 60}, {time.Minute, 50, 60}, {time.Minute, 75, 31}, {time.Minute, 100, 2}, {time.Minute, 120, 2},
		{time.Second, 100, 1},
	} {
		if got := ScaleTimeout(test.configured, 2*time.Second, test.open, 100); got != time.Duration(test.want)*time.Second {
			t.Errorf("%v with %d of 100 open: %v, want %d s", test.configured, test.open, got, test.want)
		}
	}
	if got := ScaleTimeout(time.Minute, 2*time.Second, 1000, 0); got != time.Minute {
		t.Errorf("without a limit: %v", got)
	}
}
