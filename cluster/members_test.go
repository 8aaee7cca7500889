package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

func TestRackLife(t *testing.T) {
	noLeaks(t)
	a := startBoard(t, "a")
	events, stop := a.Watch()
	defer stop()
	b := startBoard(t, "b", gossipAddr(a))
	cfgC, _ := testConfig(t, "c", gossipAddr(a))
	c := mustStart(t, cfgC)

	await(t, events, Joined, "c")
	for _, m := range []*Members{a, b, c} {
		eventually(t, "all three on every ring", func() bool { return ringOf(m) == "a b c" })
	}
	if got := board(b, "c"); got.Link != "127.0.0.1:7947" || !got.Alive || got.Self || got.Addr.String() != gossipAddr(c) {
		t.Errorf("b knows c as %+v", got)
	}
	first, second := a.Ring().Owners("/x")
	for _, m := range []*Members{b, c} {
		if f, s := m.Ring().Owners("/x"); f != first || s != second {
			t.Errorf("owners %s, %s on one board and %s, %s on another", first, second, f, s)
		}
	}

	// New vitals reach the other boards; only State and Faults cause an event.
	meta := cfgC.Meta
	meta.Vitals.ResponsesPerSecond = 1000
	c.SetMeta(meta)
	eventually(t, "c's hits known to a", func() bool { return board(a, "c").Meta.Vitals.ResponsesPerSecond == 1000 })
	meta.Vitals.Faults = OriginDown
	meta.Vitals.State = Draining
	c.SetMeta(meta)
	if e := await(t, events, Changed, "c"); e.Text != "c is now draining; it reports origin-down" {
		t.Errorf("the event is %q", e.Text)
	}
	// On a busy machine b may count as dead for a moment, here and below.
	eventually(t, "the ring without the draining board", func() bool { return ringOf(a) == "a b" })
	c.SetMeta(cfgC.Meta)
	await(t, events, Changed, "c")

	// It dies. A watcher that learns this finds it gone from the ring.
	addr := gossipAddr(c)
	c.Close()
	await(t, events, Died, "c")
	eventually(t, "the ring without the dead board", func() bool { return ringOf(a) == "a b" })
	if got := board(a, "c"); got.Alive || got.Departed {
		t.Errorf("the dead board: %+v", got)
	}
	knows := func(wantAlive, wantKnown int) func() bool {
		return func() bool {
			alive, known := a.Known()
			return alive == wantAlive && known == wantKnown
		}
	}
	eventually(t, "two of three known boards are alive", knows(2, 3))

	// It returns at its address without any hint: the others find it.
	cfgC.Bind, cfgC.Join = addr, nil
	c = mustStart(t, cfgC)
	await(t, events, Returned, "c")
	eventually(t, "c on the ring again", func() bool { return ringOf(a) == "a b c" && ringOf(c) == "a b c" })

	// It leaves and returns.
	if err := c.Leave(5 * time.Second); err != nil {
		t.Errorf("Leave: %v", err)
	}
	c.Close()
	// On a machine where a is too busy to receive the goodbye, it may count c as dead before.
	if awaitAny(t, events, "c", Departed, Died).Kind == Departed {
		if got := board(a, "c"); got.Alive || !got.Departed {
			t.Errorf("the board that left: %+v", got)
		}
		eventually(t, "only two boards are known", knows(2, 2))
	}
	eventually(t, "c left, or died, for b too", func() bool { return !board(b, "c").Alive })
	cfgC.Join = []string{gossipAddr(b)}
	c = mustStart(t, cfgC)
	await(t, events, Returned, "c")
}

func TestBoardReturnsAtAnotherAddress(t *testing.T) {
	noLeaks(t)
	a := startBoard(t, "a")
	events, stop := a.Watch()
	defer stop()
	b := startBoard(t, "b", gossipAddr(a))
	await(t, events, Joined, "b")
	b.Close()
	await(t, events, Died, "b")
	b2 := startBoard(t, "b", gossipAddr(a))
	await(t, events, Returned, "b")
	if got := board(a, "b").Addr.String(); got != gossipAddr(b2) {
		t.Errorf("b is known at %s but is at %s", got, gossipAddr(b2))
	}
}

