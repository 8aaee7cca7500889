//go:build linux

package images

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"bramble/gpio"
	"bramble/gpio/pins"
	"bramble/node/console"
)

// leastFree is the memory that an idle board must have left, of the 229 MB that
// its kernel finds; there are 184 (DESIGN.md).
const leastFree = 170_000 // kB

// memory looks at what an idle board has left.
func (b *emulated) memory(t *testing.T) {
	text := b.shell("cat /proc/meminfo; grep -E '^(VmRSS|VmHWM|RssAnon)' /proc/$(pidof bramble | tr ' ' '\\n' | head -n 1)/status")
	kb := func(name string) int {
		found := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB`).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("no %s in %q", name, text)
		}
		n, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Logf("memory: %d kB in all, %d available, %d free", kb("MemTotal"), kb("MemAvailable"), kb("MemFree"))
	if total := kb("MemTotal"); total > 240_000 {
		t.Errorf("%d kB in all: this is no first board", total)
	}
	if free := kb("MemAvailable"); free < leastFree {
		t.Errorf("%d kB are available to an idle board; want %d", free, leastFree)
	}
}

// snapshot is what a board's console knows.
func snapshot(ctx context.Context, ops string) (s console.Snapshot, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, ops+"/api/v1/rack", nil)
	if err != nil {
		return s, err
	}
	r.SetBasicAuth("bramble", testPassword)
	resp, err := client().Do(r)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return s, err
	}
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("the console's status is %d: %s", resp.StatusCode, body)
	}
	return s, json.Unmarshal(body, &s)
}

// The registers of the first boards' pins (BCM2835 ARM Peripherals, chapter 6),
// where the processor sees them.
const (
	gpioFunctions = 0x20200000 // GPFSEL0: three bits a pin, ten pins a word
	gpioLevels    = 0x20200034 // GPLEV0: a bit a pin
)

// lampSamples is how often the pins are looked at, in four seconds: two of the
// leader's marks.
const lampSamples = 40

// lampPins are the numbers of the pins that health lamp and bar are on, in this
// order.
func (b *emulated) lampPins(t *testing.T) []int {
	t.Helper()
	model := strings.Trim(b.shell("cat /proc/device-tree/model"), "\x00\n ")
	wired := pins.Defaults(model)
	names := append([]string{wired.Health}, wired.Bar...)
	t.Logf("%s: lamps on %v", model, names)
	var numbers []int
	for _, name := range names {
		n, err := strconv.Atoi(strings.TrimPrefix(name, "GPIO"))
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// drained takes the board out of service, and looks at its lamps when nobody is
// left on it.
func (b *emulated) drained(t *testing.T, ops string) {
	numbers := b.lampPins(t)
	name := "bramble-" + b.serial[len(b.serial)-4:]
	for path, ask := range map[string]string{"locate": `{"board":%q,"undo":true}`, "drain": `{"board":%q}`} {
		if err := post(t.Context(), ops+"/api/v1/"+path, fmt.Sprintf(ask, name)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, time.Minute, "the board to be drained", func() error {
		s, err := self(t.Context(), ops)
		if err == nil && s.State != "drained" {
			err = fmt.Errorf("it is %s", s.State)
		}
		return err
	})
	b.compare(t, ops, numbers)
}

// lamps compares what the pins of the board do with what its panel promises: in
// service, and when somebody has it blink.
func (b *emulated) lamps(t *testing.T, ops string) {
	numbers := b.lampPins(t)
	until(t, bootLimit, "a board in service", func() error {
		self, err := self(t.Context(), ops)
		if err == nil && (self.State != "serving" || len(self.Faults) > 0) {
			err = fmt.Errorf("it is %s with %v", self.State, self.Faults)
		}
		return err
	})
	functions := b.words(6, gpioFunctions)
	for _, pin := range append(numbers, actPin) {
		if f := functions[pin/10] >> (pin % 10 * 3) & 7; f != 1 {
			t.Errorf("GPIO%d has function %d, not output; a lamp hangs on it", pin, f)
		}
	}
	b.compare(t, ops, numbers)

	if err := post(t.Context(), ops+"/api/v1/locate", fmt.Sprintf(`{"board":%q}`, "bramble-"+b.serial[len(b.serial)-4:])); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "the board to be located", func() error {
		s, err := self(t.Context(), ops)
		if err == nil && s.Panel.Health.Name != "fast blink" {
			err = fmt.Errorf("it shows %s", s.Panel.Says)
		}
		return err
	})
	b.compare(t, ops, numbers)
}

// actPin is the green LED's on boards with 26 pins, lit when it is low.
const actPin = 16

// compare looks at the pins while the promise stands, and for how much of the
// time each is lit. A promise that changes meanwhile is waited out.
func (b *emulated) compare(t *testing.T, ops string, numbers []int) {
	t.Helper()
	until(t, 2*time.Minute, "pins as the panel promises", func() error {
		before, err := self(t.Context(), ops)
		if err != nil {
			return err
		}
		lit := map[int]int{}
		for range lampSamples {
			levels := b.words(1, gpioLevels)[0] ^ 1<<actPin
			for _, pin := range append(numbers, actPin) {
				lit[pin] += int(levels >> pin & 1)
			}
			time.Sleep(100 * time.Millisecond)
		}
		after, err := self(t.Context(), ops)
		if err != nil {
			return err
		}
		patterns := append([]gpio.Pattern{before.Panel.Health}, before.Panel.Bar...)
		later := append([]gpio.Pattern{after.Panel.Health}, after.Panel.Bar...)
		if !reflect.DeepEqual(patterns, later) || len(patterns) != len(numbers) {
			return fmt.Errorf("the panel promises %v, then %v", patterns, later)
		}
		for i, pin := range append(numbers, actPin) {
			promise := patterns[i%len(numbers)] // the green LED tells health, as the first lamp
			share, want := float64(lit[pin])/lampSamples, lightShare(promise)
			if want == 0 || want == 1 {
				if share != want {
					return fmt.Errorf("GPIO%d is lit %.2f of the time, and promised is %q", pin, share, promise.Name)
				}
			} else if math.Abs(share-want) > 0.25 || share == 0 || share == 1 {
				return fmt.Errorf("GPIO%d is lit %.2f of the time, and promised is %.2f, %q", pin, share, want, promise.Name)
			}
		}
		t.Logf("%s: GPIO level bits as promised: %v of %d samples", before.Panel.Says, lit, lampSamples)
		return nil
	})
}

// lightShare is for how much of its time a lamp is lit.
func lightShare(p gpio.Pattern) float64 {
	lit := time.Duration(0)
	for _, s := range p.Steps {
		if s.Level.Lit() {
			lit += time.Duration(s.MS) * time.Millisecond
		}
	}
	return float64(lit) / float64(p.Period())
}

// self is what a board's console knows of the board itself.
func self(ctx context.Context, ops string) (console.Board, error) {
	s, err := snapshot(ctx, ops)
	if err != nil {
		return console.Board{}, err
	}
	for _, one := range s.Boards {
		if one.Self {
			return one, nil
		}
	}
	return console.Board{}, fmt.Errorf("the board does not know itself: %v", s.Notices)
}

func post(ctx context.Context, at, body string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.SetBasicAuth("bramble", testPassword)
	r.Header.Set("Content-Type", "application/json")
	resp, err := client().Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // for the message only
		return fmt.Errorf("%s: status %d: %s", at, resp.StatusCode, text)
	}
	return nil
}

// written is how many bytes the board has written to its card, by its kernel,
// and at which second of its uptime.
func (b *emulated) written() (bytes int64, at float64) {
	b.t.Helper()
	fields := strings.Fields(b.shell("grep -w mmcblk0 /proc/diskstats; cat /proc/uptime"))
	if len(fields) < 12 {
		b.t.Fatalf("disk figures %q", fields)
	}
	sectors, err := strconv.ParseInt(fields[9], 10, 64) // Documentation/admin-guide/iostats.rst
	if err != nil {
		b.t.Fatal(err)
	}
	if at, err = strconv.ParseFloat(fields[len(fields)-2], 64); err != nil {
		b.t.Fatal(err)
	}
	return sectors * sector, at
}
