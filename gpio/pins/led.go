package pins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	panel "bramble/gpio"
)

// LED is a Driver of one of the kernel's LEDs, such as ACT, the green one beside the SD
// card. It is a health lamp only. While it is open, the kernel does not use the LED for
// the card.
type LED struct {
	dir     string
	file    *os.File // brightness
	trigger string   // as it was before
	on      []byte   // lights it; a field, so that Set allocates nothing
	off     []byte
	lit     bool
	known   bool
}

// OpenLED takes over the named LED from the kernel. ACT is also found under its name in
// older kernels, led0.
func OpenLED(h *PinHost, name string) (*LED, error) {
	names := []string{name}
	if name == "ACT" {
		names = append(names, "led0")
	}
	dir := ""
	for _, n := range names {
		if _, err := os.Stat(filepath.Join(h.LEDs, n, "brightness")); err == nil {
			dir = filepath.Join(h.LEDs, n)
			break
		}
	}
	if dir == "" {
		return nil, fmt.Errorf("the LED %q is not on this machine%s", name, listLEDs(h.LEDs))
	}
	l := &LED{dir: dir, on: []byte("255\n"), off: []byte("0\n")}
	if text, err := os.ReadFile(filepath.Join(dir, "max_brightness")); err == nil {
		if highest, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && highest > 0 {
			l.on = []byte(strconv.Itoa(highest) + "\n")
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "trigger"))
	if err != nil {
		return nil, fmt.Errorf("the LED %q: %w", name, err)
	}
	l.trigger = activeTrigger(string(text))
	if l.trigger == "timer" { // left by Persist, when this program ran last
		l.trigger = "none"
		if slices.Contains(strings.Fields(string(text)), "mmc0") {
			l.trigger = "mmc0" // what the firmware's device tree sets
		}
	}
	if err := l.writeFile("trigger", "none"); err != nil {
		return nil, fmt.Errorf("the LED %q cannot be taken over from the kernel: %w%s", name, err, adviceFor(err))
	}
	if l.file, err = os.OpenFile(filepath.Join(dir, "brightness"), os.O_WRONLY, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("the LED %q: %w%s", name, err, adviceFor(err)), l.writeFile("trigger", l.trigger))
	}
	return l, nil
}

// listLEDs lists the LEDs that there are, for an error.
func listLEDs(dir string) string {
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(found) == 0 {
		return ", nor is any other"
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return "; there are " + strings.Join(found, ", ")
}

// activeTrigger finds the trigger in use in the kernel's list: "none [mmc0] timer".
func activeTrigger(list string) string {
	_, rest, found := strings.Cut(list, "[")
	name, _, closed := strings.Cut(rest, "]")
	if !found || !closed {
		return "none"
	}
	return name
}

func (l *LED) writeFile(file, text string) error {
	f, err := os.OpenFile(filepath.Join(l.dir, file), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (l *LED) String() string { return "the LED " + filepath.Base(l.dir) }

// Lamps returns one lamp, for health.
func (l *LED) Lamps() (health bool, bar int) { return true, 0 }

// Where returns the board's own LED.
func (l *LED) Where(int) string { return "the board's own LED " + filepath.Base(l.dir) }

// Set writes at once, and only if the lamp must change.
func (l *LED) Set(_ int, level panel.Level) error {
	lit := level.Lit()
	if l.known && l.lit == lit {
		return nil
	}
	text := l.off
	if lit {
		text = l.on
	}
	if _, err := l.file.WriteAt(text, 0); err != nil {
		return err
	}
	l.known, l.lit = true, lit
	return nil
}

// Flush has nothing to do.
func (l *LED) Flush() error { return nil }

// Close returns the LED to its use by the kernel.
func (l *LED) Close() error {
	l.known = false
	return errors.Join(l.Set(panel.HealthLamp, panel.Off), l.writeFile("trigger", l.trigger), l.file.Close())
}

// Persist makes the kernel's own timer continue the blinking when the program has ended. It can
// play patterns of one lit and one dark step.
func (l *LED) Persist(p panel.Pattern) error {
	if len(p.Steps) != 2 || !p.Steps[0].Level.Lit() || p.Steps[1].Level.Lit() {
		return errors.Join(fmt.Errorf("%v cannot continue %q: the kernel can only blink one lit and one dark step", l, p.Name), l.Close())
	}
	err := l.writeFile("trigger", "timer")
	if err == nil {
		err = errors.Join(
			l.writeFile("delay_on", strconv.Itoa(int(p.Steps[0].MS))),
			l.writeFile("delay_off", strconv.Itoa(int(p.Steps[1].MS))))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%v cannot continue %q: %w (load the kernel's module ledtrig-timer)", l, p.Name, err), l.Close())
	}
	return l.file.Close()
}
