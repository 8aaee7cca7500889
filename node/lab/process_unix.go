//go:build unix

package lab

import (
	"errors"
	"syscall"
)

// taken tells that an address has another holder.
func taken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// notHere tells that an address is none of this machine's.
func notHere(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }

// askToLeave sends SIGTERM. A paused process is continued, or it would never
// see it.
func (p *process) askToLeave() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Process.Signal(syscall.SIGCONT)
}

// pause stops the process where it is.
func (p *process) pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// resume lets a paused process go on.
func (p *process) resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }
