package cardinit

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"
)

// System is what aboard asks of the kernel and of other programs. All paths
// are the machine's own. Every method may be called from any goroutine.
type System interface {
	// Mount mounts a block device. Options are those of mount(8) without ro.
	Mount(device, target, kind, options string, readOnly bool) error
	// Remount makes a mounted file system writable, or read-only again.
	Remount(target string, readOnly bool) error
	Unmount(target string) error
	// FreeSpace is how many bytes are free where a file system is mounted, and in pieces of
	// how many it gives them away.
	FreeSpace(target string) (free, piece int64, err error)

	// Run runs a program to its end and returns its exit code and the end of
	// what it wrote. An error means that it has not run at all, or not to its end.
	Run(ctx context.Context, name string, args ...string) (code int, output string, err error)
	// Start starts a program whose output goes to out.
	Start(out io.Writer, name string, args ...string) (Process, error)

	// GrowPartition tells the kernel of a partition's new end, in bytes.
	GrowPartition(disk string, number int, start, length int64) error
	// SetClock steps the clock, Slew has it catch up by at most half a second.
	SetClock(t time.Time) error
	Slew(by time.Duration) error
	SetHostName(name string) error
	// OpenWatchdog starts the machine's watchdog: unless it is written to at
	// least every timeout the machine is reset. Writing 'V' and closing stops it.
	OpenWatchdog(timeout time.Duration) (io.WriteCloser, error)
	// Sync has all that was written on its way to the card, and waits for it.
	Sync()
	// Restart ends all; it returns only if that fails.
	Restart() error
}

// Process is a running child.
type Process interface {
	// Wait waits for the end and returns the exit code, -1 if a signal ended it.
	Wait() int
	// Send sends a signal by its usual meaning; a process that is gone ignores it.
	Send(what Signal)
}

// Signal is what a child is asked to do.
type Signal int

// What children are asked for.
const (
	Stop  Signal = iota // SIGTERM: end in good order
	Kill                // SIGKILL
	Renew               // SIGUSR1: udhcpc renews its lease
)

// ErrNoSystem is returned by NewMachine where a card cannot run.
var ErrNoSystem = errors.New("a card runs on Linux only")

// Paths are the places on a card.
type Paths struct {
	Boot string // where the FAT partition is mounted
	Data string // where the ext4 partition is mounted
	Run  string // in memory
	Etc  string
	Proc string
	Sys  string
	Disk string // the card's block device; partitions are named by Part
}

// CardPaths are those of a card.
func CardPaths() Paths {
	return Paths{Boot: "/boot", Data: "/data", Run: "/run", Etc: "/etc", Proc: "/proc", Sys: "/sys", Disk: "/dev/mmcblk0"}
}

// The partitions of a card.
const (
	bootPartNumber = 1
	dataPartNumber = 2
)

// Partition is the device of a partition.
func (p Paths) Partition(number int) string { return p.Disk + "p" + string(rune('0'+number)) }

// StateFile is a file in which aboard tells the board's program, and the shell on
// the serial line, something; it is gone with the power.
func (p Paths) StateFile(name string) string { return filepath.Join(p.Run, "bramble", name) }

// SavedFile is a file of aboard's own that outlives the power.
func (p Paths) SavedFile(name string) string { return filepath.Join(p.Data, "bramble", name) }

// SettingsFile is what people edit.
func (p Paths) SettingsFile() string { return filepath.Join(p.Boot, "bramble.toml") }
