package lab

import "syscall"

// childAttributes puts a board into a process group of its own, so that the
// terminal's Ctrl-C reaches only the lab, which then ends the boards in order. The
// kernel kills the board when the lab's starter thread is gone.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
