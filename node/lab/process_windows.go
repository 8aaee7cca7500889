package lab

import (
	"errors"
	"syscall"
)

const wsaeaddrinuse = syscall.Errno(10048) // Winsock error for an address in use

const wsaeaddrnotavail = syscall.Errno(10049) // Winsock error for another machine's address

var errNoPause = errors.New("a process cannot be paused on Windows; kill the board instead")

func isPortTaken(err error) bool { return errors.Is(err, wsaeaddrinuse) }

func isNotLocal(err error) bool { return errors.Is(err, wsaeaddrnotavail) }

// childAttributes keeps the console's Ctrl-C from the boards: it reaches only
// the lab, which then ends them in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// requestStop closes the board's standard input, as there is no SIGTERM.
func (b *boardProcess) requestStop() error { return b.stdin.Close() }

func (b *boardProcess) pause() error { return errNoPause }

func (b *boardProcess) resume() error { return errNoPause }
