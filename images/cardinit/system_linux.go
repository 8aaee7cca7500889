package cardinit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxOutput limits the end of a program's output that is returned, in bytes.
const maxOutput = 4 << 10

// linuxSystem is the System of this machine.
type linuxSystem struct{}

// NewSystem returns the System of this machine.
func NewSystem() (System, error) { return linuxSystem{}, nil }

func (linuxSystem) Mount(device, target, kind, options string, readOnly bool) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	var flags uintptr = unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOSUID
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(device, target, kind, flags, options); err != nil {
		return fmt.Errorf("mounting %s: %w", device, err)
	}
	return nil
}

func (linuxSystem) Remount(target string, readOnly bool) error {
	var flags uintptr = unix.MS_REMOUNT | unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOSUID
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("", target, "", flags, ""); err != nil {
		return fmt.Errorf("remounting %s: %w", target, err)
	}
	return nil
}

func (linuxSystem) Unmount(target string) error {
	if err := unix.Unmount(target, 0); err != nil {
		return fmt.Errorf("unmounting %s: %w", target, err)
	}
	return nil
}

func (linuxSystem) FreeSpace(target string) (free, block int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(target, &s); err != nil {
		return 0, 0, fmt.Errorf("reading the free space of %s: %w", target, err)
	}
	block = int64(s.Bsize)
	return int64(s.Bavail) * block, block, nil
}

func (linuxSystem) Run(ctx context.Context, name string, args ...string) (int, string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	text := out.String()
	text = strings.TrimSpace(text[max(0, len(text)-maxOutput):])
	if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.Exited() {
		return ended.ExitCode(), text, nil
	}
	if err != nil {
		return -1, text, fmt.Errorf("running %s: %w", name, err)
	}
	return 0, text, nil
}

func (linuxSystem) Start(out io.Writer, name string, args ...string) (Process, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	// The child dies with its supervisor, so that a new supervisor finds its ports free.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return &childProcess{cmd}, nil
}

// childProcess is a Process of this machine.
type childProcess struct{ cmd *exec.Cmd }

func (c *childProcess) Wait() int {
	// ProcessState has the reason; an error of its pipes adds no information.
	_ = c.cmd.Wait()
	return c.cmd.ProcessState.ExitCode()
}

func (c *childProcess) Send(s Signal) {
	signal := map[Signal]os.Signal{Stop: syscall.SIGTERM, Kill: syscall.SIGKILL, Renew: syscall.SIGUSR1}[s]
	// It may have ended already; Wait returns that.
	_ = c.cmd.Process.Signal(signal)
}

// blkpgPartition is struct blkpg_partition of linux/blkpg.h.
type blkpgPartition struct {
	start, length int64
	number        int32
	names         [128]byte
}

// GrowPartition works while another partition of the disk is mounted, which rereading
// the whole table does not.
func (linuxSystem) GrowPartition(disk string, number int, start, length int64) error {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	p := blkpgPartition{start: start, length: length, number: int32(number)}
	arg := unix.BlkpgIoctlArg{Op: unix.BLKPG_RESIZE_PARTITION, Datalen: int32(unsafe.Sizeof(p)), Data: (*byte)(unsafe.Pointer(&p))}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg))); errno != 0 {
		return fmt.Errorf("setting the larger partition in the kernel: %w", errno)
	}
	return nil
}

func (linuxSystem) SetClock(t time.Time) error {
	tv := unix.NsecToTimeval(t.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		return fmt.Errorf("setting the clock: %w", err)
	}
	return nil
}

func (linuxSystem) Slew(by time.Duration) error {
	tx := unix.Timex{Modes: unix.ADJ_OFFSET_SINGLESHOT}
	setField(&tx.Offset, by.Microseconds())
	if _, err := unix.Adjtimex(&tx); err != nil {
		return fmt.Errorf("adjusting the clock: %w", err)
	}
	return nil
}

// setField sets a field whose size depends on the processor.
func setField[T int32 | int64](field *T, value int64) { *field = T(value) }

func (linuxSystem) SetHostName(name string) error { return unix.Sethostname([]byte(name)) }

func (linuxSystem) OpenWatchdog(timeout time.Duration) (io.WriteCloser, error) {
	f, err := os.OpenFile("/dev/watchdog", os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the watchdog: %w", err)
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, int(timeout/time.Second)); err != nil {
		return nil, errors.Join(fmt.Errorf("setting the watchdog's timeout: %w", err), f.Close())
	}
	return f, nil
}

func (linuxSystem) Sync() { unix.Sync() }

func (linuxSystem) Restart() error {
	unix.Sync()
	return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}
