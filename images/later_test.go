//go:build linux

package images

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// maxLater bounds the image for later boards too, in bytes.
const maxLater = 110_000_000

// laterImage is the name of that image, beside the one that all tests share.
const laterImage = "later.img"

// builtLater builds that image once.
var builtLater sync.Once

// buildLaterImage builds it from the options of the one that all tests share.
func buildLaterImage(t *testing.T) {
	t.Helper()
	builtLater.Do(func() {
		o := built.options
		o.Later, o.Out = true, filepath.Join(built.folder, laterImage)
		report, err := Build(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if report.Bytes >= maxLater {
			t.Errorf("the image has %d bytes; at most %d", report.Bytes, maxLater)
		}
		checkFAT(t, o.Out)
		checkExt4(t, o.Out)
		manifest := (&emulatedBoard{t: t, card: o.Out}).readFile(manifestName)
		for _, g := range allPlatforms() {
			if !strings.Contains(manifest, " | a/"+g.file+"\n") || !strings.Contains(manifest, g.flavour+" | ") {
				t.Errorf("the manifest lacks the kernel for %s", g.name)
			}
		}
		if strings.Contains(manifest, "see its source") || strings.Contains(manifest, "see licences/") {
			t.Errorf("the manifest has a part of unknown licence:\n%s", manifest)
		}
	})
	if _, err := os.Stat(filepath.Join(built.folder, laterImage)); err != nil {
		t.Fatal(err) // another test was told why
	}
}

// inLaterNamespace is inNamespace with the image for later boards.
func inLaterNamespace(t *testing.T, limit time.Duration) (image string, inside bool) {
	t.Helper()
	skipUnlessBoards(t)
	if os.Getenv(aloneEnv) == "" {
		needTools(t, tool{"qemu-system-aarch64", "qemu-system-arm"})
		sharedImage(t)
		buildLaterImage(t)
	}
	image, inside = inNamespace(t, limit)
	return filepath.Join(filepath.Dir(image), laterImage), inside
}

// A card for later boards too boots a Raspberry Pi 3 and a Raspberry Pi 2, each with its
// own kernel, and a first board.
func TestOneCardBootsFirstAndLaterBoards(t *testing.T) {
	image, inside := inLaterNamespace(t, 55*time.Minute)
	if !inside {
		return
	}
	loopbackUp(t)
	for i, tt := range []struct {
		model model
		runs  platform
	}{
		{model3, arm64Platform()}, {model2, armv7Platform()}, {modelB, armv6Platform()},
	} {
		began := time.Now()
		b := newBoard(t, image, serials()[i],
			"-netdev", "user,id=n0,hostfwd=tcp:127.0.0.1:8001-:80,hostfwd=tcp:127.0.0.1:8002-:8080", "-device", "usb-net,netdev=n0,mac=%s")
		b.model = tt.model
		b.writeSettings("expected_boards = 1", "ntp = [\"10.0.2.2\"]")
		b.start()
		b.waitSerial(b.model.boot, `bramble: data partition clean; grown to (\d+) MB`)
		b.waitSerial(b.model.boot, `bramble: board \S+ starts, slot a, `)
		b.waitPage("http://127.0.0.1:8001/p/berry", "A berry.")
		var receipt string
		waitUntil(t, b.model.boot, "an order", func() (err error) {
			receipt, err = placeOrder(t.Context(), "http://127.0.0.1:8001", "ann")
			return err
		})
		b.waitPage("http://127.0.0.1:8001"+receipt, "ann")
		runs := strings.TrimSpace(b.runShell("uname -r"))
		if !strings.HasSuffix(runs, tt.runs.flavour) {
			t.Errorf("%s runs Linux %s, and not one %s", b.model.machine, runs, tt.runs.flavour)
		}
		if got := strings.TrimSpace(b.runShell("ls /lib/modules")); got != runs {
			t.Errorf("%s has modules of %q, and runs %s", b.model.machine, got, runs)
		}
		if got := strings.TrimSpace(b.runShell("kexec --version; kexec64 --version 2>&1")); strings.Count(got, "kexec-tools 2") != map[bool]int{false: 1, true: 2}[tt.runs.kexec != ""] {
			t.Errorf("%s has the programs\n%s", b.model.machine, got)
		}
		several := strings.TrimSpace(b.runShell("cat /sys/devices/system/cpu/possible"))
		if (several != "0") != (tt.runs.file != armv6Platform().file) {
			t.Errorf("%s has the processors %s", b.model.machine, several)
		}
		t.Logf("%s, Linux %s: %.0f s, %s s of its own time; memory\n%s", b.model.machine, runs, time.Since(began).Seconds(),
			strings.Fields(b.runShell("cat /proc/uptime"))[0], b.runShell("free"))
		b.cutPower()
	}
}
