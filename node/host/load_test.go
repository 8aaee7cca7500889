package host

import (
	"fmt"
	"math"
	"os"
	"testing"
	"testing/fstest"
	"time"
)

// machine returns the files of a machine with one network interface.
func machine(stat, speed string, out, in int) fstest.MapFS {
	files := fstest.MapFS{
		"sys/class/net/lo/statistics/tx_bytes":   {Data: []byte("999999999\n")},
		"sys/class/net/lo/statistics/rx_bytes":   {Data: []byte("999999999\n")},
		"sys/class/net/eth0/device/uevent":       {},
		"sys/class/net/eth0/speed":               {Data: []byte(speed + "\n")},
		"sys/class/net/eth0/statistics/tx_bytes": {Data: fmt.Appendf(nil, "%d\n", out)},
		"sys/class/net/eth0/statistics/rx_bytes": {Data: fmt.Appendf(nil, "%d\n", in)},
	}
	if stat != "" {
		files["proc/stat"] = &fstest.MapFile{Data: []byte(stat)}
	}
	return files
}

func TestLoad(t *testing.T) {
	const idle = "cpu  100 0 100 1000 50 10 40 0 0 0\ncpu0 100 0 100 1000 50 10 40 0 0 0\n"
	for _, tt := range []struct {
		name          string
		before, after fstest.MapFS
		want          float64
		known         bool
	}{
		{"half of the processor", machine(idle, "100", 0, 0), machine("cpu  130 0 110 1040 60 12 48 0 0 0\n", "100", 0, 0), .5, true},
		{"waiting for the card is not busy", machine(idle, "100", 0, 0), machine("cpu  100 0 100 1000 150 10 40 0 0 0\n", "100", 0, 0), 0, true},
		{"a full link", machine(idle, "100", 0, 0), machine("cpu  120 0 100 1080 50 10 40 0 0 0\n", "100", 12_500_000*2, 0), 1, true},
		{"the link in the other direction", machine(idle, "100", 0, 0), machine("cpu  120 0 100 1080 50 10 40 0 0 0\n", "100", 0, 6_250_000*2), .5, true},
		{"a link that was reset", machine(idle, "100", 9000, 9000), machine("cpu  110 0 100 1090 50 10 40 0 0 0\n", "100", 8, 8), .1, true},
		{"no cable", machine(idle, "100", 0, 0), machine("cpu  110 0 100 1090 50 10 40 0 0 0\n", "-1", 1<<30, 0), .1, true},
		{"a kernel without counters", machine("", "100", 0, 0), machine("", "100", 0, 0), 0, false},
		{"malformed text", machine(idle, "100", 0, 0), machine("cpu  x\n", "100", 0, 0), 0, false},
		{"the kernel's counters stood still", machine(idle, "100", 0, 0), machine(idle, "100", 0, 0), 0, false},
	} {
		m := NewCapacityMeter(tt.before)
		at := time.Unix(1_800_000_000, 0)
		if _, known := m.Read(at); known {
			t.Errorf("%s: a load is known after one reading", tt.name)
		}
		m.root = tt.after
		load, known := m.Read(at.Add(2 * time.Second))
		if math.Abs(load-tt.want) > 1e-9 || known != tt.known {
			t.Errorf("%s: %v, %v; want %v, %v", tt.name, load, known, tt.want, tt.known)
		}
	}
}

// The kernel under this test has figures that can be read.
func TestThisMachine(t *testing.T) {
	if _, err := os.Stat("/proc/stat"); err != nil {
		t.Skip("this system has no /proc/stat")
	}
	m := NewCapacityMeter(os.DirFS("/"))
	at := time.Now()
	m.Read(at)
	for deadline := at.Add(10 * time.Second); time.Now().Before(deadline); {
		for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); { // something to measure
		}
		if load, known := m.Read(time.Now()); known {
			if load <= 0 || load > 1 {
				t.Errorf("load %v on a machine that runs this", load)
			}
			return
		}
	}
	t.Error("the load of this machine stays unknown")
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("cpu  100 0 100 1000 50 10 40 0 0 0\ncpu0 1 2 3 4\n"))
	f.Add([]byte("cpu 1 2 3 4"))
	f.Add([]byte("cpu 18446744073709551615 1 1 1"))
	f.Add([]byte("intr 5"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if ticks, ok := parseStat(text); ok && ticks.busy > ticks.all {
			t.Errorf("busy for %d of %d ticks", ticks.busy, ticks.all)
		}
	})
}
