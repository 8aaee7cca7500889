// Package pi reads what a Raspberry Pi says of its own health: whether its
// supply holds, how hot it is, and whether its card can still be written. It
// reads a few small files of the kernel at a time and judges them by plain
// rules; on a machine that has none of these files nothing is ever wrong.
package pi

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

const (
	// TooHotFrom is when a first Pi begins to be slowed down, in thousandths of
	// a degree: Raspberry Pi's documentation of config.txt (temp_limit) has the
	// firmware throttle from 80 °C on, and stop at 85.
	TooHotFrom = 80_000
	// CoolBelow ends it, so that a board at the limit does not flicker.
	CoolBelow = 75_000
	// FullBelow is how little room a card may have left, in bytes: the ledger
	// keeps about this much beside its log while it takes a snapshot.
	FullBelow = 16 << 20

	// maxFile bounds what is read of one file; a long mount table is cut.
	maxFile = 64 << 10
	// maxMonitors bounds the hardware monitors that are looked through once.
	maxMonitors = 16
)

// Health is what is wrong, and by which sign.
type Health struct {
	PowerLow bool // under-voltage now, or slowed down because of it
	TooHot   bool
	Card     string // why the card cannot be trusted, "" if it can: "read-only", "full", "has errors"
}

// Reader reads one machine. It is used by one goroutine.
type Reader struct {
	root   fs.FS
	data   string // folder whose card counts, from the root without a slash; "" = none
	free   func() (bytes int64, known bool)
	volt   string // files, "" where the machine has none
	flags  string
	heat   string
	hot    bool
	buffer []byte
}

// NewReader looks for what the machine has. root is its file system, data the
// absolute path of the folder whose card is to be watched, or "", and free how
// much room that has.
func NewReader(root fs.FS, data string, free func() (bytes int64, known bool)) *Reader {
	r := &Reader{root: root, data: data, free: free, buffer: make([]byte, maxFile)}
	for i := range maxMonitors {
		dir := fmt.Sprintf("sys/class/hwmon/hwmon%d", i)
		if r.text(path.Join(dir, "name")) == "rpi_volt" {
			r.volt = path.Join(dir, "in0_lcrit_alarm")
		}
	}
	const flags, heat = "sys/devices/platform/soc/soc:firmware/get_throttled", "sys/class/thermal/thermal_zone0/temp"
	if r.text(flags) != "" {
		r.flags = flags
	}
	// Other machines may be this hot in good health.
	if strings.HasPrefix(r.text("proc/device-tree/model"), "Raspberry Pi") && r.text(heat) != "" {
		r.heat = heat
	}
	return r
}

// text is a file's content without blanks around, "" if it cannot be read.
func (r *Reader) text(name string) string {
	if name == "" {
		return ""
	}
	f, err := r.root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	n := 0
	for n < len(r.buffer) {
		m, err := f.Read(r.buffer[n:])
		n += m
		if err != nil || m == 0 {
			break
		}
	}
	return strings.TrimSpace(string(r.buffer[:n]))
}

// Read reads all there is.
func (r *Reader) Read() Health {
	r.hot = tooHot(r.text(r.heat), r.hot)
	h := Health{PowerLow: r.text(r.volt) == "1" || throttled(r.text(r.flags)), TooHot: r.hot}
	if r.data != "" {
		h.Card = r.card()
	}
	return h
}

// tooHot judges a temperature, in thousandths of a degree; was is the verdict
// before. What is no number is not hot.
func tooHot(text string, was bool) bool {
	t, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return false
	}
	if was {
		return t >= CoolBelow
	}
	return t >= TooHotFrom
}

// throttled judges the firmware's flags, which Raspberry Pi's own kernel shows:
// bit 0 is under-voltage, 1 a lowered clock and 2 throttling, all of this
// moment; bits 16 and up tell of the past.
func throttled(text string) bool {
	flags, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
	return err == nil && flags&(1<<0|1<<2) != 0
}

// card judges the card that the data folder is on.
func (r *Reader) card() string {
	m, found := mountOf(r.text("proc/self/mountinfo"), r.data)
	switch {
	case !found:
	case m.readOnly:
		return "is read-only: change it"
	case m.kind == "ext4" && strings.HasPrefix(m.device, "mmcblk"):
		if n, err := strconv.ParseInt(r.text("sys/fs/ext4/"+m.device+"/errors_count"), 10, 64); err == nil && n > 0 {
			return fmt.Sprintf("has had %d errors: change it", n)
		}
	}
	if free, known := r.free(); known && free < FullBelow {
		return fmt.Sprintf("is full, %d MB are left: take a larger one", free/1_000_000)
	}
	return ""
}

// mount is a line of the mount table.
type mount struct {
	at, kind, device string
	readOnly         bool
}

// mountOf finds the file system that a folder is on, in the form of proc(5),
// mountinfo: the last mount of the longest path that the folder begins with.
func mountOf(table, folder string) (best mount, found bool) {
	for line := range strings.Lines(table) {
		m, ok := parseMount(line)
		if !ok || !within(folder, m.at) || found && len(m.at) < len(best.at) {
			continue
		}
		best, found = m, true
	}
	return best, found
}

// parseMount reads "36 35 98:0 /root /at opts … - kind source superopts".
func parseMount(line string) (mount, bool) {
	own, super, ok := strings.Cut(line, " - ")
	fields, more := strings.Fields(own), strings.Fields(super)
	if !ok || len(fields) < 6 || len(more) < 3 {
		return mount{}, false
	}
	m := mount{at: unescape(fields[4]), kind: more[0], device: path.Base(more[1])}
	m.readOnly = option(fields[5], "ro") || option(more[2], "ro")
	return m, m.at != ""
}

// unescape undoes what the kernel does to blanks in a path: \040.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func within(folder, at string) bool {
	return at == "/" || folder == at || strings.HasPrefix(folder, at+"/")
}

func option(list, word string) bool {
	for list != "" {
		var one string
		if one, list, _ = strings.Cut(list, ","); one == word {
			return true
		}
	}
	return false
}