// A goodbye that comes after its board counts as dead says nothing about the board's next life: if that one dies, the
// others search for it.
func TestLateGoodbyeDoesNotOutliveItsBoard(t *testing.T) {
	noLeaks(t)
	a := startBoard(t, "a")
	events, stop := a.Watch()
	defer stop()
	b := startBoard(t, "b", gossipAddr(a))
	await(t, events, Joined, "b")
	b.Close()
	await(t, events, Died, "b")
	gossipDelegate{a, a.generation}.NotifyMsg([]byte("Lb"))
	b = startBoard(t, "b", gossipAddr(a))
	await(t, events, Returned, "b")
	b.Close()
	if e := awaitAny(t, events, "b", Died, Departed); e.Kind != Died {
		t.Errorf("its death counts as %s", e.Kind)
	}
}

func TestRestartBeforeAnybodyNoticed(t *testing.T) {
	noLeaks(t)
	a := startBoard(t, "a")
	cfg, _ := testConfig(t, "b", gossipAddr(a))
	b := mustStart(t, cfg)
	eventually(t, "b on a's ring", func() bool { return ringOf(a) == "a b" })
	cfg.Bind = gossipAddr(b)
	b.Close()
	cfg.Meta.Version = "second"
	b = mustStart(t, cfg)
	defer func() {
		if t.Failed() {
			t.Logf("a knows %+v\nb knows %+v", a.Boards(), b.Boards())
		}
	}()
	eventually(t, "a knows the second b", func() bool {
		got := board(a, "b")
		return got.Alive && got.Meta.Version == "second" && ringOf(b) == "a b"
	})
}

func TestBoardWithAnotherKeyNeverJoins(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits a second for attempts to join")
	}
	noLeaks(t)
	cfgA, logA := testConfig(t, "a")
	a := mustStart(t, cfgA)
	cfgX, logX := testConfig(t, "x", gossipAddr(a))
	cfgX.Keys = [][]byte{rackKey(2)}
	x := mustStart(t, cfgX)
	const why = "another rack key"
	eventually(t, "both log the reason", func() bool {
		return strings.Contains(logA.String(), why) && strings.Contains(logX.String(), why)
	})
	// RejoinMax is 200 ms, so by now a board would have joined several times.
	tries := 0
	eventually(t, "some more attempts", func() bool { tries++; return tries > 200 })
	if len(a.Boards()) != 1 || len(x.Boards()) != 1 {
		t.Errorf("they joined: %v, %v", a.Boards(), x.Boards())
	}
	if n := strings.Count(logA.String(), why); n > 3 { // by packet, by stream, by reply
		t.Errorf("a logged it %d times in a second", n)
	}
}

func TestKeyRotation(t *testing.T) {
	noLeaks(t)
	cfgA, _ := testConfig(t, "a")
	cfgA.Keys = [][]byte{rackKey(1), rackKey(2)} // old first: step one of a rotation
	a := mustStart(t, cfgA)
	cfgB, _ := testConfig(t, "b", gossipAddr(a))
	cfgB.Keys = [][]byte{rackKey(2), rackKey(1)} // new first: step two
	b := mustStart(t, cfgB)
	eventually(t, "boards in different steps form one rack", func() bool { return ringOf(a) == "a b" && ringOf(b) == "a b" })
}

func TestTwoBoardsOneName(t *testing.T) {
	noLeaks(t)
	cfgA, log := testConfig(t, "a")
	a := mustStart(t, cfgA)
	events, stop := a.Watch()
	defer stop()
	startBoard(t, "a", gossipAddr(a))
	await(t, events, Conflict, "a")
	eventually(t, "a line that says what to do", func() bool {
		return strings.Contains(log.String(), "two boards call themselves a: give one of them another name under [board]")
	})
}

