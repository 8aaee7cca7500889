package lab

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// maxLog is how large a board's log grows, in bytes, before it becomes the old
// log and a new one is begun: a board keeps at most twice this.
const maxLog = 1 << 20

// logWriter appends to a file and keeps it small.
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

// openFile appends, so that a board that is revived adds to its log.
func (w *logWriter) openFile() error {
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, fileMode)
	if err != nil {
		return fmt.Errorf("opening a log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("opening a log: %w", err)
	}
	w.file, w.size = f, info.Size()
	return nil
}

// Write appends. A disk that takes nothing more costs lines of the log, never
// the board that writes them: the error goes no further.
func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return len(p), nil
	}
	if w.size > 0 && w.size+int64(len(p)) > w.max {
		w.rotateFile()
	}
	if w.file != nil {
		n, _ := w.file.Write(p)
		w.size += int64(n)
	}
	return len(p), nil
}

// rotateFile makes the log the old log; mu is held.
func (w *logWriter) rotateFile() {
	w.file.Close()
	w.file = nil
	// Windows renames onto no file that is there.
	os.Remove(w.path + ".old")
	if err := os.Rename(w.path, w.path+".old"); err != nil {
		os.Truncate(w.path, 0) // a bounded log is worth more than a whole one
	}
	if err := w.openFile(); err != nil {
		w.file = nil
	}
}

func (w *logWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return err
}

// lastLines returns the last lines of a log, at most n, or a sentence why not.
func lastLines(path string, n int) []string {
	const most = 16 << 10
	f, err := os.Open(path)
	if err != nil {
		return []string{"its log cannot be read: " + err.Error()}
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		f.Seek(-most, io.SeekEnd) // if it fails the beginning is shown
	}
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return []string{"its log cannot be read: " + err.Error()}
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return []string{"its log is empty"}
	}
	return lines[max(0, len(lines)-n):]
}
