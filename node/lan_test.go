//go:build linux

package node_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/node/config"
	"bramble/node/console"
)

// lanEnv marks a test binary that runs in its own network namespace, which it may
// change.
const lanEnv = "BRAMBLE_TEST_LAN"

// onLAN runs the rest of a test in a new network namespace: the outer process
// returns false, and the inner one true.
func onLAN(t *testing.T) bool {
	t.Helper()
	if testing.Short() {
		t.Skip("a rack on a LAN takes seconds to start")
	}
	if os.Getenv(lanEnv) == t.Name() {
		return true
	}
	missing := ""
	for _, tool := range []string{"unshare", "nsenter", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = "the tool " + tool + " (Debian packages util-linux and iproute2)"
		}
	}
	if missing == "" && exec.Command("unshare", "-n", "true").Run() != nil {
		missing = "the right to make a network namespace (root)"
	}
	if missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this test needs %s", missing)
		}
		t.Skipf("this test needs %s", missing)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "-n", self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), lanEnv+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a network namespace of its own: %v\n%s", err, out)
	}
	return false
}

func runCommand(t *testing.T, command string, args ...any) {
	t.Helper()
	command = fmt.Sprintf(command, args...)
	if out, err := exec.Command("sh", "-ec", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// lanRack makes boards with a network namespace each, on a bridge where the test is
// 10.77.0.254. They share one configuration, know no addresses and find each other by
// mDNS, as boards from one card image do.
func lanRack(t *testing.T, size int, extra string) *rack {
	t.Helper()
	runCommand(t, `ip link set lo up
		ip link add lan type bridge
		ip addr add 10.77.0.254/24 dev lan
		ip link set lan up`)
	r := &rack{t: t, dir: t.TempDir(), key: config.NewRackKey(), size: size}
	for i := range size {
		name := fmt.Sprintf("board-%d", i+1)
		ip := fmt.Sprintf("10.77.0.%d", i+1)
		p := &process{
			rack: r, name: name, http: "http://" + ip, console: "https://" + ip + ":8080",
			file: filepath.Join(r.dir, name+".toml"), log: filepath.Join(r.dir, name+".log"),
		}
		text := fmt.Sprintf("[board]\nname = %q\n[console]\npassword = %q\n[rack]\nkey = %q\n%s", name, consolePassword, r.key.Reveal(), extra)
		if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// The shell waits in its new namespace until its network is ready.
		p.before = []string{"unshare", "-n", "sh", "-c", `read -r go && exec "$0"`}
		p.network = func(pid int) {
			eventually(t, "a namespace for "+name, func() (bool, string) {
				mine, err := os.Readlink("/proc/self/ns/net")
				if err != nil {
					return false, err.Error()
				}
				its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
				return err == nil && its != mine, its
			})
			runCommand(t, `ip link add port%[1]d type veth peer name eth0 netns %[2]d
				ip link set port%[1]d master lan up
				nsenter -t %[2]d -n ip link set lo up
				nsenter -t %[2]d -n ip addr add 10.77.0.%[1]d/24 dev eth0
				nsenter -t %[2]d -n ip link set eth0 up`, i+1, pid)
		}
		r.boards = append(r.boards, p)
		p.start()
	}
	for _, b := range r.boards {
		b.waitReady()
	}
	return r
}

// The boards of a LAN find each other without addresses. A board whose cable to the
// others is cut does not serve what they purge meanwhile, does not overload the origin,
// and comes back by itself.
func TestIsolatedBoardServesNothingPurged(t *testing.T) {
	if !onLAN(t) {
		return
	}
	origin := &countingOrigin{}
	r := lanRack(t, 3, "[origin]\nurl = \"http://10.77.0.254:9000\"\n")
	listener, err := net.Listen("tcp", "10.77.0.254:9000")
	if err != nil {
		t.Fatal(err)
	}
	origin.serve(t, listener, 0)

	for _, b := range r.boards {
		b.waitFor("the whole rack", func(s console.RackView) bool { return inService(s) == 3 })
	}
	warm := func() {
		for range 2 {
			crowd(t, r.boards, 4, "/p")
		}
	}
	warm()

	cut := r.boards[2]
	pid := cut.cmd.Process.Pid
	runCommand(t, "nsenter -t %[1]d -n ip route add blackhole 10.77.0.1; nsenter -t %[1]d -n ip route add blackhole 10.77.0.2", pid)
	cut.waitFor("that it is cut off", func(s console.RackView) bool { return slices.Contains(faultsOf(s, "board-3"), "cut-off") })
	origin.version.Add(1)
	if result := r.boards[0].purgeOn(`{"url":"/p"}`, "board-2"); !slices.Contains(result.Absent, "board-3") {
		t.Errorf("applied by %v, absent %v; want board-3 absent", result.Applied, result.Absent)
	}
	time.Sleep(1100 * time.Millisecond) // longer than an isolated board trusts a page
	for _, b := range r.boards {
		if got := b.get("/p"); got.body != "page /p version 1" {
			t.Errorf("%s serves %q, want version 1", b.name, got.body)
		}
	}
	before := origin.asked.Load()
	began := time.Now()
	const rounds = 20
	for range rounds {
		crowd(t, []*process{cut}, 20, "/p")
	}
	asked, seconds := origin.asked.Load()-before, int64(time.Since(began)/time.Second)
	if most := 2 + seconds; asked > most {
		t.Errorf("%d requests to the isolated board in %d s cost the origin %d, want at most one a second: %d", rounds*20, seconds, asked, most)
	}

	runCommand(t, "nsenter -t %[1]d -n ip route del blackhole 10.77.0.1; nsenter -t %[1]d -n ip route del blackhole 10.77.0.2", pid)
	for _, b := range r.boards {
		b.waitFor("the rack whole again", func(s console.RackView) bool {
			return inService(s) == 3 && len(faultsOf(s, "board-3")) == 0
		})
	}
	warm()
	origin.version.Add(1)
	cut.purgeOn(`{"tag":"all-pages"}`, "board-1", "board-2", "board-3")
	for _, b := range r.boards {
		if got := b.get("/p"); got.body != "page /p version 2" {
			t.Errorf("%s serves %q, want version 2", b.name, got.body)
		}
	}
}

// inService counts the boards that serve and own a part of the ring.
func inService(s console.RackView) int {
	n := 0
	for _, b := range s.Boards {
		if b.State == "serving" && b.RingShare > 0 {
			n++
		}
	}
	return n
}

func faultsOf(s console.RackView, name string) []string {
	for _, b := range s.Boards {
		if b.Name == name {
			return b.Faults
		}
	}
	return []string{"unknown"}
}