func TestDiscoverAndLoneBoard(t *testing.T) {
	noLeaks(t)
	a := startBoard(t, "a", "127.0.0.1:1", "no-such-host.invalid")
	if got := ringOf(a); got != "a" {
		t.Errorf("the ring of a lone board: %q", got)
	}
	cfg, _ := testConfig(t, "b")
	var calls atomic.Int64
	cfg.Discover = func(context.Context) []string {
		if calls.Add(1) < 3 {
			return []string{"not an address", "127.0.0.1:1"}
		}
		return []string{gossipAddr(a)}
	}
	b := mustStart(t, cfg)
	eventually(t, "found", func() bool { return ringOf(a) == "a b" && ringOf(b) == "a b" })
}

func TestDeadBoardIsForgotten(t *testing.T) {
	noLeaks(t)
	cfg, _ := testConfig(t, "a")
	cfg.Forget = 200 * time.Millisecond
	a := mustStart(t, cfg)
	events, stop := a.Watch()
	defer stop()
	b := startBoard(t, "b", gossipAddr(a))
	await(t, events, Joined, "b")
	b.Close()
	await(t, events, Died, "b")
	await(t, events, Forgotten, "b")
	if alive, known := a.Known(); alive != 1 || known != 1 {
		t.Errorf("Known() = %d, %d; want 1, 1", alive, known)
	}
	if len(a.Boards()) != 1 {
		t.Errorf("still listed: %v", a.Boards())
	}
}

// cable is a network that can be cut.
type cable struct {
	memberlist.NodeAwareTransport
	pulled *atomic.Bool
}

var errPulled = errors.New("the cable is pulled")

func (c cable) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if c.pulled.Load() {
		return time.Now(), nil
	}
	return c.NodeAwareTransport.WriteToAddress(b, a)
}

func (c cable) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if c.pulled.Load() {
		return nil, errPulled
	}
	return c.NodeAwareTransport.DialAddressTimeout(a, timeout)
}

func TestSplitHeals(t *testing.T) {
	noLeaks(t)
	var pulled atomic.Bool
	start := func(name string, join ...string) *Members {
		cfg, _ := testConfig(t, name, join...)
		cfg.wrap = func(n memberlist.NodeAwareTransport) memberlist.NodeAwareTransport { return cable{n, &pulled} }
		return mustStart(t, cfg)
	}
	a := start("a")
	b := start("b", gossipAddr(a))
	eventually(t, "one rack", func() bool { return ringOf(a) == "a b" && ringOf(b) == "a b" })
	pulled.Store(true)
	eventually(t, "each on its own", func() bool { return ringOf(a) == "a" && ringOf(b) == "b" })
	pulled.Store(false)
	eventually(t, "one rack again", func() bool { return ringOf(a) == "a b" && ringOf(b) == "a b" })
}

// A board whose address changes appears at the new one without a restart.
func TestRestartGossip(t *testing.T) {
	noLeaks(t)
	a := startBoard(t, "a")
	b := startBoard(t, "b", gossipAddr(a))
	eventually(t, "one rack", func() bool { return ringOf(a) == "a b" && ringOf(b) == "a b" })
	events, stop := a.Watch()
	defer stop()
	before := gossipAddr(b)
	b.listMu.Lock()
	b.bind = netip.MustParseAddrPort("127.0.0.1:0") // what another DHCP lease does, as far as a sees
	b.listMu.Unlock()
	if err := b.restartGossip(); err != nil {
		t.Fatal(err)
	}
	// On a machine where b is too busy to answer, a may count it as dead before its goodbye comes.
	awaitAny(t, events, "b", Departed, Died)
	await(t, events, Returned, "b")
	eventually(t, "one rack again", func() bool { return ringOf(a) == "a b" && ringOf(b) == "a b" })
	if now := board(a, "b").Addr.String(); now == before || now != gossipAddr(b) {
		t.Errorf("a knows b at %s, b was at %s and is at %s", now, before, gossipAddr(b))
	}
}

