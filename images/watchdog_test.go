//go:build linux

package images

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The watchdog resets a board whose program hangs. The emulator's model of the chip's
// watchdog resets at the write that arms it, and never counts. Linux's software watchdog,
// from the same kernel package, replaces it; everything else is as on a board.
func TestAHungBoardIsReset(t *testing.T) {
	skipUnlessBoards(t)
	extra := softdog(t) // before a namespace that has no network to fetch by
	image, inside := inNamespace(t, 20*time.Minute)
	if !inside {
		return
	}
	loopbackUp(t)
	b := newBoard(t, image, serials()[0], "-netdev", "user,id=n0,hostfwd=tcp:127.0.0.1:8001-:80", "-device", "usb-net,netdev=n0,mac=%s")
	b.extra, b.watchdog = extra, true
	b.writeSettings("expected_boards = 1", "ntp = [\"10.0.2.2\"]", "[panel]\nbutton_pin = \"none\"")
	b.start()
	b.waitPage("http://127.0.0.1:8001/p/berry", "A berry.")
	// Longer than the watchdog's timeout: it is fed.
	_, up := b.bytesWritten()
	b.waitUp(time.Duration(up)*time.Second + 20*time.Second)
	stopped, err := strconv.ParseFloat(strings.Fields(b.runShell("kill -STOP " + b.nodePID() + "; cat /proc/uptime"))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	b.waitSerial(5*time.Minute, `bramble: the board does not answer .*: the watchdog resets the machine`)
	bit, err := strconv.ParseFloat(b.waitSerial(2*time.Minute, `\[ *([0-9.]+)\] softdog: Initiating system reboot`), 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the board hung at second %.0f and was reset at second %.0f", stopped, bit)
	// A grace of 45 s and the watchdog's 15 s (images/cardinit), and a health check on either side.
	if after := bit - stopped; after < 45 || after > 75 {
		t.Errorf("it was reset %.0f s after it hung", after)
	}
	waitUntil(t, time.Minute, "the emulator to end, as it does at a reset", func() error {
		if !b.hasEnded() {
			return errors.New("it is still there")
		}
		return nil
	})
	b.cutPower()
	b.start()
	b.waitPage("http://127.0.0.1:8001/p/berry", "A berry.")
}

// softdog returns a start-up archive with the software watchdog, and a first program that
// loads it in place of the chip's.
func softdog(t *testing.T) []byte {
	t.Helper()
	o := Options{}
	tools, err := findTools(tool{aptHelper, "apt"}, tool{"dpkg-deb", "dpkg"})
	if err != nil {
		failOrSkip(t, err.Error())
	}
	lock, err := o.readLock()
	if err != nil {
		t.Fatal(err)
	}
	lock.Packages = slices.DeleteFunc(lock.Packages, func(p Package) bool { return !strings.HasPrefix(p.Name, kernelPrefix) })
	p := builder{lock: lock, tools: tools, work: t.TempDir(), options: o}
	if err := p.fetchPackages(t.Context()); err != nil {
		t.Fatal(err)
	}
	k, err := p.findKernel(armv6Platform())
	if err != nil {
		t.Fatal(err)
	}
	files := cpioTree{}
	files.putFile("root/softdog.ko", 0o644, readTestFile(t, filepath.Join(k.root, "lib/modules", k.version, "kernel/drivers/watchdog/softdog.ko")))
	const start = "exec /bin/busybox init"
	first := bytes.Replace(startScript, []byte(start), []byte(strings.Join([]string{
		"/bin/busybox insmod /root/softdog.ko", "/bin/busybox mv /dev/watchdog /dev/watchdog.chip",
		"/bin/busybox ln -s watchdog1 /dev/watchdog", start}, "\n")), 1)
	if bytes.Equal(first, startScript) {
		t.Fatal("the first program does not end as this test knows it")
	}
	files.putFile("init", 0o755, first)
	return files.formatCPIO(time.Unix(0, 0))
}
