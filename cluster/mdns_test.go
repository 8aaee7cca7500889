package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRackTag(t *testing.T) {
	if got, want := RackTag(rackKey(1)), "384d85a0da7b26b0"; got != want {
		t.Errorf("RackTag = %s, want %s: boards of different builds no longer find each other", got, want)
	}
	if RackTag(rackKey(1)) == RackTag(rackKey(2)) {
		t.Error("two keys, one tag")
	}
}

func TestRackAddress(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields []string
		want   string
	}{
		{"ours", []string{"rack=t", "gossip=192.0.2.1:7946"}, "192.0.2.1:7946"},
		{"in another order, and more", []string{"x", "gossip=[2001:db8::1]:7946", "rack=t"}, "[2001:db8::1]:7946"},
		{"ours, with the key before it", []string{"rack=u", "rack=t", "gossip=192.0.2.1:7946"}, "192.0.2.1:7946"},
		{"ours, by a key that we accept too", []string{"rack=old", "gossip=192.0.2.1:7946"}, "192.0.2.1:7946"},
		{"another rack", []string{"rack=u", "gossip=192.0.2.1:7946"}, ""},
		{"no rack", []string{"gossip=192.0.2.1:7946"}, ""},
		{"no address", []string{"rack=t"}, ""},
		{"a name", []string{"rack=t", "gossip=evil.example:7946"}, ""},
		{"no port", []string{"rack=t", "gossip=192.0.2.1:0"}, ""},
		{"every address", []string{"rack=t", "gossip=0.0.0.0:7946"}, ""},
		{"multicast", []string{"rack=t", "gossip=224.0.0.251:5353"}, ""},
		{"nothing", nil, ""},
	} {
		got, ok := rackAddress([]string{"t", "old"}, c.fields)
		if ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, ok, c.want)
		}
	}
}

func FuzzRackAddress(f *testing.F) {
	f.Add("rack=t", "gossip=192.0.2.1:7946")
	f.Add("gossip=[fe80::1%eth0]:7946", "rack=t")
	f.Add("rack=t", "gossip=localhost:1")
	f.Fuzz(func(t *testing.T, one, two string) {
		addr, ok := rackAddress([]string{"t"}, []string{one, two})
		if _, err := netip.ParseAddrPort(addr); ok && err != nil {
			t.Errorf("accepted %q from %q and %q: %v", addr, one, two, err)
		}
	})
}

// The following tests need networks of their own. So the test binary starts itself again in
// network namespaces; roleVar tells the new process its role.
const roleVar = "BRAMBLE_TEST_NETWORK_ROLE"

// inNamespace runs the named test of this binary again in a new network namespace, playing role. It
// skips the test, or fails it in CI, if that is not possible.
func inNamespace(t *testing.T, test, role string) *exec.Cmd {
	t.Helper()
	missing := func(what string) {
		t.Helper()
		if os.Getenv("CI") == "true" {
			t.Fatalf("this test needs %s", what)
		}
		t.Skipf("this test needs %s", what)
	}
	if runtime.GOOS != "linux" {
		missing("Linux, for a network namespace")
	}
	for _, tool := range []string{"unshare", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing("the tool " + tool + " (Debian packages util-linux and iproute2)")
		}
	}
	unshare := []string{"-n"}
	if os.Getenv(roleVar) == "" { // the first process: root may, other users if the kernel allows user namespaces
		if exec.Command("unshare", "-n", "ip", "link", "set", "lo", "up").Run() != nil {
			unshare = []string{"-r", "-n"}
			if exec.Command("unshare", "-r", "-n", "ip", "link", "set", "lo", "up").Run() != nil {
				missing("the right to make a network namespace (root, or user namespaces)")
			}
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", append(unshare, exe, "-test.run=^"+test+"$", "-test.v", "-test.timeout=1m")...)
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	return cmd
}

// runRole runs the test in a namespace to its end.
func runRole(t *testing.T, role string) {
	t.Helper()
	out, err := inNamespace(t, t.Name(), role).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in the namespace: %v\n%s", err, out)
	}
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// Two machines on one cable, a veth pair: one announces, the other browses.
func TestMDNSBetweenTwoMachines(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for multicast between namespaces")
	}
	switch os.Getenv(roleVar) {
	case "":
		t.Parallel()
		runRole(t, "browse")
	case "browse":
		browseRole(t)
	case "announce":
		announceRole(t)
	}
}

