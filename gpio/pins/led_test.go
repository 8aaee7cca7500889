package pins

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	panel "bramble/gpio"
)

// fakeLED makes the files of a kernel LED.
func fakeLED(t *testing.T, name, trigger string) (h *PinHost, read func(file string) string) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"trigger": trigger, "brightness": "1", "max_brightness": "1\n", "delay_on": "", "delay_off": ""} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h, _ = fakeHost(modelB, root)
	return h, func(file string) string {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		return first
	}
}

func TestLED(t *testing.T) {
	for _, c := range []struct{ name, triggers, before string }{
		{"ACT", "none kbd-scrolllock timer [mmc0] heartbeat", "mmc0"},
		{"led0", "[none] timer", "none"},
		{"ACT", "nonsense", "none"},
		{"ACT", "none mmc0 [timer]", "mmc0"},
		{"ACT", "none [timer]", "none"},
	} {
		h, read := fakeLED(t, c.name, c.triggers)
		l, err := OpenLED(h, "ACT")
		if err != nil {
			t.Fatal(err)
		}
		if got := read("trigger"); got != "none" {
			t.Errorf("taken over, the trigger is %q", got)
		}
		for level, want := range map[panel.Level]string{panel.Full: "1", panel.Off: "0"} {
			if err := l.Set(0, level); err != nil || read("brightness") != want {
				t.Errorf("%v: brightness %s, want %s; %v", level, read("brightness"), want, err)
			}
		}
		on := panel.Full
		if n := testing.AllocsPerRun(10, func() { _ = l.Set(0, on); on = panel.Full - on }); n != 0 {
			t.Errorf("%v allocations a change", n)
		}
		if err := l.Close(); err != nil || read("trigger") != c.before || read("brightness") != "0" {
			t.Errorf("closed: %v, trigger %q, want %q", err, read("trigger"), c.before)
		}
	}
}

func TestLEDPersists(t *testing.T) {
	h, read := fakeLED(t, "ACT", "none [mmc0] timer")
	l, err := OpenLED(h, "ACT")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Persist(panel.Render(panel.Input{Health: panel.Drained}, 0).Health); err != nil {
		t.Fatal(err)
	}
	if got := read("trigger") + " " + read("delay_on") + " " + read("delay_off"); got != "timer 125 2875" {
		t.Errorf("left as %s", got)
	}
	h, read = fakeLED(t, "ACT", "none [mmc0] timer")
	if l, err = OpenLED(h, "ACT"); err != nil {
		t.Fatal(err)
	}
	if err := l.Persist(panel.Render(panel.Input{Health: panel.Serving}, 0).Health); err == nil || read("trigger") != "mmc0" {
		t.Errorf("what the kernel cannot blink: %v, trigger %q", err, read("trigger"))
	}
}

func TestNoLED(t *testing.T) {
	h, _ := fakeLED(t, "PWR", "[default-on]")
	if _, err := OpenLED(h, "ACT"); err == nil || err.Error() != `the LED "ACT" is not on this machine; there are PWR` {
		t.Error(err)
	}
}
