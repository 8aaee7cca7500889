package front

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestTimesShrinkAsTheTableFills(t *testing.T) {
	for _, test := range []struct {
		configured time.Duration
		open, want int64
	}{
		{time.Minute, 0, 60}, {time.Minute, 50, 60}, {time.Minute, 75, 31}, {time.Minute, 100, 2}, {time.Minute, 120, 2},
		{time.Second, 100, 1},
	} {
		if got := scaleTimeout(test.configured, minIdleTimeout, test.open, 100); got != time.Duration(test.want)*time.Second {
			t.Errorf("%v with %d of 100 open: %v, want %d s", test.configured, test.open, got, test.want)
		}
	}
	if got := scaleTimeout(time.Minute, minIdleTimeout, 1000, 0); got != time.Minute {
		t.Errorf("without a bound: %v", got)
	}
}

func TestPhasesKnowHowOldTheyAre(t *testing.T) {
	for _, tick := range []uint32{0, 5, 1<<27 - 2, 1<<27 - 1} {
		w := packState(stateReading, tick) | probedBit
		if stateOf(w) != stateReading || ticksSince(w, tick) != 0 || ticksSince(w, tick+3) != 3 {
			t.Errorf("since sweep %d: phase %d, %d and %d sweeps", tick, stateOf(w), ticksSince(w, tick), ticksSince(w, tick+3))
		}
	}
}

func TestALimitLetsABurstThroughAndThenItsRate(t *testing.T) {
	const second = 1000 * rateUnits
	for _, start := range []uint32{0, 1 << 31, ^uint32(0) - 30*second} {
		l := newRateLimiter(10)
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
	if l := newRateLimiter(0); !l.allow(1, 1) {
		t.Error("no limit refuses")
	}
}

func TestClientsAndTheirNetworks(t *testing.T) {
	l := newClientLimits(Config{})
	of := func(text string) clientKey { return l.keyOf(netip.MustParseAddr(text)) }
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
	p := arrivalPacer{rate: 100}
	now := time.Unix(0, 0)
	for i := range arrivalBurst {
		if pause := p.delayNext(now); pause > 0 {
			t.Fatalf("arrival %d waits %v", i, pause)
		}
	}
	if pause := p.delayNext(now); pause != 10*time.Millisecond {
		t.Errorf("the first beyond the burst waits %v", pause)
	}
	if pause := p.delayNext(now.Add(time.Hour)); pause > 0 {
		t.Errorf("an hour later one waits %v", pause)
	}
}

func TestTheRefusalIsWhole(t *testing.T) {
	if _, rest, err := cutReply([]byte(refusal), false); err != nil || len(rest) != 0 {
		t.Errorf("%q is left, %v", rest, err)
	}
	if !strings.Contains(refusal, "Retry-After") {
		t.Error("it does not say when to come back")
	}
}

// noFiles is a listener without a file descriptor to spare until some time.
type noFiles struct {
	net.Listener
	until time.Time
	tried atomic.Int64
}

func (l *noFiles) Accept() (net.Conn, error) {
	if l.tried.Add(1); time.Now().Before(l.until) {
		return nil, syscall.EMFILE
	}
	return l.Listener.Accept()
}

func TestWantOfFilesIsWaitedOut(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	short := &noFiles{Listener: inner, until: time.Now().Add(200 * time.Millisecond)}
	f, err := New(Config{
		Open:    func(string) (net.Listener, error) { return short, nil },
		Handler: http.NotFoundHandler(), MaxConnections: 10,
		HeaderTimeout: time.Second, IdleTimeout: time.Second, WriteTimeout: time.Second, DrainTimeout: time.Second,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	if resp := ask(t, dial(t, f)); resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %s", resp.Status)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	// 5, 10, 20, 40, 80 and 160 ms, and those that came in.
	if n := short.tried.Load(); n > 10 {
		t.Errorf("accept was tried %d times in 200 ms", n)
	}
}
