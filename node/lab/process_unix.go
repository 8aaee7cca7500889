//go:build unix

package lab

import (
	"errors"
	"syscall"
)

// isPortTaken tells that an address has another holder.
func isPortTaken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// isNotLocal tells that an address is none of this machine's.
func isNotLocal(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }

// requestStop sends SIGTERM. A paused process is continued, or it would never
// see it.
func (p *boardProcess) requestStop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Process.Signal(syscall.SIGCONT)
}

// pause stops the process where it is.
func (p *boardProcess) pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// resume lets a paused process go on.
func (p *boardProcess) resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }
