//go:build unix && !linux

package lab

import "syscall"

// childAttributes puts a board into a process group of its own, so that the
// terminal's Ctrl-C reaches only the lab, which then ends the boards in order.
// That a killed lab takes its boards along is left to their standard input.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
