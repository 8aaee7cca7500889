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

// errCut is the panic of a power cut.
var errCut = errors.New("the power is cut")

// fakeSystem is a System that mounts nothing and runs nothing. It records the commands,
// and returns the results in answers.
type fakeSystem struct {
	answers map[string]fakeAnswer // by the command's beginning, the longest that fits

	mu       sync.Mutex
	commands []string
	started  []*fakeProcess
	clock    []time.Time
	syncs    int
	cutAt    int // the sync at which the power is cut; 0: never
	mountErr error
	room     int64 // free bytes of the boot partition; 0: plenty
	restarts int
	starting chan *fakeProcess
}

type fakeAnswer struct {
	code   int
	output string
	err    error
}

type fakeProcess struct {
	name    string
	args    []string
	out     io.Writer
	end     chan int
	signals chan Signal
}

func newFakeSystem() *fakeSystem {
	return &fakeSystem{answers: map[string]fakeAnswer{}, starting: make(chan *fakeProcess, 100)}
}

func (m *fakeSystem) record(words ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commands = append(m.commands, strings.Join(words, " "))
}

// commandsWith returns the recorded commands with a prefix.
func (m *fakeSystem) commandsWith(prefix string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.commands), func(s string) bool { return !strings.HasPrefix(s, prefix) })
}

func (m *fakeSystem) Mount(device, target, kind, _ string, readOnly bool) error {
	m.record("mount", filepath.Base(device), kind, map[bool]string{true: "ro", false: "rw"}[readOnly])
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.mountErr
	m.mountErr = nil
	return errors.Join(err, os.MkdirAll(target, 0o755))
}

func (m *fakeSystem) Remount(target string, readOnly bool) error {
	m.record("remount", filepath.Base(target), map[bool]string{true: "ro", false: "rw"}[readOnly])
	return m.power()
}

func (m *fakeSystem) Unmount(target string) error {
	m.record("unmount", filepath.Base(target))
	return nil
}

func (m *fakeSystem) FreeSpace(string) (free, piece int64, err error) {
	if m.room > 0 {
		return m.room, 512, nil
	}
	return 1 << 30, 512, nil
}

func (m *fakeSystem) Run(_ context.Context, name string, args ...string) (int, string, error) {
	line := name + " " + strings.Join(args, " ")
	m.record(line)
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

func (m *fakeSystem) Start(out io.Writer, name string, args ...string) (Process, error) {
	m.record("start", name)
	p := &fakeProcess{name, args, out, make(chan int, 1), make(chan Signal, 10)}
	m.mu.Lock()
	m.started = append(m.started, p)
	m.mu.Unlock()
	m.starting <- p
	return p, nil
}

func (p *fakeProcess) Wait() int { return <-p.end }

func (p *fakeProcess) Send(what Signal) {
	p.signals <- what
	if what == Stop && p.name == "udhcpc" || what == Kill {
		p.end <- -1
	}
}

func (m *fakeSystem) GrowPartition(_ string, number int, start, length int64) error {
	m.record("grow", string(rune('0'+number)))
	return nil
}

func (m *fakeSystem) SetClock(t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = append(m.clock, t)
	return nil
}

func (m *fakeSystem) Slew(by time.Duration) error {
	m.record("slew", by.String())
	return nil
}

func (m *fakeSystem) SetHostName(name string) error {
	m.record("host", name)
	return nil
}

func (m *fakeSystem) OpenWatchdog(time.Duration) (io.WriteCloser, error) {
	m.record("watchdog")
	return &fakeWatchdog{}, nil
}

func (m *fakeSystem) Sync() { _ = m.power() }

// power counts the moments at which everything written so far is on the card.
func (m *fakeSystem) power() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.syncs++
	if m.cutAt != 0 && m.syncs >= m.cutAt {
		panic(errCut)
	}
	return nil
}

func (m *fakeSystem) Restart() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.restarts++
	return nil
}

// fakeWatchdog is a watchdog that records the bytes written to it.
type fakeWatchdog struct {
	mu     sync.Mutex
	fed    string
	closed bool
}

func (d *fakeWatchdog) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fed += string(p)
	return len(p), nil
}

func (d *fakeWatchdog) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

// fakePaths returns the paths of a card below a temporary folder.
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

// writeFiles writes files below a folder.
func writeFiles(t *testing.T, dir string, files map[string]string) {
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

// consoleRecorder records the console's output.
type consoleRecorder struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *consoleRecorder) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *consoleRecorder) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// patience bounds every wait of a test. A passing test takes far less.
const patience = 30 * time.Second

// eventually waits until a condition holds.
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
