package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// pipeGrace limits the time for which the output of a dead board is still read.
const pipeGrace = 2 * time.Second

// starter starts all processes from one system thread: on Linux a child dies with
// the thread that started it (Pdeathsig), so that thread must live as long as the
// lab.
type starter struct {
	jobs chan startJob
	done chan struct{}
}

type startJob struct {
	cmd *exec.Cmd
	err chan error
}

func newStarter() *starter {
	s := &starter{jobs: make(chan startJob), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		for job := range s.jobs {
			job.err <- job.cmd.Start()
		}
	}()
	return s
}

func (s *starter) startCommand(cmd *exec.Cmd) error {
	job := startJob{cmd, make(chan error, 1)}
	s.jobs <- job
	return <-job.err
}

// close ends the thread and, on Linux, every process that still runs.
func (s *starter) close() {
	close(s.jobs)
	<-s.done
}

type boardProcess struct {
	cmd    *exec.Cmd
	stdin  io.Closer     // closed when the lab is gone, which stops the board
	exited chan struct{} // closed when the process has ended and all its output is in the log
	err    error         // how it ended; valid after exited
}

// startProcess runs command in dir, with its output in the log there.
func startProcess(s *starter, command []string, dir string) (*boardProcess, error) {
	log, err := openLog(filepath.Join(dir, logFile), maxLog)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = pipeGrace
	cmd.SysProcAttr = childAttributes()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		log.Close()
		return nil, fmt.Errorf("creating a pipe: %w", err)
	}
	if err := s.startCommand(cmd); err != nil {
		stdin.Close()
		log.Close()
		return nil, fmt.Errorf("starting %s: %w", command[0], err)
	}
	p := &boardProcess{cmd: cmd, stdin: stdin, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		p.err = cmd.Wait()
		log.Close()
	}()
	return p, nil
}

func (b *boardProcess) pid() int { return b.cmd.Process.Pid }

func (b *boardProcess) isAlive() bool {
	select {
	case <-b.exited:
		return false
	default:
		return true
	}
}

// stopOrKill requests that the process stop, and kills it after timeout or when killNow is
// closed. It returns when the process is gone, and reports whether it stopped by
// itself.
func (b *boardProcess) stopOrKill(timeout time.Duration, killNow <-chan struct{}) (stopped bool) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	if err := b.requestStop(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		b.kill()
	}
	select {
	case <-b.exited:
		return true
	case <-timer.C:
	case <-killNow:
	}
	b.kill()
	<-b.exited // a killed process ends, and its output is dropped after pipeGrace
	return false
}

// kill ends the process at once, paused or not.
func (b *boardProcess) kill() { b.cmd.Process.Kill() } // fails only if it has ended
