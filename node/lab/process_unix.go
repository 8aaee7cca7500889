//go:build unix

package lab

import (
	"errors"
	"syscall"
)

func isPortTaken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

func isNotLocal(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }

// requestStop sends SIGTERM. It also continues a paused process, which would never
// receive it.
func (b *boardProcess) requestStop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return b.cmd.Process.Signal(syscall.SIGCONT)
}

func (b *boardProcess) pause() error { return b.cmd.Process.Signal(syscall.SIGSTOP) }

func (b *boardProcess) resume() error { return b.cmd.Process.Signal(syscall.SIGCONT) }
