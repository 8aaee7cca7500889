package cardinit

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// errCut is what a power cut does to whatever is under way.
var errCut = errors.New("the power is cut")

// fakeMachine is a Machine that mounts nothing and runs nothing: it writes down
// what it was asked, and answers as it is told.
type fakeMachine struct {
	answers map[string]fakeAnswer // by the command's beginning, the longest that fits

	mu       sync.Mutex
	asked    []string
	started  []*fakeProcess
	clock    []time.Time
	syncs    int
	cutAt    int // the sync at which the power is cut; 0: never
	mountErr error
	room     int64 // free bytes of the boot partition; 0: plenty
	restarts int
	born     chan *fakeProcess
}

type fakeAnswer struct {
	code   int
	output string
	err    error
}

type fakeProcess struct {
	name  string
	args  []string
	out   io.Writer
	end   chan int
	asked chan Signal
}

func newFakeMachine() *fakeMachine {
	return &fakeMachine{answers: map[string]fakeAnswer{}, born: make(chan *fakeProcess, 100)}
}

func (m *fakeMachine) note(words ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, strings.Join(words, " "))
}

// did lists what it was asked that begins so.
func (m *fakeMachine) did(prefix string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.asked), func(s string) bool { return !strings.HasPrefix(s, prefix) })
}

func (m *fakeMachine) Mount(device, target, kind, _ string, readOnly bool) error {
	m.note("mount", filepath.Base(device), kind, map[bool]string{true: "ro", false: "rw"}[readOnly])
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.mountErr
	m.mountErr = nil
	return errors.Join(err, os.MkdirAll(target, 0o755))
}

func (m *fakeMachine) Remount(target string, readOnly bool) error {
	m.note("remount", filepath.Base(target), map[bool]string{true: "ro", false: "rw"}[readOnly])
	return m.power()
}

func (m *fakeMachine) Unmount(target string) error {
	m.note("unmount", filepath.Base(target))
	return nil
}

func (m *fakeMachine) FreeSpace(string) (free, piece int64, err error) {
	if m.room > 0 {
		return m.room, 512, nil
	}
	return 1 << 30, 512, nil
}

func (m *fakeMachine) Run(_ context.Context, name string, args ...string) (int, string, error) {
	line := name + " " + strings.Join(args, " ")
	m.note(line)
	m.mu.Lock()
	defer m.mu.Unlock()
	best, longest := fakeAnswer{}, -1
	for prefix, a := range m.answers {
		if strings.HasPrefix(line, prefix) && len(prefix) > longest {
			best, longest = a, len(prefix)
		}
	}
	return best.code, best.output, best.err
}

func (m *fakeMachine) Start(out io.Writer, name string, args ...string) (Process, error) {
	m.note("start", name)
	p := &fakeProcess{name, args, out, make(chan int, 1), make(chan Signal, 10)}
	m.mu.Lock()
	m.started = append(m.started, p)
	m.mu.Unlock()
	m.born <- p
	return p, nil
}

func (p *fakeProcess) Wait() int { return <-p.end }

func (p *fakeProcess) Send(what Signal) {
	p.asked <- what
	if what == Stop && p.name == "udhcpc" || what == Kill {
		p.end <- -1
	}
}

func (m *fakeMachine) GrowPartition(_ string, number int, start, length int64) error {
	m.note("grow", string(rune('0'+number)))
	return nil
}

func (m *fakeMachine) SetClock(t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = append(m.clock, t)
	return nil
}

func (m *fakeMachine) Slew(by time.Duration) error {
	m.note("slew", by.String())
	return nil
}

func (m *fakeMachine) SetHostName(name string) error {
	m.note("host", name)
	return nil
}

func (m *fakeMachine) OpenWatchdog(time.Duration) (io.WriteCloser, error) {
	m.note("watchdog")
	return &fakeDog{}, nil
}

func (m *fakeMachine) Sync() { _ = m.power() }

// power counts the moments at which all that was written so far is on the card.
func (m *fakeMachine) power() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.syncs++
	if m.cutAt != 0 && m.syncs >= m.cutAt {
		panic(errCut)
	}
	return nil
}

func (m *fakeMachine) Restart() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.restarts++
	return nil
}

// fakeDog is a watchdog that remembers what it was fed.
type fakeDog struct {
	mu     sync.Mutex
	fed    string
	closed bool
}

func (d *fakeDog) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fed += string(p)
	return len(p), nil
}

func (d *fakeDog) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

// fakePaths is a card's places below a folder of the test's own.
func fakePaths(t *testing.T) Paths {
	t.Helper()
	dir := t.TempDir()
	p := Paths{}
	for to, name := range map[*string]string{&p.Boot: "boot", &p.Data: "data", &p.Run: "run", &p.Etc: "etc", &p.Proc: "proc", &p.Sys: "sys"} {
		*to = filepath.Join(dir, name)
		if err := os.MkdirAll(*to, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.Disk = filepath.Join(dir, "mmcblk0")
	return p
}

// put writes files below a folder.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// console collects what is said.
type console struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// patience bounds every wait of a test; what works comes nowhere near it.
const patience = 30 * time.Second

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !so() {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
