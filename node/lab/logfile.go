package lab

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

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
