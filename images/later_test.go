//go:build linux

package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// maxLater bounds the image that is for later boards too, in bytes.
const maxLater = 80_000_000

// laterImage makes that image of the parts that all tests share.
func laterImage(t *testing.T) string {
	t.Helper()
	o := built.options
	o.Later, o.Out = true, filepath.Join(built.folder, "later.img")
	report, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if report.Bytes >= maxLater {
		t.Errorf("the image has %d bytes; at most %d", report.Bytes, maxLater)
	}
	return o.Out
}

// A card that is for later boards too boots a Raspberry Pi 2, with the kernel of
// its own, and a first board as ever.
func TestOneCardBootsFirstAndLaterBoards(t *testing.T) {
	long(t)
	if os.Getenv(aloneEnv) == "" {
		theImage(t)
		image := laterImage(t)
		checkFAT(t, image)
		checkExt4(t, image)
	}
	image, inside := alone(t, 40*time.Minute)
	if !inside {
		return
	}
	loopbackUp(t)
	for i, m := range []model{model2, modelB} {
		b := newBoard(t, filepath.Join(filepath.Dir(image), "later.img"), serials()[i],
			"-netdev", "user,id=n0,hostfwd=tcp:127.0.0.1:8001-:80,hostfwd=tcp:127.0.0.1:8002-:8080", "-device", "usb-net,netdev=n0,mac=%s")
		b.model = m
		b.settle("boards = 1", "ntp = [\"10.0.2.2\"]")
		b.start()
		b.waitSaid(m.boot, `bramble: data partition clean; grown to (\d+) MB`)
		b.waitSaid(m.boot, `bramble: board \S+ starts, slot a, `)
		b.waitPage("http://127.0.0.1:8001/p/berry", "A berry.")
		var receipt string
		until(t, m.boot, "an order", func() (err error) {
			receipt, err = order(t.Context(), "http://127.0.0.1:8001", "ann")
			return err
		})
		b.waitPage("http://127.0.0.1:8001"+receipt, "ann")
		runs := strings.TrimSpace(b.shell("uname -r"))
		if flavour := (Options{Later: true}).generations()[1-i].flavour; !strings.HasSuffix(runs, flavour) {
			t.Errorf("%s runs Linux %s, and not one %s", m.machine, runs, flavour)
		}
		if got := strings.TrimSpace(b.shell("ls /lib/modules")); got != runs {
			t.Errorf("%s has modules of %q, and runs %s", m.machine, got, runs)
		}
		b.cutPower()
	}
}
