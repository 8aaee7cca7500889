//go:build linux

package images

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The order book of TestRestartOnABoard. A ledger of 300,000 orders is too large for the
// start-up archive from which the emulated board gets it.
var (
	restartOrders = flag.Int("restart-orders", 40_000, "orders of TestRestartOnABoard's book")
	restartTail   = flag.Int("restart-tail", 4_300, "orders of it that are applied again, each in an entry of its own")
)

const (
	restartWait = 20 * time.Minute
	// restartCard is the card's size: room for the ledger, its copy and the working copy.
	restartCard = 512 << 20
	// ticksSecond is USER_HZ, the unit of /proc/stat.
	ticksSecond = 100
)

// TestRestartOnABoard counts the instructions, user and kernel, of the whole emulated board
// from the start of the order book's process after a power cut until it has caught up:
//
//	go test ./images -run TestRestartOnABoard -v -instructions -timeout 60m
//
// The process is TestRestart of node/orderservice. The board's own program runs beside it, with 3
// million instructions a second.
func TestRestartOnABoard(t *testing.T) {
	skipUnlessCounting(t)
	extra := restartArchive(t)
	image, inside := inNamespace(t, 58*time.Minute)
	if !inside {
		return
	}
	loopbackUp(t)
	b := newBoard(t, image, "00000000cafe1a2b", "-netdev", "user,id=n0", "-device", "usb-net,netdev=n0,mac=%s")
	if err := os.Truncate(b.card, restartCard); err != nil {
		t.Fatal(err)
	}
	b.extra = extra
	b.writeSettings("expected_boards = 1", "ntp = [\"10.0.2.2\"]", "[orders]\nenabled = false")
	b.start()
	b.waitSerial(bootLimit, `bramble: board bramble-1a2b starts, slot a, `)
	b.waitUp(restFrom)
	b.runShell("mkdir -p /data/restart/tmp && mv /root/ledger /data/restart/ && sync && echo 3 > /proc/sys/vm/drop_caches; df /data; free")
	b.runShell("((head -1 /proc/stat > /tmp/from; TMPDIR=/data/restart/tmp GOMEMLIMIT=100MiB /root/restart -test.run '^TestRestart$' -test.v" +
		fmt.Sprintf(" -restart-dir=/data/restart/ledger -restart-orders=%d", *restartOrders) +
		" > /tmp/restart.said 2>&1; head -1 /proc/stat > /tmp/to; echo en''ded >> /tmp/restart.said) > /dev/null 2>&1 &)")
	waitUntil(t, restartWait, "the restart", func() error {
		if text := b.runShell("tail -3 /tmp/restart.said"); !strings.Contains(text, "ended") {
			return errors.New(text)
		}
		return nil
	})
	said := b.runShell("cat /tmp/restart.said; free")
	t.Log(said)
	if !strings.Contains(said, "--- PASS: TestRestart") {
		t.Fatal("the order book did not catch up on the board")
	}
	var from, to [7]int64 // user, nice, system, idle, waiting for the card, interrupts, soft interrupts
	for file, into := range map[string]*[7]int64{"from": &from, "to": &to} {
		text := b.runShell("cat /tmp/" + file)
		if n, _ := fmt.Sscanf(strings.TrimSpace(text), "cpu %d %d %d %d %d %d %d", &into[0], &into[1], &into[2], &into[3], &into[4], &into[5], &into[6]); n != len(into) {
			t.Fatalf("/proc/stat: %s", text)
		}
	}
	passed := func(columns ...int) (instructions int64) {
		for _, c := range columns {
			instructions += (to[c] - from[c]) * (instructionsSecond / ticksSecond)
		}
		return instructions
	}
	t.Logf("%d orders, %d of them applied again: %d instructions in user mode, %d in the kernel; %v waiting for the card", *restartOrders, *restartTail,
		passed(0, 1), passed(2, 5, 6), time.Duration(to[4]-from[4])*time.Second/ticksSecond)
}

// restartArchive returns the start-up archive with a ledger and the test that opens it.
func restartArchive(t *testing.T) []byte {
	t.Helper()
	folder := t.TempDir()
	program, dir := filepath.Join(folder, "restart"), filepath.Join(folder, "ledger")
	for _, c := range []struct{ env, arguments []string }{
		{nil, []string{"test", "../node/orderservice", "-run=^TestRestart$", "-restart-alone", "-restart-dir=" + dir,
			fmt.Sprintf("-restart-orders=%d", *restartOrders), fmt.Sprintf("-restart-tail=%d", *restartTail)}},
		{[]string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm", "GOARM=6"}, []string{"test", "-c", "-trimpath", "-ldflags=-s -w", "-o", program, "../node/orderservice"}},
	} {
		cmd := exec.Command("go", c.arguments...)
		cmd.Env = append(os.Environ(), c.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	files := cpioTree{}
	files.putFile("root/restart", 0o755, readTestFile(t, program))
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files.putFile("root/ledger"+strings.TrimPrefix(path, dir), 0o600, readTestFile(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files.formatCPIO(time.Unix(0, 0))
}
