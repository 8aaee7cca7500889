package lab

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

var errNoPause = errors.New("a process cannot be paused on Windows; kill the board instead")

func isPortTaken(err error) bool { return errors.Is(err, windows.WSAEADDRINUSE) }

func isNotLocal(err error) bool { return errors.Is(err, windows.WSAEADDRNOTAVAIL) }

// childAttributes keeps the console's Ctrl-C from the boards: it reaches only
// the lab, which then ends them in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// requestStop closes the board's standard input, as there is no SIGTERM.
func (b *boardProcess) requestStop() error { return b.stdin.Close() }

func (b *boardProcess) pause() error { return errNoPause }

func (b *boardProcess) resume() error { return errNoPause }
