package cardinit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runningInit is a card's init that runs on a fake card.
type runningInit struct {
	t       *testing.T
	system  *fakeSystem
	paths   Paths
	console *consoleRecorder
	cancel  context.CancelFunc
	done    chan error
}

// startInit starts a card's init, with a network interface, a DHCP server and a time
// server that answers at once.
func startInit(t *testing.T, change func(*Config)) *runningInit {
	t.Helper()
	b := &runningInit{t: t, system: newFakeSystem(), paths: fakePaths(t), console: &consoleRecorder{}, done: make(chan error, 1)}
	newDisk(t, b.paths)
	writeFiles(t, b.paths.Proc, map[string]string{"cmdline": "bramble.slot=a bramble.serial=00001a2b"})
	writeFiles(t, b.paths.Sys, map[string]string{"class/net/lo/type": "772\n", "class/net/eth0/type": "1\n", "class/net/eth0/carrier": "1\n"})
	writeFiles(t, b.paths.Boot, map[string]string{"config.txt": testConfig, "bramble.toml": "x"})
	if err := os.WriteFile(b.paths.Partition(bootPartNumber), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{
		System: b.system, Paths: b.paths, Version: "v1", Console: b.console, Program: "bramble", Args: []string{"node"},
		Load: func(_, serial string) (CardSettings, error) {
			return CardSettings{HostName: DefaultHostName(serial), Board: "till", ProgramConfig: []byte("resolved"), NTP: []string{"127.0.0.1"}, UpdateKeys: testOwners()}, nil
		},
		ShowAlarm: func(ctx context.Context) { <-ctx.Done() },
		QueryTime: func(string) (time.Duration, error) { return time.Minute, nil },
	}
	if change != nil {
		change(&c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.cancel = cancel
	go func() { b.done <- Run(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		for {
			select {
			case p := <-b.system.starting:
				p.end <- 0
			case <-b.done:
				return
			case <-time.After(patience):
				t.Errorf("the init does not end:\n%s", b.console)
				return
			}
		}
	})
	return b
}

// awaitStart waits until a program is started.
func (r *runningInit) awaitStart(name string) *fakeProcess {
	r.t.Helper()
	for {
		select {
		case p := <-r.system.starting:
			if p.name == name {
				return p
			}
		case <-time.After(patience):
			r.t.Fatalf("%s was not started:\n%s", name, r.console)
		}
	}
}

func (r *runningInit) awaitLog(text string) {
	r.t.Helper()
	eventually(r.t, text, func() bool { return strings.Contains(r.console.String(), text) })
}

// writeLease writes what udhcpc's script writes.
func (r *runningInit) writeLease(text string) {
	r.t.Helper()
	if err := replaceFile(filepath.Join(r.paths.Run, "dhcp.eth0"), []byte(text)); err != nil {
		r.t.Fatal(err)
	}
}

func TestRunStartsTheBoard(t *testing.T) {
	t.Parallel()
	b := startInit(t, nil)
	dhcp := b.awaitStart("udhcpc")
	if args := strings.Join(dhcp.args, " "); !strings.Contains(args, "-i eth0") || !strings.Contains(args, "hostname:bramble-1a2b") {
		t.Errorf("udhcpc is started with %s", args)
	}
	b.writeLease("event=deconfig\n")
	b.writeLease("event=bound\nip=10.0.2.15\nmask=24\nrouter=10.0.2.2\ndns=10.0.2.3\n")
	node := b.awaitStart("bramble")
	if got := strings.Join(node.args, " "); got != "node "+filepath.Join(b.paths.Run, "bramble.toml") {
		t.Errorf("the board is started with %s", got)
	}
	b.awaitLog("board till starts, slot a, v1")
	text := b.console.String()
	at := 0
	for _, fact := range []string{"serial 00001a2b", "network eth0 10.0.2.15/24 by DHCP, router 10.0.2.2", "data partition clean", "clock set by 127.0.0.1", "board till starts"} {
		i := strings.Index(text[at:], "bramble: "+fact)
		if i < 0 {
			t.Fatalf("%q is not logged, or not in its order:\n%s", fact, text)
		}
		at += i
	}
	resolv, err := os.ReadFile(filepath.Join(b.paths.Etc, "resolv.conf"))
	if err != nil || string(resolv) != "nameserver 10.0.2.3\n" {
		t.Errorf("resolv.conf is %q, %v", resolv, err)
	}
	if got := b.system.commandsWith("ip "); strings.Join(got, "; ") != "ip link set dev eth0 up; ip addr add 10.0.2.15/24 broadcast + dev eth0; ip route replace 224.0.0.0/4 dev eth0; ip route replace default via 10.0.2.2 dev eth0" {
		t.Errorf("the commands for the network are %v", got)
	}
	if got := b.system.commandsWith("host "); len(got) != 1 || got[0] != "host bramble-1a2b" {
		t.Errorf("the host name is set by %v", got)
	}
	fmt.Fprintln(node.out, "panic: at sea")
	node.end <- 2
	again := b.awaitStart("bramble")
	b.awaitLog("board program ended with exit code 2; restarting it in 1s")
	if got := strings.Join(Notices(b.paths), " "); !strings.Contains(got, "has ended unexpectedly once") || !strings.Contains(got, "panic: at sea") {
		t.Errorf("the notices are %q", got)
	}
	again.end <- ExitHalt
	b.awaitLog("safe to unplug")
	eventually(t, "the data partition is unmounted", func() bool { return len(b.system.commandsWith("unmount data")) == 1 })
	if b.system.restarts != 0 {
		t.Error("a board that was shut down was restarted")
	}
}

func TestStopReachesTheProgram(t *testing.T) {
	t.Parallel()
	b := startInit(t, func(c *Config) {
		c.Load = func(string, string) (CardSettings, error) {
			return CardSettings{HostName: "till", Board: "till", Address: netip.MustParsePrefix("10.0.0.2/24"), NTP: []string{"127.0.0.1"}}, nil
		}
	})
	node := b.awaitStart("bramble")
	b.awaitLog("network eth0 10.0.0.2/24 from bramble.toml")
	if got := b.system.commandsWith("start udhcpc"); len(got) != 0 {
		t.Error("a card with a static address runs udhcpc")
	}
	b.cancel()
	if got := <-node.signals; got != Stop {
		t.Errorf("the program received the signal %v", got)
	}
	node.end <- 0
	if err := <-b.done; err != nil {
		t.Error(err)
	}
	b.done <- nil
	if len(b.system.commandsWith("unmount data")) != 1 {
		t.Error("the data partition was not unmounted")
	}
}

func TestTrialStartsTheOtherSlot(t *testing.T) {
	t.Parallel()
	b := startInit(t, nil)
	files := map[string]string{"b/slot.txt": "v2\n", "b/slot.sig": signManifest(manifestOf("v2", "b"))}
	for name, text := range slotContent("v2", "b") {
		files["b/"+name] = text
	}
	writeFiles(t, b.paths.Boot, files)
	b.system.mu.Lock()
	b.system.answers["kexec -e"] = fakeAnswer{code: 1, output: "not today"}
	b.system.mu.Unlock()
	b.awaitStart("udhcpc")
	b.writeLease("event=bound\nip=10.0.2.15\nmask=24\n")
	b.awaitStart("bramble").end <- ExitTry
	b.awaitLog("restarting into slot b (try)")
	b.awaitLog("kexec did not start it: not today")
	load := b.system.commandsWith("kexec -l")
	if len(load) != 1 || !strings.Contains(load[0], filepath.Join(b.paths.Boot, "b", KernelFile)) || !strings.HasSuffix(load[0], "bramble.slot=b bramble.serial=00001a2b bramble.trial=1") {
		t.Errorf("kexec loads %v", load)
	}
	eventually(t, "the machine restarts when the other slot cannot be started", func() bool {
		b.system.mu.Lock()
		defer b.system.mu.Unlock()
		return b.system.restarts == 1
	})
}

// freeAddress returns an address that is free now. It is below the ephemeral ports, from which
// every connection of every other test takes one.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(10_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return ""
}

func TestMistakesAreShown(t *testing.T) {
	t.Parallel()
	page := freeAddress(t)
	alarm := make(chan struct{})
	b := startInit(t, func(c *Config) {
		c.PageAddress = page
		c.ShowAlarm = func(ctx context.Context) { close(alarm); <-ctx.Done() }
		c.Load = func(string, string) (CardSettings, error) {
			return CardSettings{}, &SettingsError{[]Mistake{{Line: 2, Text: "bramble.toml: [rack] kee: unknown key"}}}
		}
	})
	b.awaitStart("udhcpc")
	b.writeLease("event=bound\nip=10.0.2.15\nmask=24\n")
	<-alarm
	b.awaitLog("bramble.toml has a mistake")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var text string
	eventually(t, "the page", func() bool {
		resp, err := client.Get("http://" + page + "/anything")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		text = string(body)
		return err == nil && resp.StatusCode == http.StatusServiceUnavailable
	})
	if !strings.Contains(text, "<strong>Line 2</strong>: bramble.toml: [rack] kee: unknown key") {
		t.Errorf("the page says\n%s", text)
	}
	if len(b.system.commandsWith("start bramble")) != 0 {
		t.Error("the program was started all the same")
	}
}

// With a dead card no order can be written: the folder would be in memory.
func TestDeadCard(t *testing.T) {
	t.Parallel()
	b := startInit(t, func(c *Config) {
		c.System.(*fakeSystem).answers = map[string]fakeAnswer{"e2fsck": {code: 8}, "mke2fs": {code: 1, output: "Input/output error"}}
	})
	b.awaitStart("udhcpc")
	b.writeLease("event=bound\nip=10.0.2.15\nmask=24\n")
	b.awaitStart("bramble").end <- ExitHalt
	b.awaitLog("data partition cannot be used: the data partition can be neither read nor recreated")
	if got := b.system.commandsWith("mount none"); len(got) != 1 || got[0] != "mount none tmpfs ro" {
		t.Errorf("mounted in place of the data partition: %v", got)
	}
	if got := strings.Join(Notices(b.paths), " "); !strings.Contains(got, "Input/output error") {
		t.Errorf("the notices are %q", got)
	}
}

// A card with unreadable settings, on a network without a DHCP server, takes its last
// address.
func TestSavedAddressIsRestored(t *testing.T) {
	p, m := fakePaths(t), newFakeSystem()
	var log logRecorder
	n := newNetwork(m, p, CardSettings{}, log.logf)
	a := Address{Interface: "eth0", Own: netip.MustParsePrefix("10.1.1.9/16"), Gateway: netip.MustParseAddr("10.1.0.1")}
	for range 2 {
		if err := n.saveAddress(a); err != nil {
			t.Fatal(err)
		}
	}
	got, err := n.savedAddress("eth0")
	if err != nil || got.Own != a.Own || got.Gateway != a.Gateway {
		t.Errorf("the saved address is %v, %v", got, err)
	}
}

func TestNetworkFollowsLeaseAndCable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, m := fakePaths(t), newFakeSystem()
		var log logRecorder
		n := newNetwork(m, p, CardSettings{HostName: "till"}, log.logf)
		writeFiles(t, p.Sys, map[string]string{"class/net/eth0/type": "1\n", "class/net/eth0/carrier": "1\n"})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { n.run(ctx) })
		defer running.Wait()
		defer cancel()
		client := <-m.starting
		lease := func(text string) {
			if err := replaceFile(filepath.Join(p.Run, "dhcp.eth0"), []byte(text)); err != nil {
				t.Error(err)
			}
		}
		own := func() string { return n.currentAddress().Own.String() }
		lease("event=bound\nip=10.0.0.2\nmask=24\nrouter=192.168.9.1\n")
		eventually(t, "the first address", func() bool { return own() == "10.0.0.2/24" })
		if n.currentAddress().Gateway.IsValid() {
			t.Error("a router in another network is used")
		}
		lease("event=renew\nip=10.0.0.7\nmask=24\n")
		eventually(t, "another address", func() bool { return own() == "10.0.0.7/24" })
		if len(m.commandsWith("ip addr flush")) != 1 {
			t.Error("the old address was not removed")
		}
		writeFiles(t, p.Sys, map[string]string{"class/net/eth0/carrier": "0\n"})
		eventually(t, "the log says that the cable is out", func() bool { return log.contains("cable is out") })
		writeFiles(t, p.Sys, map[string]string{"class/net/eth0/carrier": "1\n"})
		if got := <-client.signals; got != Renew {
			t.Errorf("when the cable is back udhcpc receives %v", got)
		}
		lease("event=nak\n")
		eventually(t, "the address is dropped", func() bool { return !n.currentAddress().Own.IsValid() })
		client.end <- 1
		if again := <-m.starting; again.name != "udhcpc" {
			t.Errorf("%s was started, not udhcpc", again.name)
		}
	})
}

