// Package capacity measures which part of a machine's own capacity is in use:
// of its processors or of its network, whichever is nearer to its end. On a
// first Raspberry Pi that is the wire as often as the processor: 94 Mbit/s are
// 1,150 pages of 10 KB a second.
package capacity

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	statFile = "proc/stat"
	netDir   = "sys/class/net"
	// maxWires bounds the network interfaces that are looked at.
	maxWires = 8
)

// Meter reads the kernel's counters. It belongs to one goroutine.
type Meter struct {
	root fs.FS

	at    time.Time
	cpu   ticks
	wires map[string]traffic
}

// ticks are the kernel's units of time, of all processors together.
type ticks struct{ busy, all uint64 }

// traffic are the bytes of an interface since it came up.
type traffic struct{ out, in uint64 }

// New makes a Meter of the machine whose /proc and /sys are under root.
func New(root fs.FS) *Meter { return &Meter{root: root} }

// Read returns the part of the capacity, 0 to 1, that was in use since the last
// Read. known is false at the first one, and where the kernel does not tell.
func (m *Meter) Read(now time.Time) (load float64, known bool) {
	text, err := fs.ReadFile(m.root, statFile)
	if err != nil {
		return 0, false
	}
	cpu, err := parseStat(text)
	if err != nil {
		return 0, false
	}
	was, since := m.cpu, now.Sub(m.at)
	first := m.at.IsZero()
	m.at, m.cpu = now, cpu
	if first || cpu.all <= was.all || cpu.busy < was.busy || since <= 0 {
		m.wires = m.readWires(nil)
		return 0, false
	}
	load = float64(cpu.busy-was.busy) / float64(cpu.all-was.all)
	old := m.wires
	m.wires = m.readWires(func(name string, is traffic, speed float64) {
		if before, ok := old[name]; ok {
			load = max(load, share(before, is, speed, since))
		}
	})
	return min(load, 1), true
}

// readWires reads the counters of all interfaces that are wires and say how
// fast they are; each is shown to see, with its bits a second.
func (m *Meter) readWires(see func(name string, is traffic, speed float64)) map[string]traffic {
	entries, err := fs.ReadDir(m.root, netDir)
	if err != nil {
		return nil
	}
	wires := map[string]traffic{}
	for _, e := range entries {
		if len(wires) == maxWires {
			break
		}
		dir := path.Join(netDir, e.Name())
		// Without a device behind it an interface is none of the machine's wires: a
		// bridge, a tunnel, the loopback.
		if _, err := fs.Stat(m.root, path.Join(dir, "device")); err != nil {
			continue
		}
		mbits, err := m.number(path.Join(dir, "speed"))
		if err != nil || mbits == 0 {
			continue // no cable, or an interface that does not know
		}
		out, err := m.number(path.Join(dir, "statistics/tx_bytes"))
		if err != nil {
			continue
		}
		in, err := m.number(path.Join(dir, "statistics/rx_bytes"))
		if err != nil {
			continue
		}
		wires[e.Name()] = traffic{out, in}
		if see != nil {
			see(e.Name(), traffic{out, in}, float64(mbits)*1e6)
		}
	}
	return wires
}

func (m *Meter) number(name string) (uint64, error) {
	text, err := fs.ReadFile(m.root, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// share is the fuller direction of a wire that can do speed bits a second each way.
func share(was, is traffic, speed float64, since time.Duration) float64 {
	if is.out < was.out || is.in < was.in || speed <= 0 { // it came up anew
		return 0
	}
	bits := 8 * float64(max(is.out-was.out, is.in-was.in))
	return bits / speed / since.Seconds()
}

// errStat is what parseStat says of text that is not /proc/stat's.
var errStat = errors.New("no line of all processors")

// parseStat reads the first line of /proc/stat (proc_stat(5)): "cpu", and ticks
// of user, nice, system, idle, iowait, irq, softirq, steal and, contained in user
// and nice, those of guests. Idle, waiting for a disk, and stolen are not busy.
func parseStat(text []byte) (ticks, error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 5 || fields[0] != "cpu" {
		return ticks{}, errStat
	}
	var t ticks
	for i, field := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil || n > math.MaxUint64/16 {
			return ticks{}, errStat
		}
		t.all += n
		if i != 3 && i != 4 && i != 7 {
			t.busy += n
		}
	}
	return t, nil
}