func browseRole(t *testing.T) {
	other := inNamespace(t, t.Name(), "announce")
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	other.Stderr = os.Stderr
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		if err := other.Wait(); err != nil {
			t.Errorf("the other machine: %v", err)
		}
	}()
	output := bufio.NewScanner(stdout)
	waitFor := func(word string) {
		for output.Scan() {
			if output.Text() == word {
				return
			}
		}
		t.Fatalf("the other machine did not print %q", word)
	}

	waitFor("up")
	if found, err := browse(t, "tag", time.Millisecond); !errors.Is(err, ErrNoMulticast) || found != nil {
		t.Errorf("browsing without a network: %v, %v; want ErrNoMulticast", found, err)
	}
	// Otherwise an IPv6 address may send only after a second or two (duplicate address detection).
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0); err != nil {
		t.Logf("IPv6 addresses will be usable late: %v", err)
	}
	ip(t, fmt.Sprintf("link add cable0 type veth peer name cable1 netns %d", other.Process.Pid))
	ip(t, "link set cable0 up")
	ip(t, "addr add 192.0.2.1/24 dev cable0")
	fmt.Fprintln(stdin, "plugged")
	waitFor("announced")

	// A board that answers late is in the result of a later query.
	find := func(how, tag string, want ...string) {
		t.Helper()
		var found []string
		defer func() {
			if t.Failed() {
				t.Logf("%s the last query found %v, want %v", how, found, want)
			}
		}()
		eventually(t, "the boards of the rack "+tag+" found "+how, func() bool {
			found, _ = browse(t, tag, 300*time.Millisecond)
			return slices.Equal(found, want)
		})
	}
	// No default route, as on a bare switch: the IPv4 query of the library fails there.
	find("without a default route", "ours", "192.0.2.2:7946", "192.0.2.2:7947")
	ip(t, "route add default via 192.0.2.2")
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/cable0/disable_ipv6", []byte("1"), 0); err != nil {
		t.Logf("IPv6 cannot be switched off here: %v", err)
	}
	find("with a default route and no IPv6", "ours", "192.0.2.2:7946", "192.0.2.2:7947")
	find("with a default route and no IPv6", "theirs", "192.0.2.2:7950")
	if got, err := browse(t, "nobody's", 300*time.Millisecond); len(got) > 0 || err != nil {
		t.Errorf("a rack that does not exist: %v, %v", got, err)
	}
}

func announceRole(t *testing.T) {
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("up")
	if !in.Scan() {
		t.Fatal("the cable was never plugged in")
	}
	ip(t, "link set cable1 up")
	ip(t, "addr add 192.0.2.2/24 dev cable1")
	for i, tag := range []string{"ours", "ours", "theirs"} {
		a := Announce(t.Context(), fmt.Sprintf("board.%d", i), []string{"older", tag}, []uint16{7946, 7947, 7950}[i], slog.Default())
		defer a.Close()
	}
	fmt.Println("announced")
	for in.Scan() { // until the browsing side is done
	}
}

// A board that is up before its network serves alone. When it gets an address, it announces it and
// is found by mDNS.
func TestBoardBeforeItsNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for an interface to come up")
	}
	if os.Getenv(roleVar) == "" {
		t.Parallel()
		runRole(t, "alone")
		return
	}
	noLeaks(t)
	cfg, log := testConfig(t, "a")
	cfg.Bind = ":0"
	a := mustStart(t, cfg)
	if got := board(a, "a").Addr.Addr().String(); got != "127.0.0.1" || !strings.Contains(log.String(), "no network address yet") {
		t.Errorf("without a network the board is at %s and logs\n%s", got, log)
	}
	announced := Announce(t.Context(), "a", []string{"tag"}, a.bind.Port(), cfg.Logger)
	defer announced.Close()
	eventually(t, "a log line about mDNS", func() bool { return strings.Contains(log.String(), ErrNoMulticast.Error()) })

	ip(t, "link set lo up")
	ip(t, "link add cable type veth peer name switch")
	ip(t, "link set switch up")
	ip(t, "link set cable up")
	ip(t, "addr add 192.0.2.5/24 dev cable")
	ip(t, "route add default dev cable")
	a.followAddress()
	if got := board(a, "a").Addr.Addr().String(); got != "192.0.2.5" {
		t.Errorf("with a network the board is at %s", got)
	}
	announced.Close()
	announced = Announce(t.Context(), "a", []string{"tag"}, a.bind.Port(), cfg.Logger)
	defer announced.Close()

	cfgB, _ := testConfig(t, "b")
	cfgB.Bind = ":0"
	cfgB.Discover = announced.Discover
	b := mustStart(t, cfgB)
	eventually(t, "found by mDNS", func() bool { return ringOf(a) == "a b" && ringOf(b) == "a b" })
}

// browse queries the LAN and discards what the library logs.
func browse(t *testing.T, tag string, timeout time.Duration) ([]string, error) {
	return browseRack(t.Context(), []string{tag}, timeout, log.New(io.Discard, "", 0))
}