// logRecorder records log lines.
type logRecorder struct {
	mu   sync.Mutex
	text string
}

func (l *logRecorder) logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += fmt.Sprintf(format, args...) + "\n"
}

func (l *logRecorder) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text, text)
}

func TestWatchdogFeeder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		well := make(chan bool, 1)
		well <- true
		dog := &fakeWatchdog{}
		var log logRecorder
		g := startWatchdogFeeder(dog, func(context.Context) error {
			select {
			case <-well:
				return nil
			default:
				return errors.New("silence")
			}
		}, func() int64 { return 0 }, log.logf)
		eventually(t, "the watchdog is fed", func() bool { dog.mu.Lock(); defer dog.mu.Unlock(); return dog.fed != "" })
		g.stop(true)
		if dog.closed || strings.Contains(dog.fed, "V") {
			t.Error("a watchdog that must go on was stopped")
		}
		other := &fakeWatchdog{}
		g = startWatchdogFeeder(other, func(context.Context) error { return nil }, func() int64 { return 0 }, log.logf)
		g.stop(false)
		g.stop(false)
		if !other.closed || !strings.HasSuffix(other.fed, "V") || strings.Count(other.fed, "V") != 1 {
			t.Errorf("the watchdog was fed %q, closed %v", other.fed, other.closed)
		}
		var none *watchdogFeeder
		none.stop(false)
	})
}

func TestUncommittedTrialGoesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, committed := range []bool{false, true} {
			p, m := newTestCard(t)
			setRunningSlot(t, p, "b")
			config := testConfig
			if committed {
				config = strings.Replace(config, "=a/", "=b/", 1)
			}
			writeFiles(t, p.Boot, map[string]string{"config.txt": config})
			a := &cardInit{Config: Config{System: m, Paths: p}, params: KernelParams{Slot: "b", Trial: true}, log: newLogRing(p)}
			a.watchTrial(t.Context(), 20*time.Millisecond, time.Millisecond)
			if went := m.restarts == 1; went == committed {
				t.Errorf("committed: %v; the machine restarts: %v", committed, went)
			}
		}
	})
}
