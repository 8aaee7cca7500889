//go:build unix

package lab

import (
	"errors"
	"syscall"
)

func isPortTaken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// isNotLocal reports whether an address is not this machine's.
func isNotLocal(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }

// requestStop sends SIGTERM. It also continues a paused process, which would never
// receive it.
func (b *boardProcess) requestStop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return b.cmd.Process.Signal(syscall.SIGCONT)
}

// pause suspends the process (SIGSTOP).
func (b *boardProcess) pause() error { return b.cmd.Process.Signal(syscall.SIGSTOP) }

// resume continues a paused process.
func (b *boardProcess) resume() error { return b.cmd.Process.Signal(syscall.SIGCONT) }
