//go:build linux

package images

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Under -icount shift=1 an instruction of the board is 2 ns of its time, so CPU
// time in its kernel's accounts is a count of instructions, user and kernel. An
// interrupt is charged to the process that it interrupts: Debian's kernel for these
// boards has no CONFIG_IRQ_TIME_ACCOUNTING.
const (
	nsInstruction      = 2
	instructionsSecond = 1e9 / nsInstruction
)

var instructions = flag.Bool("instructions", false, "count the instructions, user and kernel, that an emulated board spends")

const (
	// countedBoots is the number of measurements, each on a board that was just started;
	// medians are reported.
	countedBoots = 3
	// fewHits and manyHits are the lengths of two runs whose difference is taken.
	fewHits, manyHits = 2_000, 10_000
	// restFrom is the time by the board's clock at which its start is complete.
	restFrom = 20 * time.Second
	// nginxAddress is where nginx.conf listens.
	nginxAddress = "127.0.0.1:81"
)

// skipUnlessCounting skips a measurement unless -instructions is given.
func skipUnlessCounting(t *testing.T) {
	t.Helper()
	if !*instructions {
		t.Skip("a measurement: run it with -instructions")
	}
}

// TestInstructionsOnABoard reports how many instructions, user and kernel, a board
// and nginx spend on a hit of one page of 4 KB, both on the same emulated board,
// over loopback, with four persistent connections:
//
//	go test ./images -run TestInstructionsOnABoard -v -instructions -timeout 30m
//
// nginx is Debian's with open_file_cache, and is also the origin from which the
// board has the page. A figure is the difference of a long run and a short one,
// of all the server's threads. On loopback the sender carries a packet through the
// receiver's TCP: a server is charged for the reply's way into the client, and not for
// the request's into itself.
func TestInstructionsOnABoard(t *testing.T) {
	skipUnlessCounting(t)
	extra := crowdAndNginx(t) // before a namespace that has no network to fetch by
	image, inside := inNamespace(t, 28*time.Minute)
	if !inside {
		return
	}
	loopbackUp(t)
	all := figures{}
	for range countedBoots {
		b := countedBoard(t, image, extra, "[panel]\nbutton_pin = \"none\"\n[origin]\nurl = \"http://"+nginxAddress+"\"")
		if said := b.runShell("nginx -c /root/nginx.conf > /tmp/nginx.said 2>&1 & sleep 2; cat /tmp/nginx.said"); strings.Contains(said, "emerg") {
			t.Fatalf("nginx says %s", said)
		}
		b.waitUp(restFrom)
		servers := []counted{
			{b, "nginx", b.pid("cmdline", "ngin[x].conf"), nginxAddress, "Server: nginx"},
			{b, "board", b.nodePID(), "127.0.0.1:80", "; hit"},
		}
		// The board stores the page after the first request.
		b.runShell("wget -q -O /dev/null http://127.0.0.1/page.html; sleep 1; wget -q -O /dev/null http://127.0.0.1/page.html")
		board := servers[1]
		idle, _, _ := board.count("sleep 10")
		all.add("board when idle, a second", idle/10)
		for _, shape := range requestShapes() {
			for _, s := range servers {
				few := s.crowd(shape, fewHits)
				many := s.crowd(shape, manyHits)
				const hits = manyHits - fewHits
				what := s.name + ", " + shape
				own, busy := (many.server-few.server)/hits, (many.all-few.all)/hits
				all.add(what+": a hit", own)
				if s == board { // it goes on with the rest meanwhile
					all.add(what+": a hit, without what it spends when idle", own-idle/10*busy/instructionsSecond)
				}
				all.add(what+": ksoftirqd, a hit", (many.kernel-few.kernel)/hits)
				all.add(what+": the whole machine with the client, a hit", busy)
			}
		}
		b.cutPower()
	}
	all.log(t)
}

// countedBoard starts a board of one, with more files in its start-up file system.
func countedBoard(t *testing.T, image string, extra []byte, settings string) *emulatedBoard {
	t.Helper()
	b := newBoard(t, image, "00000000cafe1a2b", "-netdev", "user,id=n0", "-device", "usb-net,netdev=n0,mac=%s")
	b.extra = extra
	b.writeSettings("expected_boards = 1", "ntp = [\"10.0.2.2\"]", settings)
	b.start()
	b.waitSerial(bootLimit, `bramble: board bramble-1a2b starts, slot a, `)
	return b
}

func (e *emulatedBoard) hostName() string { return "bramble-" + e.serial[len(e.serial)-4:] }

// pid returns the process whose file of that name under /proc matches a pattern. The
// pattern must not match itself.
func (e *emulatedBoard) pid(file, pattern string) string {
	e.t.Helper()
	var pid string
	waitUntil(e.t, bootLimit, "a process like "+pattern, func() error {
		said := e.runShell("grep -ls '" + pattern + "' /proc/[0-9]*/" + file)
		pid = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(said), "/proc/"), "/"+file)
		if _, err := strconv.Atoi(pid); err != nil {
			return fmt.Errorf("found %q", said)
		}
		return nil
	})
	return pid
}

