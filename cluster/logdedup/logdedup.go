// Package logdedup is a slog handler that logs the same message once in an interval and counts the
// repetitions. It keeps a log small whose messages others cause: a stranger that connects every second
// must not fill a board's card.
package logdedup

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
	// DefaultInterval is how long a message that was logged keeps its like out of the log.
	DefaultInterval = time.Minute
	// maxMessages bounds how many messages a Quiet remembers; the one not seen for longest goes.
	maxMessages = 128
	// maxKey bounds what is remembered of one message, in bytes.
	maxKey = 256
)

// Handler is a slog.Handler that lets the same message through once in an interval. When the message
// comes again after that, its text says how many were held back in between. It is for what happens as
// often as somebody else likes: a board with another rack key that knocks every second must not fill
// a board's card.
//
// Two messages are the same if level, text and attributes are, where network addresses and ports
// count for nothing: they are where a repeated message differs from itself.
type Handler struct {
	next  slog.Handler
	scope string // the attributes and groups that this handler was given
	*seenMessages
}

type seenMessages struct {
	interval  time.Duration
	now       func() time.Time
	addresses *regexp.Regexp

	mu   sync.Mutex // protects seen
	seen map[string]*seenMessage
}

type seenMessage struct {
	shown      time.Time // when it was last let through
	last       time.Time // when it last came
	suppressed int       // how many were held back since shown
}

// NewHandler wraps next. every is the interval, QuietInterval if 0; now is the clock, time.Now if nil.
func NewHandler(next slog.Handler, every time.Duration, now func() time.Time) *Handler {
	if every == 0 {
		every = DefaultInterval
	}
	if now == nil {
		now = time.Now
	}
	return &Handler{next: next, seenMessages: &seenMessages{
		interval: every,
		now:      now,
		// IPv6 in brackets, IPv4, bare IPv6, and a port alone.
		addresses: regexp.MustCompile(`\[[0-9a-fA-F:.]+(%\w+)?\](:\d+)?|\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b` +
			`|\b([0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}|:\d{1,5}\b`),
		seen: make(map[string]*seenMessage),
	}}
}

// Enabled asks the wrapped handler.
func (q *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return q.next.Enabled(ctx, level)
}

// Handle passes r on, or counts it.
func (q *Handler) Handle(ctx context.Context, r slog.Record) error {
	var key strings.Builder
	fmt.Fprintf(&key, "%d%s %s", r.Level, q.scope, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&key, " %s=%s", a.Key, a.Value)
		return key.Len() < 4*maxKey
	})
	show, held := q.checkMessage(q.messageKey(key.String()))
	if !show {
		return nil
	}
	if held > 0 {
		text := fmt.Sprintf("%s (%d more in the last %s)", r.Message, held, intervalText(q.interval))
		again := slog.NewRecord(r.Time, r.Level, text, r.PC)
		r.Attrs(func(a slog.Attr) bool { again.AddAttrs(a); return true })
		r = again
	}
	return q.next.Handle(ctx, r)
}

// WithAttrs returns a handler that shares what this one remembers.
func (q *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{q.next.WithAttrs(attrs), fmt.Sprint(q.scope, attrs), q.seenMessages}
}

// WithGroup returns a handler that shares what this one remembers.
func (q *Handler) WithGroup(name string) slog.Handler {
	return &Handler{q.next.WithGroup(name), q.scope + "." + name, q.seenMessages}
}

// checkMessage says whether the message is due, and how often it was held back since it was last shown.
func (m *seenMessages) checkMessage(key string) (show bool, held int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	e := m.seen[key]
	if e == nil {
		if len(m.seen) >= maxMessages {
			m.forgetOldest()
		}
		m.seen[key] = &seenMessage{shown: now, last: now}
		return true, 0
	}
	e.last = now
	if now.Sub(e.shown) < m.interval {
		e.suppressed++
		return false, 0
	}
	held = e.suppressed
	e.shown, e.suppressed = now, 0
	return true, held
}

// forgetOldest is called with mu held and seen not empty.
func (m *seenMessages) forgetOldest() {
	var oldest string
	var at time.Time
	for key, e := range m.seen {
		if at.IsZero() || e.last.Before(at) {
			oldest, at = key, e.last
		}
	}
	delete(m.seen, oldest)
}

func intervalText(d time.Duration) string {
	if d == time.Minute {
		return "minute"
	}
	return d.String()
}

// messageKey is message with everything that varies from one try to the next taken out.
func (m *seenMessages) messageKey(message string) string {
	s := m.addresses.ReplaceAllString(message, "@")
	return s[:min(len(s), maxKey)]
}
