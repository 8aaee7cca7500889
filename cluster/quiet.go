package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// QuietInterval is how long a message that was logged keeps its like out of the log.
	QuietInterval = time.Minute
	// quietRemembered bounds how many messages a Quiet remembers; the one not seen for longest goes.
	quietRemembered = 128
	// quietKey bounds what is remembered of one message, in bytes.
	quietKey = 256
)

// Quiet is a slog.Handler that lets the same message through once in an interval. When the message
// comes again after that, its text says how many were held back in between. It is for what happens as
// often as somebody else likes: a board with another rack key that knocks every second must not fill
// a board's card.
//
// Two messages are the same if level, text and attributes are, where network addresses and ports
// count for nothing: they are where a repeated message differs from itself.
type Quiet struct {
	next  slog.Handler
	where string // the attributes and groups that this handler was given
	*quietMemory
}

type quietMemory struct {
	every     time.Duration
	now       func() time.Time
	addresses *regexp.Regexp

	mu   sync.Mutex // protects seen
	seen map[string]*quietEntry
}

type quietEntry struct {
	shown time.Time // when it was last let through
	last  time.Time // when it last came
	held  int       // how many were held back since shown
}

// NewQuiet wraps next. every is the interval, QuietInterval if 0; now is the clock, time.Now if nil.
func NewQuiet(next slog.Handler, every time.Duration, now func() time.Time) *Quiet {
	if every == 0 {
		every = QuietInterval
	}
	if now == nil {
		now = time.Now
	}
	return &Quiet{next: next, quietMemory: &quietMemory{
		every: every,
		now:   now,
		// IPv6 in brackets, IPv4, bare IPv6, and a port alone.
		addresses: regexp.MustCompile(`\[[0-9a-fA-F:.]+(%\w+)?\](:\d+)?|\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b` +
			`|\b([0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}|:\d{1,5}\b`),
		seen: make(map[string]*quietEntry),
	}}
}

// Enabled asks the wrapped handler.
func (q *Quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return q.next.Enabled(ctx, level)
}

// Handle passes r on, or counts it.
func (q *Quiet) Handle(ctx context.Context, r slog.Record) error {
	var key strings.Builder
	fmt.Fprintf(&key, "%d%s %s", r.Level, q.where, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&key, " %s=%s", a.Key, a.Value)
		return key.Len() < 4*quietKey
	})
	show, held := q.admit(q.sameness(key.String()))
	if !show {
		return nil
	}
	if held > 0 {
		text := fmt.Sprintf("%s (%d more in the last %s)", r.Message, held, everyText(q.every))
		again := slog.NewRecord(r.Time, r.Level, text, r.PC)
		r.Attrs(func(a slog.Attr) bool { again.AddAttrs(a); return true })
		r = again
	}
	return q.next.Handle(ctx, r)
}

// WithAttrs returns a handler that shares what this one remembers.
func (q *Quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Quiet{q.next.WithAttrs(attrs), fmt.Sprint(q.where, attrs), q.quietMemory}
}

// WithGroup returns a handler that shares what this one remembers.
func (q *Quiet) WithGroup(name string) slog.Handler {
	return &Quiet{q.next.WithGroup(name), q.where + "." + name, q.quietMemory}
}

// admit says whether the message is due, and how often it was held back since it was last shown.
func (m *quietMemory) admit(key string) (show bool, held int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	e := m.seen[key]
	if e == nil {
		if len(m.seen) >= quietRemembered {
			m.forgetOldest()
		}
		m.seen[key] = &quietEntry{shown: now, last: now}
		return true, 0
	}
	e.last = now
	if now.Sub(e.shown) < m.every {
		e.held++
		return false, 0
	}
	held = e.held
	e.shown, e.held = now, 0
	return true, held
}

// forgetOldest is called with mu held and seen not empty.
func (m *quietMemory) forgetOldest() {
	var oldest string
	var at time.Time
	for key, e := range m.seen {
		if at.IsZero() || e.last.Before(at) {
			oldest, at = key, e.last
		}
	}
	delete(m.seen, oldest)
}

func everyText(d time.Duration) string {
	if d == time.Minute {
		return "minute"
	}
	return d.String()
}

// sameness is message with everything that varies from one try to the next taken out.
func (m *quietMemory) sameness(message string) string {
	s := m.addresses.ReplaceAllString(message, "@")
	return s[:min(len(s), quietKey)]
}

// libraryLog turns the lines that memberlist and mdns write to a log.Logger into slog records: the
// level is read off the "[WARN] memberlist: " in front, and where a line has a meaning that an owner
// of a rack can act on, it is put in Bramble's words.
type libraryLog struct {
	log *slog.Logger
}

// maxLibraryLine bounds a line, in bytes: memberlist prints whole messages that it did not like.
const maxLibraryLine = 400

// Write takes one line. It never fails.
func (l libraryLog) Write(line []byte) (int, error) {
	level, text := splitLibraryLine(string(line))
	if strings.Contains(text, "installed keys could decrypt") ||
		strings.Contains(text, "remote state is not encrypted") {
		l.log.Warn("gossip refused: it is sealed with another rack key, or with none. "+
			"If that board belongs to this rack, put the same key under [rack] in both boards' configuration",
			"detail", text)
		return len(line), nil
	}
	l.log.Log(context.Background(), level, text)
	return len(line), nil
}

// splitLibraryLine reads "[LEVEL] library: text". Lines without a level are warnings.
func splitLibraryLine(line string) (slog.Level, string) {
	line = strings.TrimSpace(line)
	level := slog.LevelWarn
	if rest, ok := strings.CutPrefix(line, "["); ok {
		if word, rest, ok := strings.Cut(rest, "] "); ok {
			switch word {
			case "DEBUG", "INFO":
				// What memberlist calls INFO is told again, in better words, as an Event.
				level, line = slog.LevelDebug, rest
			case "WARN", "ERR", "ERROR":
				// Nearly all of its errors are somebody else's, and none ends the board's work.
				level, line = slog.LevelWarn, rest
			}
		}
	}
	// A healthy rack refutes suspicions now and then: that is the protocol at work.
	if strings.Contains(line, "Refuting a") {
		level = slog.LevelDebug
	}
	if len(line) > maxLibraryLine {
		line = strings.ToValidUTF8(line[:maxLibraryLine], "") + "…"
	}
	return level, line
}
