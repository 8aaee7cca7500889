package cardinit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxMemoryLog bounds each of the two log files in memory, in bytes.
	maxMemoryLog = 128 << 10
	// maxCardLog bounds each of the two log files on the card, in bytes.
	maxCardLog = 64 << 10
	// saveInterval is the interval at which new lines are written to the card, and
	// maxPending bounds the bytes of one write: 24 × (16 KiB + 3 blocks of the journal
	// and the folder, 4 KiB each) are at most 672 KiB per day. An idle board logs
	// nothing and writes nothing.
	saveInterval = time.Hour
	maxPending   = 16 << 10
	// maxLine bounds a line of the log, in bytes.
	maxLine = 4 << 10
	// consoleLines bounds the lines that wait for the serial console. A slow console
	// loses the rest, because the board must not wait for it.
	consoleLines = 256
	// consoleDrainTime is the time to write one long line at 115,200 baud: a third of
	// a second.
	consoleDrainTime = 300 * time.Millisecond
)

// logRing is the card's log. It takes the output of the board's program and the
// lines of the init, and writes them to a ring of two files in memory, to the
// console, and once an hour to a ring on the card. One program at a time may call
// Write.
type logRing struct {
	paths   Paths
	console chan string

	mu      sync.Mutex
	partial []byte   // guarded by mu; a line without its end yet
	tail    []string // guarded by mu; the last lines
	pending []byte   // guarded by mu; not on the card yet, at most maxPending
	skipped bool     // guarded by mu; some lines did not fit into pending
}

func newLogRing(p Paths) *logRing {
	return &logRing{paths: p, console: make(chan string, consoleLines)}
}

// logf logs one line of the card's init.
func (l *logRing) logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addLine("bramble: " + fmt.Sprintf(format, args...))
}

// Write logs output of the board's program. It never fails.
func (l *logRing) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		line, rest, ended := bytes.Cut(l.partial, []byte("\n"))
		if !ended && len(line) < maxLine {
			return len(p), nil
		}
		l.addLine(string(line))
		l.partial = append(l.partial[:0], rest...)
	}
}

// addLine adds one line; mu is held.
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
	// If memory cannot be written, the console still has the line.
	_ = appendRing(l.paths.StateFile("log"), []byte(time.Now().UTC().Format(time.TimeOnly)+" "+text+"\n"), maxMemoryLog)
}

// appendRing adds text to the newer of two files, name and name.1, which then has at most limit
// bytes.
func appendRing(name string, text []byte, limit int64) error {
	if info, err := os.Stat(name); err == nil && info.Size()+int64(len(text)) > limit {
		if err := os.Rename(name, name+".1"); err != nil {
			return err
		}
	}
	err := writeSynced(name, text, os.O_APPEND)
	if errors.Is(err, os.ErrNotExist) {
		err = replaceFile(name, text)
	}
	return err
}

// replaceControls replaces each control character by '?': a terminal would interpret it.
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

// runConsole writes lines to the console until ctx ends, and then the waiting ones.
func (l *logRing) runConsole(ctx context.Context, out io.Writer) {
	write := func(line string) { _, _ = io.WriteString(out, line+"\r\n") } // the console may have no reader
	for {
		select {
		case line := <-l.console:
			write(line)
		case <-ctx.Done():
			for len(l.console) > 0 {
				write(<-l.console)
			}
			return
		}
	}
}

// drainConsole waits until the console has written all lines, for as long as a
// serial line may take for it.
func (l *logRing) drainConsole(ctx context.Context) {
	for range 10 {
		sleep(ctx, consoleDrainTime)
		if len(l.console) == 0 {
			return
		}
	}
}

// runSaving saves new lines to the card every saveInterval until ctx ends.
func (l *logRing) runSaving(ctx context.Context) {
	for ctx.Err() == nil {
		sleep(ctx, saveInterval)
		if ctx.Err() == nil {
			// The board's program, which writes orders to the card, reports a card that fails.
			_ = l.saveToCard()
		}
	}
}

// saveToCard writes the new lines to the ring on the card.
func (l *logRing) saveToCard() error {
	l.mu.Lock()
	text := l.pending
	if l.skipped {
		text = append(text, "(more lines were dropped)\n"...)
	}
	l.pending, l.skipped = nil, false
	l.mu.Unlock()
	if len(text) == 0 {
		return nil
	}
	stamp := "-- " + time.Now().UTC().Format(time.RFC3339) + "\n"
	return appendRing(l.paths.SavedFile("log"), append([]byte(stamp), text...), maxCardLog)
}