func TestHealthScoreWithoutGossip(t *testing.T) {
	a := startBoard(t, "a")
	a.listMu.Lock()
	list := a.list
	if got := a.HealthScore(); got != 0 { // somebody has the lock, as while gossip starts
		t.Errorf("while gossip starts: %v", got)
	}
	a.list = nil
	a.listMu.Unlock()
	if got := a.HealthScore(); got != 0 {
		t.Errorf("without gossip: %v", got)
	}
	a.listMu.Lock()
	a.list = list
	a.listMu.Unlock()
}

// A board whose last peer died had nobody whose answers could lower its score, and shed its clients' requests as
// if it were overloaded, for as long as it was alone.
func TestALoneBoardIsHealthy(t *testing.T) {
	a := startBoard(t, "a")
	b := startBoard(t, "b", gossipAddr(a))
	eventually(t, "one rack", func() bool { return ringOf(a) == "a b" })
	b.Close() // without a goodbye
	eventually(t, "b counts as dead, and a's score has risen", func() bool {
		return !board(a, "b").Alive && a.list.NumMembers() == 1 && a.list.GetHealthScore() > 0
	})
	if got := a.HealthScore(); got != 0 {
		t.Errorf("nobody is left to ask, and the score is %v", got)
	}
}

func TestWatchLosesEventsRatherThanBlock(t *testing.T) {
	noLeaks(t)
	cfg, _ := testConfig(t, "a")
	a := mustStart(t, cfg)
	slow, stop := a.Watch()
	meta := cfg.Meta
	for i := range 3 * watchBuffer {
		meta.Vitals.Faults = Faults(i % 2)
		a.SetMeta(meta)
		a.rebuildRing()
	}
	if len(slow) != watchBuffer {
		t.Errorf("%d events wait, want %d", len(slow), watchBuffer)
	}
	stop()
	stop() // a second call does nothing
	other, _ := a.Watch()
	a.Close()
	for range other {
	}
	if late, _ := a.Watch(); late != nil {
		if _, open := <-late; open {
			t.Error("a watch of closed members is open")
		}
	}
	if err := a.Leave(time.Second); !errors.Is(err, ErrClosed) {
		t.Errorf("Leave after Close: %v, want ErrClosed", err)
	}
}

func TestContextEndsMembership(t *testing.T) {
	noLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	cfg, _ := testConfig(t, "a", "127.0.0.1:1")
	m, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	events, _ := m.Watch()
	cancel()
	for range events { // ends when all is closed
	}
}

func TestPortTaken(t *testing.T) {
	noLeaks(t)
	a := startBoard(t, "a")
	cfg, _ := testConfig(t, "b")
	cfg.Bind = gossipAddr(a)
	m, err := Start(t.Context(), cfg)
	if err == nil {
		m.Close()
		t.Fatal("two boards listen on one port")
	}
	if !strings.Contains(err.Error(), cfg.Bind) {
		t.Errorf("the error does not name %s: %v", cfg.Bind, err)
	}
}

func TestAdvertiseAddress(t *testing.T) {
	noLeaks(t)
	for bind, want := range map[string]string{
		"192.0.2.8:7946": "192.0.2.8:7946",
		"192.0.2.8":      "192.0.2.8:port",
		"":               "127.0.0.1:port",
	} {
		cfg, _ := testConfig(t, "a")
		cfg.Advertise = bind
		m := mustStart(t, cfg)
		want = strings.Replace(want, "port", fmt.Sprint(m.bind.Port()), 1)
		if got := gossipAddr(m); got != want {
			t.Errorf("advertise %q: %s, want %s", bind, got, want)
		}
	}
}
