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

// pipeGrace is how long a dead board's output is still read.
const pipeGrace = 2 * time.Second

// starter starts processes, all from one thread of the system: on Linux a
// child is told to die with the thread that started it, so that thread must
// live as long as the lab.
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

// close ends the thread, and on Linux with it every process still running.
func (s *starter) close() {
	close(s.jobs)
	<-s.done
}

// boardProcess is one run of a board's process.
type boardProcess struct {
	cmd    *exec.Cmd
	stdin  io.Closer     // closing it tells the board that its lab is gone
	exited chan struct{} // closed when it has ended and all of its output is in the log
	err    error         // how it ended; read after exited
}

// startProcess runs command in dir, its output going to the log there.
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
		return nil, fmt.Errorf("making a pipe: %w", err)
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

func (p *boardProcess) pid() int { return p.cmd.Process.Pid }

// isAlive tells whether the process has not ended yet.
func (p *boardProcess) isAlive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// stopOrKill asks the process to leave, and kills it if it has not left when grace is
// over or hurry is closed. It returns when the process is gone and tells whether
// it left when it was asked.
func (p *boardProcess) stopOrKill(grace time.Duration, hurry <-chan struct{}) (left bool) {
	patience := time.NewTimer(grace)
	defer patience.Stop()
	if err := p.requestStop(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.kill()
	}
	select {
	case <-p.exited:
		return true
	case <-patience.C:
	case <-hurry:
	}
	p.kill()
	<-p.exited // a killed process ends, and its output is given up after pipeGrace
	return false
}

// kill ends the process at once, paused or not.
func (p *boardProcess) kill() { p.cmd.Process.Kill() } // fails only if it has ended