// nodePID returns the process of the board's program, which is not its supervisor.
func (e *emulatedBoard) nodePID() string { return e.pid("cmdline", "nod[e]") }

// counted is a process of a board whose instructions are counted.
type counted struct {
	board         *emulatedBoard
	name, pid     string
	address, mark string // of a server; mark is in the head of every good reply
}

// run is the cost of a command, in instructions.
type run struct{ server, kernel, all int64 }

// count runs a command on the board, and returns the instructions that the process and
// the kernel's thread for network packets spent meanwhile, and those of the whole board,
// whose clock has a resolution of 10 ms.
func (c counted) count(command string) (server, kernel, all int64) {
	c.board.t.Helper()
	text := c.board.runShell(fmt.Sprintf("sh /root/count '%s %s' %s", c.pid, c.board.pid("stat", "(ksoftirqd"), command))
	var rows [4][2]float64 // two processes, up, idle
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != len(rows) {
		c.board.t.Fatalf("%s: %s", command, text)
	}
	for i, line := range lines {
		var name string
		if _, err := fmt.Sscan(line, &name, &rows[i][0], &rows[i][1]); err != nil {
			c.board.t.Fatalf("%s: %v: %s", command, err, text)
		}
	}
	passed := func(row int, unit float64) int64 { return int64((rows[row][1] - rows[row][0]) * unit) }
	return passed(0, 1./nsInstruction), passed(1, 1./nsInstruction),
		passed(2, instructionsSecond) - passed(3, instructionsSecond)
}

// idle returns a process's instructions a second without requests. It samples often,
// because a board on a busy machine takes long for a command.
func (c counted) idle(seconds int64) int64 {
	c.board.t.Helper()
	const step = 20
	var all int64
	for range seconds / step {
		spent, _, _ := c.count(fmt.Sprintf("sleep %d", step))
		all += spent
	}
	return all / (seconds / step * step)
}

// crowd sends the server a number of requests.
func (c counted) crowd(shape string, hits int) run {
	c.board.t.Helper()
	ask := fmt.Sprintf("env %s='%s %s %d %s' /root/crowd -test.run=BeACrowd >/tmp/crowd || cat /tmp/crowd", crowdEnv, c.address, shape, hits, c.mark)
	var r run
	r.server, r.kernel, r.all = c.count(`sh -c "` + ask + `"`)
	return r
}

// countingScript returns the start-up archive with the script that counts.
func countingScript(t *testing.T) []byte {
	t.Helper()
	files := cpioTree{}
	files.putFile("root/count", 0o755, readTestFile(t, "testdata/counted/count"))
	return files.formatCPIO(time.Unix(0, 0))
}

// crowdAndNginx returns the start-up archive with nginx, a page of 4 KB, this test binary
// as its clients, and the script that counts.
func crowdAndNginx(t *testing.T) []byte {
	t.Helper()
	o := Options{PackageSource: PackageSource{Lock: "testdata/nginx.lock"}}
	tools, err := findTools(tool{aptHelper, "apt"}, tool{"dpkg-deb", "dpkg"})
	if err != nil {
		failOrSkip(t, err.Error())
	}
	lock, err := o.readLock()
	if err != nil {
		t.Fatal(err)
	}
	p := builder{lock: lock, tools: tools, work: t.TempDir(), options: o}
	if err := p.fetchPackages(t.Context()); err != nil {
		t.Fatal(err)
	}
	files := cpioTree{}
	if err := p.addProgram(files, "armel", "sbin/nginx", "sbin/nginx", "lib"); err != nil {
		t.Fatal(err)
	}
	crowd := filepath.Join(p.work, "crowd")
	build := exec.Command("go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", crowd, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm", "GOARM=6")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files.putFile("root/crowd", 0o755, readTestFile(t, crowd))
	files.putFile("root/count", 0o755, readTestFile(t, "testdata/counted/count"))
	files.putFile("root/nginx.conf", 0o644, readTestFile(t, "testdata/counted/nginx.conf"))
	files.putFile("root/pages/page.html", 0o644, bytes.Repeat([]byte("0123456789abcdef"), pageBytes/16))
	return files.formatCPIO(time.Unix(0, 0))
}

func readTestFile(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// figures are the measurements of each boot, by name.
type figures map[string][]int64

func (f figures) add(what string, n int64) { f[what] = append(f[what], n) }

// log reports the medians and the single values.
func (f figures) log(t *testing.T) {
	t.Helper()
	var what []string
	for name := range f {
		what = append(what, name)
	}
	slices.Sort(what)
	for _, name := range what {
		all := slices.Sorted(slices.Values(f[name]))
		t.Logf("%s: %d instructions (of %d)", name, all[len(all)/2], all)
	}
}
