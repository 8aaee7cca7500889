//go:build unix && !linux

package lab

import "syscall"

// childAttributes puts a board into a process group of its own, so that the
// terminal's Ctrl-C reaches only the lab, which then ends the boards in order. If
// the lab is killed, the end of their standard input stops the boards.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
