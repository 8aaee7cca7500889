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

// maxLater bounds the image that is for later boards too, in bytes.
const maxLater = 110_000_000

// laterImage is that image, beside the one that all tests share.
const laterImage = "later.img"

// builtLater is that image, which several tests share.
var builtLater sync.Once

// theLaterImage makes it of the parts of the one that all tests share.
func theLaterImage(t *testing.T) {
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
		manifest := (&emulated{t: t, card: o.Out}).read(manifestName)
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

// later is the rest of a test on an emulated board with the image for later boards.
func later(t *testing.T, limit time.Duration) (image string, inside bool) {
	t.Helper()
	long(t)
	if os.Getenv(aloneEnv) == "" {
		need(t, tool{"qemu-system-aarch64", "qemu-system-arm"})
		theImage(t)
		theLaterImage(t)
	}
	image, inside = alone(t, limit)
	return filepath.Join(filepath.Dir(image), laterImage), inside
}

// A card that is for later boards too boots a Raspberry Pi 3 and a Raspberry Pi 2,
// each with the kernel of its own, and a first board as ever.
func TestOneCardBootsFirstAndLaterBoards(t *testing.T) {
	image, inside := later(t, 55*time.Minute)
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
		b.settle("expected_boards = 1", "ntp = [\"10.0.2.2\"]")
		b.start()
		b.waitSaid(b.model.boot, `bramble: data partition clean; grown to (\d+) MB`)
		b.waitSaid(b.model.boot, `bramble: board \S+ starts, slot a, `)
		b.waitPage("http://127.0.0.1:8001/p/berry", "A berry.")
		var receipt string
		until(t, b.model.boot, "an order", func() (err error) {
			receipt, err = order(t.Context(), "http://127.0.0.1:8001", "ann")
			return err
		})
		b.waitPage("http://127.0.0.1:8001"+receipt, "ann")
		runs := strings.TrimSpace(b.shell("uname -r"))
		if !strings.HasSuffix(runs, tt.runs.flavour) {
			t.Errorf("%s runs Linux %s, and not one %s", b.model.machine, runs, tt.runs.flavour)
		}
		if got := strings.TrimSpace(b.shell("ls /lib/modules")); got != runs {
			t.Errorf("%s has modules of %q, and runs %s", b.model.machine, got, runs)
		}
		if got := strings.TrimSpace(b.shell("kexec --version; kexec64 --version 2>&1")); strings.Count(got, "kexec-tools 2") != map[bool]int{false: 1, true: 2}[tt.runs.kexec != ""] {
			t.Errorf("%s has the programs\n%s", b.model.machine, got)
		}
		several := strings.TrimSpace(b.shell("cat /sys/devices/system/cpu/possible"))
		if (several != "0") != (tt.runs.file != armv6Platform().file) {
			t.Errorf("%s has the processors %s", b.model.machine, several)
		}
		t.Logf("%s, Linux %s: %.0f s, %s s of its own time; memory\n%s", b.model.machine, runs, time.Since(began).Seconds(),
			strings.Fields(b.shell("cat /proc/uptime"))[0], b.shell("free"))
		b.cutPower()
	}
}
