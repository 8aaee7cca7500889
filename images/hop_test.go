//go:build linux

package images

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bramble/images/cardinit"
	updates "bramble/images/release"
)

// A Raspberry Pi 2 tries a version.
func TestAHopOnAPi2(t *testing.T) { testHop(t, model2, armv7Platform()) }

// A Raspberry Pi 3 tries a version.
func TestAHopOnAPi3(t *testing.T) { testHop(t, model3, arm64Platform()) }

// testHop makes a board with several processors try the version in its other slot: it
// restarts with one processor, undoes that on its card, and jumps into the other slot's
// kernel, which may use all of them. After that the emulator has no network, so the
// firmware starts the slot once more before the version is committed.
func testHop(t *testing.T, m model, g platform) {
	image, inside := inLaterNamespace(t, 40*time.Minute)
	if !inside {
		return
	}
	loopbackUp(t)
	b := newBoard(t, image, serials()[0],
		"-netdev", "user,id=n0,hostfwd=tcp:127.0.0.1:8001-:80,hostfwd=tcp:127.0.0.1:8002-:8080", "-device", "usb-net,netdev=n0,mac=%s")
	b.model = m
	b.writeSettings("expected_boards = 1", "ntp = [\"10.0.2.2\"]")
	next, err := updates.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	next.Version = nextVersion
	private, err := os.ReadFile(filepath.Join(filepath.Dir(image), updateKey))
	if err != nil {
		t.Fatal(err)
	}
	statement := next.Statement(time.Now())
	if next.Signature, err = statement.Sign(private); err != nil {
		t.Fatal(err)
	}
	next = next.ForSlot(secondSlot)
	for name, content := range next.Content { // to send it takes the emulator minutes
		b.writeFile(secondSlot+"/"+name, string(content))
	}
	body, err := json.Marshal(next.SlotManifest)
	if err != nil {
		t.Fatal(err)
	}

	b.start()
	const shop, ops = "http://127.0.0.1:8001", "https://127.0.0.1:8002"
	b.waitPage(shop+"/p/berry", "A berry.")
	// The reason for the hop: with several processors possible no kernel can be loaded.
	refused := b.runShell(cmp.Or(g.kexec, kexec) + " -l /boot/a/" + g.file + " --command-line=x 2>&1 | grep kexec_load; cat /sys/kernel/kexec_loaded")
	if !strings.Contains(refused, "kexec_load failed") || !strings.HasSuffix(strings.TrimSpace(refused), "0") {
		t.Errorf("kexec worked although several processors are possible: %s", refused)
	}
	ask := func(what, body string) {
		t.Helper()
		waitUntil(t, b.model.boot, what, func() error { return postJSON(t.Context(), ops+"/api/v1/"+what, body) })
	}
	ask("drain", fmt.Sprintf(`{"board":%q,"undo":false}`, b.hostName()))
	ask("card/begin", string(body))
	ask("card/try", string(body))
	b.waitSerial(b.model.boot, `bramble: restarting with one processor, to try slot b from there`)
	b.waitEnd()
	if params := b.readFile("a/cmdline.txt"); !strings.Contains(params, "nr_cpus=01 ") {
		t.Errorf("it would start with %s", params)
	}

	b.jumps = true
	b.start()
	b.waitSerial(b.model.boot, `bramble: restarting into slot b \(try\)`)
	b.waitSerial(b.model.boot, `(?s)slot b \(try\).*bramble: serial `+b.serial)
	b.waitSerial(b.model.boot, `(?s)slot b \(try\).*Please press Enter`)
	params := strings.Fields(b.runShell("cat /proc/cmdline"))
	for param, want := range map[string]bool{"bramble.slot=b": true, "bramble.trial=1": true, cardinit.AllCPUsParam: true, "bramble.slot=a": false, "nr_cpus=01": false} {
		if got := strings.Contains(" "+strings.Join(params, " ")+" ", " "+param+" "); got != want {
			t.Errorf("the new kernel has the parameter %s: %v; all are %v", param, got, params)
		}
	}
	if got := strings.Fields(b.runShell("cat /sys/devices/system/cpu/possible; uname -r")); len(got) != 2 || got[0] != "0-3" || !strings.HasSuffix(got[1], g.flavour) {
		t.Errorf("its processors and Linux: %v", got)
	}
	b.cutPower()
	b.jumps = false
	checkFAT(t, b.card)
	if params := b.readFile("a/cmdline.txt"); !strings.Contains(params, cardinit.AllCPUsParam+" ") {
		t.Errorf("slot a would start with %s", params)
	}
	if c := b.readFile("config.txt"); !strings.Contains(c, "os_prefix=a/") {
		t.Errorf("the firmware starts a version on trial:\n%s", c)
	}

	b.trial = secondSlot
	b.start()
	b.trial = ""
	b.waitSerial(b.model.boot, `bramble: board \S+ starts, slot b, on trial, `)
	ask("card/commit", `{"version":"`+nextVersion+`"}`)
	b.waitSerial(b.model.boot, `bramble: slot b has passed its trial`)
	b.cutPower()
	checkFAT(t, b.card)
	if c := b.readFile("config.txt"); !strings.Contains(c, "os_prefix=b/") {
		t.Errorf("the board would start from another slot:\n%s", c)
	}
}

// waitEnd waits until the board has restarted, which ends the emulator.
func (e *emulatedBoard) waitEnd() {
	e.t.Helper()
	select {
	case <-e.exited:
	case <-time.After(e.model.boot):
		e.t.Fatalf("%s does not restart; the last of the serial line:\n%s", e.name, lastBytes(e.serialText(), 3000))
	}
	e.cutPower()
}

// The parameter on the card is the one that the board looks for.
func TestProcessorParamIsTheSame(t *testing.T) {
	if later := kernelCmdline(firstSlot, true); strings.Count(later, " "+cardinit.AllCPUsParam+" ") != 1 {
		t.Errorf("a card for later boards has the parameters %s", later)
	}
	if first := kernelCmdline(firstSlot, false); first != "console=tty1 console=ttyAMA0,115200 panic=10 rng_core.default_quality=1000 bramble.slot=a bramble.watchdog=1\n" {
		t.Errorf("a card for first boards has the parameters %s", first)
	}
}
