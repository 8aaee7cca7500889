package host

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"path"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

const (
	statFile      = "proc/stat"
	netDir        = "sys/class/net"
	maxInterfaces = 8 // network interfaces that are read
)

// CapacityMeter measures the share of a machine's capacity that is in use: of its
// processors or of its network, whichever is nearer to its limit. On a first
// Raspberry Pi that is the cable as often as the processor: 94 Mbit/s are 1,150
// pages of 10 KB per second. It reads the kernel's counters and belongs to one
// goroutine.
type CapacityMeter struct {
	root fs.FS

	at         time.Time
	cpu        cpuTicks
	interfaces map[string]netBytes
}

// cpuTicks are the kernel's clock ticks, summed over all processors.
type cpuTicks struct{ busy, all uint64 }

// netBytes are the bytes of an interface since it came up.
type netBytes struct {
	out, in uint64
	speed   float64 // bits per second in each direction
}

// NewCapacityMeter returns a meter of the machine whose /proc and /sys are under root.
func NewCapacityMeter(root fs.FS) *CapacityMeter { return &CapacityMeter{root: root} }

// Read returns the share of the capacity, 0 to 1, that was in use since the last
// Read. known is false at the first call, and if the kernel has no such counters.
func (m *CapacityMeter) Read(now time.Time) (load float64, known bool) {
	text, err := fs.ReadFile(m.root, statFile)
	if err != nil {
		return 0, false
	}
	cpu, ok := parseStat(text)
	if !ok {
		return 0, false
	}
	last, old, elapsed := m.cpu, m.interfaces, now.Sub(m.at)
	first := m.at.IsZero()
	m.at, m.cpu, m.interfaces = now, cpu, m.readInterfaces()
	if first || cpu.all <= last.all || cpu.busy < last.busy || elapsed <= 0 {
		return 0, false
	}
	load = float64(cpu.busy-last.busy) / float64(cpu.all-last.all)
	for name, now := range m.interfaces {
		if before, ok := old[name]; ok {
			load = max(load, linkShare(before, now, elapsed))
		}
	}
	return min(load, 1), true
}

// readInterfaces reads the counters of all interfaces that are hardware and state
// their speed.
func (m *CapacityMeter) readInterfaces() map[string]netBytes {
	entries, err := fs.ReadDir(m.root, netDir)
	if err != nil {
		return nil
	}
	all := map[string]netBytes{}
	for _, e := range entries {
		if len(all) == maxInterfaces {
			break
		}
		dir := path.Join(netDir, e.Name())
		// An interface without a device behind it is not hardware: a bridge, a tunnel,
		// the loopback.
		if _, err := fs.Stat(m.root, path.Join(dir, "device")); err != nil {
			continue
		}
		mbits, noSpeed := m.readNumber(path.Join(dir, "speed")) // 0, too: there is no cable
		out, noOut := m.readNumber(path.Join(dir, "statistics/tx_bytes"))
		in, noIn := m.readNumber(path.Join(dir, "statistics/rx_bytes"))
		if errors.Join(noSpeed, noOut, noIn) == nil && mbits > 0 {
			all[e.Name()] = netBytes{out, in, float64(mbits) * 1e6}
		}
	}
	return all
}

func (m *CapacityMeter) readNumber(name string) (uint64, error) {
	text, err := fs.ReadFile(m.root, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// linkShare returns the used share of the busier direction of an interface.
func linkShare(before, now netBytes, elapsed time.Duration) float64 {
	if now.out < before.out || now.in < before.in { // it was reset
		return 0
	}
	bits := 8 * float64(max(now.out-before.out, now.in-before.in))
	return bits / now.speed / elapsed.Seconds()
}

// parseStat reads the first line of /proc/stat (proc_stat(5)): "cpu", and ticks
// of user, nice, system, idle, iowait, irq, softirq, steal and, contained in user
// and nice, those of guests. Idle, iowait and steal are not busy.
func parseStat(text []byte) (t cpuTicks, ok bool) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 5 || fields[0] != "cpu" {
		return cpuTicks{}, false
	}
	for i, field := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil || n > math.MaxUint64/16 {
			return cpuTicks{}, false
		}
		t.all += n
		if i != 3 && i != 4 && i != 7 {
			t.busy += n
		}
	}
	return t, true
}

const (
	// minOverloadLoad is the load below which missed gossip replies are not caused
	// by clients, but by a dead board or a bad cable.
	minOverloadLoad = 0.5
	// Load shedding begins when a board misses more than minMissed of its gossip
	// replies; from maxMissed on it sheds every request that memory cannot answer.
	// A single missed reply does not count.
	minMissed, maxMissed = 0.25, 0.75
)

// Overload returns how much the rack's own traffic suffers from this board's
// load, 0 to 1. missed is the share of gossip replies that did not arrive in time
// (memberlist's awareness), load the share of the machine's capacity in use.
// Package front measures scheduling delays itself.
func Overload(missed, load float64) float64 {
	if load < minOverloadLoad {
		return 0
	}
	return min(max((missed-minMissed)/(maxMissed-minMissed), 0), 1)
}

// Usage is the CPU time and memory that this process has used.
type Usage struct {
	CPU         time.Duration // user and system time since the start
	MemoryBytes int64         // resident
}

// runtimeMemory returns the memory that Go's runtime holds, in bytes. It is close
// to the resident size and excludes memory that the runtime has returned to the system.
func runtimeMemory() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	for _, s := range sample {
		if s.Value.Kind() != metrics.KindUint64 {
			return 0
		}
	}
	return int64(sample[0].Value.Uint64() - sample[1].Value.Uint64())
}
