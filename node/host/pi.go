package host

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	// minHotTemp is the temperature from which a first Pi slows down, in thousandths
	// of a degree Celsius: per Raspberry Pi's documentation of config.txt
	// (temp_limit) the firmware throttles from 80 °C on, and stops at 85.
	minHotTemp = 80_000
	// coolTemp is the temperature below which the board counts as cool again
	// (hysteresis, so that a board at the limit does not flicker).
	coolTemp = 75_000
	// minFreeSpace is the free space below which a card counts as full, in bytes: the
	// ledger needs about this much beside its log while it takes a snapshot.
	minFreeSpace = 16 << 20

	maxFile     = 64 << 10 // bytes that are read of one file; a longer mount table is cut
	maxMonitors = 16       // hardware monitors that are searched at the start
)

// PiHealth is a Raspberry Pi's report about its own health: whether its power supply
// is strong enough, whether it is too hot, and whether its card can be written. On a
// machine without these files there are no faults.
type PiHealth struct {
	PowerLow bool // under-voltage now, or slowed down because of it
	TooHot   bool
	Card     string // why the card cannot be trusted, "" if it can: "is read-only: change it"
}

// PiReader reads one machine's health from a few small kernel files. Only one goroutine
// may use it.
type PiReader struct {
	root  fs.FS
	data  string // absolute path of the folder whose card is checked; "": none
	free  func() (bytes int64, known bool)
	volt  string // files, "" if the machine has none
	flags string
	heat  string
	hot   bool
}

// NewPiReader finds the files that the machine has. root is its file system, data
// the absolute path of the folder whose card is checked, or "", and free returns
// the free space there.
func NewPiReader(root fs.FS, data string, free func() (bytes int64, known bool)) *PiReader {
	r := &PiReader{root: root, data: data, free: free}
	for i := range maxMonitors {
		dir := fmt.Sprintf("sys/class/hwmon/hwmon%d", i)
		if r.readText(path.Join(dir, "name")) == "rpi_volt" {
			r.volt = path.Join(dir, "in0_lcrit_alarm")
		}
	}
	const flags, heat = "sys/devices/platform/soc/soc:firmware/get_throttled", "sys/class/thermal/thermal_zone0/temp"
	if r.readText(flags) != "" {
		r.flags = flags
	}
	// Other machines may be this hot in good health.
	if strings.HasPrefix(r.readText("proc/device-tree/model"), "Raspberry Pi") && r.readText(heat) != "" {
		r.heat = heat
	}
	return r
}

// readText returns a file's content without surrounding space, "" if it cannot be
// read.
func (r *PiReader) readText(name string) string {
	if name == "" {
		return ""
	}
	f, err := r.root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxFile)) // as far as it can be read
	return strings.TrimSpace(string(text))
}

// Read returns the current health.
func (r *PiReader) Read() PiHealth {
	r.hot = isTooHot(r.readText(r.heat), r.hot)
	h := PiHealth{PowerLow: r.readText(r.volt) == "1" || isThrottled(r.readText(r.flags)), TooHot: r.hot}
	if r.data != "" {
		h.Card = r.checkCard()
	}
	return h
}

// isTooHot decides by a temperature in thousandths of a degree; was is the previous
// result. Text that is not a number is not hot.
func isTooHot(text string, was bool) bool {
	t, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return false
	}
	if was {
		return t >= coolTemp
	}
	return t >= minHotTemp
}

// isThrottled decodes the firmware's flags, which Raspberry Pi's own kernel shows:
// bit 0 is under-voltage, 1 a lowered clock and 2 throttling, all now; bits 16 and
// up are the past.
func isThrottled(text string) bool {
	flags, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
	return err == nil && flags&(1<<0|1<<2) != 0
}

// checkCard returns why the card under the data folder cannot be trusted, or "".
func (r *PiReader) checkCard() string {
	m, found := findMount(r.readText("proc/self/mountinfo"), r.data)
	switch {
	case !found:
	case m.readOnly:
		return "is read-only: change it"
	case m.kind == "ext4" && strings.HasPrefix(m.device, "mmcblk"):
		if n, err := strconv.ParseInt(r.readText("sys/fs/ext4/"+m.device+"/errors_count"), 10, 64); err == nil && n > 0 {
			return fmt.Sprintf("has had %d errors: change it", n)
		}
	}
	if free, known := r.free(); known && free < minFreeSpace {
		return fmt.Sprintf("is full, %d MB are left: take a larger one", free/1_000_000)
	}
	return ""
}

// mount is a line of the mount table.
type mount struct {
	at, kind, device string
	readOnly         bool
}

// findMount finds the file system that a folder is on in a table in the form of
// proc(5), mountinfo: the last mount of the longest path that the folder begins with.
func findMount(table, folder string) (best mount, found bool) {
	for line := range strings.Lines(table) {
		m, ok := parseMount(line)
		if !ok || !isWithin(folder, m.at) || found && len(m.at) < len(best.at) {
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
	m := mount{at: unescapePath(fields[4]), kind: more[0], device: path.Base(more[1])}
	m.readOnly = slices.Contains(strings.Split(fields[5]+","+more[2], ","), "ro")
	return m, m.at != ""
}

// unescapePath decodes the kernel's escapes in a path, for blanks, line breaks, "#" and "\".
func unescapePath(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\043`, "#", `\134`, `\`).Replace(s)
}

func isWithin(folder, at string) bool {
	return at == "/" || folder == at || strings.HasPrefix(folder, at+"/")
}
