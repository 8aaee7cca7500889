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
	// mountErrs are of the next mounts, unmountErr of each unmount.
	mountErrs  []error
	unmountErr error
	room       int64 // free bytes of the boot partition; 0: plenty
	restarts   int
	starting   chan *fakeProcess
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

func (f *fakeSystem) record(words ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commands = append(f.commands, strings.Join(words, " "))
}

// commandsWith returns the recorded commands with a prefix.
func (f *fakeSystem) commandsWith(prefix string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.commands), func(s string) bool { return !strings.HasPrefix(s, prefix) })
}

func (f *fakeSystem) Mount(device, target, kind, _ string, readOnly bool) error {
	f.record("mount", filepath.Base(device), kind, map[bool]string{true: "ro", false: "rw"}[readOnly])
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.mountErr
	f.mountErr = nil
	if len(f.mountErrs) > 0 {
		err, f.mountErrs = f.mountErrs[0], f.mountErrs[1:]
	}
	return errors.Join(err, os.MkdirAll(target, 0o755))
}

func (f *fakeSystem) Remount(target string, readOnly bool) error {
	f.record("remount", filepath.Base(target), map[bool]string{true: "ro", false: "rw"}[readOnly])
	return f.power()
}

func (f *fakeSystem) Unmount(target string) error {
	f.record("unmount", filepath.Base(target))
	return f.unmountErr
}

func (f *fakeSystem) FreeSpace(string) (free, piece int64, err error) {
	if f.room > 0 {
		return f.room, 512, nil
	}
	return 1 << 30, 512, nil
}

func (f *fakeSystem) Run(_ context.Context, name string, args ...string) (int, string, error) {
	line := name + " " + strings.Join(args, " ")
	f.record(line)
	f.mu.Lock()
	defer f.mu.Unlock()
	best, longest := fakeAnswer{}, -1
	for prefix, a := range f.answers {
		if strings.HasPrefix(line, prefix) && len(prefix) > longest {
			best, longest = a, len(prefix)
		}
	}
	return best.code, best.output, best.err
}

func (f *fakeSystem) Start(out io.Writer, name string, args ...string) (Process, error) {
	f.record("start", name)
	p := &fakeProcess{name, args, out, make(chan int, 1), make(chan Signal, 10)}
	f.mu.Lock()
	f.started = append(f.started, p)
	f.mu.Unlock()
	f.starting <- p
	return p, nil
}

func (f *fakeProcess) Wait() int { return <-f.end }

func (f *fakeProcess) Send(what Signal) {
	f.signals <- what
	if what == Stop && f.name == "udhcpc" || what == Kill {
		f.end <- -1
	}
}

func (f *fakeSystem) GrowPartition(_ string, number int, start, length int64) error {
	f.record("grow", string(rune('0'+number)))
	return nil
}

func (f *fakeSystem) SetClock(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock = append(f.clock, t)
	return nil
}

func (f *fakeSystem) Slew(by time.Duration) error {
	f.record("slew", by.String())
	return nil
}

func (f *fakeSystem) SetHostName(name string) error {
	f.record("host", name)
	return nil
}

func (f *fakeSystem) OpenWatchdog(time.Duration) (io.WriteCloser, error) {
	f.record("watchdog")
	return &fakeWatchdog{}, nil
}

func (f *fakeSystem) Sync() { _ = f.power() }

// power counts the moments at which everything written so far is on the card.
func (f *fakeSystem) power() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	if f.cutAt != 0 && f.syncs >= f.cutAt {
		panic(errCut)
	}
	return nil
}

func (f *fakeSystem) Restart() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restarts++
	return nil
}

// fakeWatchdog is a watchdog that records the bytes written to it.
type fakeWatchdog struct {
	mu     sync.Mutex
	fed    string
	closed bool
}

func (f *fakeWatchdog) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fed += string(p)
	return len(p), nil
}

func (f *fakeWatchdog) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
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
	p.Disk, p.Stick = filepath.Join(dir, "mmcblk0"), filepath.Join(dir, "usb")
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
