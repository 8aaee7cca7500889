package cardinit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// System is the interface to the kernel and to other programs for the card's init. Every method may be called from any goroutine.
type System interface {
	// Mount mounts a block device. Options are those of mount(8) without ro.
	Mount(device, target, kind, options string, readOnly bool) error
	// Remount makes a mounted file system writable, or read-only again.
	Remount(target string, readOnly bool) error
	Unmount(target string) error
	// FreeSpace returns the free bytes of a mounted file system, and its block size.
	FreeSpace(target string) (free, block int64, err error)

	// Run runs a program to its end and returns its exit code and the end of its
	// output. An error means that it did not start, or did not end normally.
	Run(ctx context.Context, name string, args ...string) (code int, output string, err error)
	// Start starts a program whose output goes to out.
	Start(out io.Writer, name string, args ...string) (Process, error)

	// GrowPartition sets the kernel's idea of a partition, in bytes.
	GrowPartition(disk string, number int, start, length int64) error
	// SetClock steps the clock, Slew adjusts it gradually by at most half a second.
	SetClock(t time.Time) error
	Slew(by time.Duration) error
	SetHostName(name string) error
	// OpenWatchdog starts the hardware watchdog: it resets the machine unless it is
	// written to at least every timeout. Writing 'V' and closing stops it.
	OpenWatchdog(timeout time.Duration) (io.WriteCloser, error)
	// Sync writes everything to the card and waits for it.
	Sync()
	// Restart restarts the machine. It returns only if that fails.
	Restart() error
}

// Process is a running child.
type Process interface {
	// Wait waits for the end and returns the exit code, -1 if a signal ended it.
	Wait() int
	// Send sends a signal. A process that has ended ignores it.
	Send(s Signal)
}

// Signal is a signal for a child process.
type Signal int

// The signals, by their meaning.
const (
	Stop  Signal = iota // SIGTERM: end in good order
	Kill                // SIGKILL
	Renew               // SIGUSR1: udhcpc renews its lease
)

// ErrNoSystem is returned by NewMachine where a card cannot run.
var ErrNoSystem = errors.New("a card runs on Linux only")

// Paths are the files and folders of a card.
type Paths struct {
	Boot string // where the FAT partition is mounted
	Data string // where the ext4 partition is mounted
	Run  string // in memory
	Etc  string
	Proc string
	Sys  string
	Disk string // the card's block device; partitions are named by Part
	// Stick is a link to the mounted USB stick; there is none without one.
	Stick string
}

// CardPaths returns the paths of a real card.
func CardPaths() Paths {
	return Paths{Boot: "/boot", Data: "/data", Run: "/run", Etc: "/etc", Proc: "/proc", Sys: "/sys", Disk: "/dev/mmcblk0", Stick: "/usb"}
}

// The partitions of a card.
const (
	bootPartNumber = 1
	dataPartNumber = 2
)

// Partition returns the block device of a partition.
func (p Paths) Partition(number int) string { return p.Disk + "p" + string(rune('0'+number)) }

// StateFile returns a file in memory, by which the card's init reports to the
// board's program and to the shell on the serial console.
func (p Paths) StateFile(name string) string { return filepath.Join(p.Run, "bramble", name) }

// SavedFile returns a file of the card's init on the data partition, which outlives
// the power.
func (p Paths) SavedFile(name string) string { return filepath.Join(p.Data, "bramble", name) }

// SettingsFile returns the settings file that people edit; or, after a power cut in ReplaceSettings,
// its new version.
func (p Paths) SettingsFile() string {
	if text, err := os.ReadFile(p.newSettings()); err == nil && bytes.HasSuffix(text, []byte(settingsEnd)) {
		return p.newSettings()
	}
	return filepath.Join(p.Boot, "bramble.toml")
}

func (p Paths) newSettings() string { return filepath.Join(p.Boot, "bramble.new") }

// lastOutputLine returns the last line of a program's output, for the console.
func lastOutputLine(output string) string {
	last := "it printed nothing"
	for _, line := range splitLines(output) {
		if line != "" {
			last = line
		}
	}
	return last[:min(len(last), 200)]
}
