package cardinit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxMemoryLog bounds each of the two files of the log in memory, in bytes.
	maxMemoryLog = 128 << 10
	// maxCardLog bounds each of the two files of the log on the card, in bytes.
	maxCardLog = 64 << 10
	// saveInterval is how often what is new in the log goes to the card, copyMost
	// how many bytes of it: 24 × (16 KiB + 3 blocks of the journal and the
	// folder, 4 KiB each) are at most 672 KiB a day; an idle board logs nothing
	// and writes nothing.
	saveInterval = time.Hour
	maxPending   = 16 << 10
	// maxLine bounds a line of the log, in bytes.
	maxLine = 4 << 10
	// consoleLines is how many lines may wait for the serial line; a slow one
	// loses the rest, for the board must not wait for it.
	consoleLines = 256
	// consoleDrainTime is how long the last line on its way may take: 115,200 baud
	// write a long one in a third of a second.
	consoleDrainTime = 300 * time.Millisecond
)

// logRing takes what the board's program and aboard say: into a ring of two
// files in memory, to the console, and now and then to the card. Write is for
// one program at a time.
type logRing struct {
	paths   Paths
	console chan string

	mu      sync.Mutex
	partial []byte   // guarded by mu; a line that has not ended
	tail    []string // guarded by mu; the last lines
	size    int64    // guarded by mu; of the newer file in memory
	file    *os.File // guarded by mu; nil: not to be had
	pending []byte   // guarded by mu; not on the card yet, at most copyMost
	skipped bool     // guarded by mu; some of pending was dropped
}

func newLogRing(p Paths) *logRing {
	return &logRing{paths: p, console: make(chan string, consoleLines)}
}

// Write takes output of the board's program. It never fails.
func (l *logRing) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		end := bytes.IndexByte(l.partial, '\n')
		if end < 0 && len(l.partial) < maxLine {
			break
		}
		line, rest := l.partial, []byte(nil)
		if end >= 0 {
			line, rest = l.partial[:end], l.partial[end+1:]
		}
		l.addLine(string(line))
		l.partial = append(l.partial[:0], rest...)
	}
	return len(p), nil
}

// addOwn is a line of aboard's own.
func (l *logRing) addOwn(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addLine("bramble: " + text)
}

// addLine keeps one line; mu is held.
func (l *logRing) addLine(text string) {
	text = replaceControls(text)
	select {
	case l.console <- text:
	default:
	}
	if l.tail = append(l.tail, text); len(l.tail) > maxLastLines {
		l.tail = slices.Delete(l.tail, 0, 1)
	}
	if room := maxPending - len(l.pending); room > len(text) {
		l.pending = append(append(l.pending, text...), '\n')
	} else {
		l.skipped = true
	}
	l.writeMemory(text)
}

// writeMemory puts a line into the files in memory; mu is held. Without them the
// console still has it.
func (l *logRing) writeMemory(text string) {
	name := l.paths.StateFile("log")
	if l.file == nil || l.size > maxMemoryLog {
		if l.file != nil {
			_ = l.file.Close()
			_ = os.Rename(name, name+".1")
		} else if os.MkdirAll(filepath.Dir(name), 0o755) != nil {
			return
		}
		l.size = 0
		var err error
		if l.file, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
			l.file = nil
			return
		}
	}
	n, _ := io.WriteString(l.file, time.Now().UTC().Format(time.TimeOnly)+" "+text+"\n")
	l.size += int64(n)
}

// replaceControls leaves no control character in a line: a terminal obeys them.
func replaceControls(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.TrimRight(s, "\r"))
}

// lastLines returns the last lines, at most n.
func (l *logRing) lastLines(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.tail[max(0, len(l.tail)-n):])
}

// runConsole writes lines to the console until ctx ends, and then what waits.
func (l *logRing) runConsole(ctx context.Context, out io.Writer) {
	for {
		select {
		case line := <-l.console:
			_, _ = io.WriteString(out, line+"\r\n") // nobody may be there to read
		case <-ctx.Done():
			for {
				select {
				case line := <-l.console:
					_, _ = io.WriteString(out, line+"\r\n")
				default:
					return
				}
			}
		}
	}
}

// drainConsole waits until the console has been told all, for as long as a serial
// line may take for it.
func (l *logRing) drainConsole(ctx context.Context) {
	for range 10 {
		sleep(ctx, consoleDrainTime)
		if len(l.console) == 0 {
			return
		}
	}
}

// runSaving copies what is new to the card each copyEvery until ctx ends.
func (l *logRing) runSaving(ctx context.Context) {
	for ctx.Err() == nil {
		sleep(ctx, saveInterval)
		if ctx.Err() == nil {
			// A card that fails is told of by the board, which writes orders to it.
			_ = l.saveToCard()
		}
	}
}

// saveToCard writes what is new to the ring on the card.
func (l *logRing) saveToCard() error {
	l.mu.Lock()
	text := l.pending
	if l.skipped {
		text = append(text, "(more was not kept)\n"...)
	}
	l.pending, l.skipped = nil, false
	l.mu.Unlock()
	if len(text) == 0 {
		return nil
	}
	name := l.paths.SavedFile("log")
	if info, err := os.Stat(name); err == nil && info.Size()+int64(len(text)) > maxCardLog {
		if err := os.Rename(name, name+".1"); err != nil {
			return err
		}
	}
	stamp := "-- " + time.Now().UTC().Format(time.RFC3339) + "\n"
	err := writeSynced(name, append([]byte(stamp), text...), os.O_APPEND)
	if errors.Is(err, os.ErrNotExist) {
		err = replaceFile(name, append([]byte(stamp), text...))
	}
	return err
}
