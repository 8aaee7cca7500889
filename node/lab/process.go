package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

const pipeGrace = 2 * time.Second // limits the time for which the output of a dead board is still read

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

// maxLog limits a board's log file, in bytes. A full file becomes the old log and a
// new one begins, so a board's logs take at most twice this.
const maxLog = 1 << 20

// logWriter appends to a file of bounded size.
type logWriter struct {
	path string
	max  int64

	mu   sync.Mutex // guards what follows
	file *os.File
	size int64
}

func openLog(path string, max int64) (*logWriter, error) {
	w := &logWriter{path: path, max: max}
	if err := w.openFile(); err != nil {
		return nil, err
	}
	return w, nil
}

// openFile opens the file to append, so that a revived board continues its log.
func (l *logWriter) openFile() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, fileMode)
	if err != nil {
		return fmt.Errorf("opening a log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("opening a log: %w", err)
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write appends. A full disk loses lines of the log, but must not stop the board
// that writes them: Write never returns an error.
func (l *logWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return len(p), nil
	}
	if l.size > 0 && l.size+int64(len(p)) > l.max {
		l.rotateFile()
	}
	if l.file != nil {
		n, _ := l.file.Write(p)
		l.size += int64(n)
	}
	return len(p), nil
}

// rotateFile makes the log the old log. It is called with mu held.
func (l *logWriter) rotateFile() {
	l.file.Close()
	l.file = nil
	// Windows does not rename onto an existing file.
	os.Remove(l.path + ".old")
	if err := os.Rename(l.path, l.path+".old"); err != nil {
		os.Truncate(l.path, 0) // a bounded log matters more than a complete one
	}
	if err := l.openFile(); err != nil {
		l.file = nil
	}
}

func (l *logWriter) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// lastLines returns the last lines of a log, at most n, or one line with the reason why
// it cannot be read.
func lastLines(path string, n int) []string {
	const limit = 16 << 10
	f, err := os.Open(path)
	if err != nil {
		return []string{"its log cannot be read: " + err.Error()}
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > limit {
		f.Seek(-limit, io.SeekEnd) // if it fails, the beginning is read
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return []string{"its log cannot be read: " + err.Error()}
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return []string{"its log is empty"}
	}
	return lines[max(0, len(lines)-n):]
}
