// Package logdedup is a slog handler that logs the same message once per interval and counts the
// repetitions. It limits messages whose rate others control: a stranger that connects every second must
// not fill a board's card.
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
	// DefaultInterval is the time for which repetitions of a logged message are suppressed.
	DefaultInterval = time.Minute
	// maxMessages bounds the messages that a Handler remembers; the least recent is dropped.
	maxMessages = 128
	// maxKey bounds the key of a remembered message, in bytes.
	maxKey = 256
)

// Handler is that slog.Handler. When a message comes again after the interval, its text states the number
// of suppressed ones.
//
// Two messages are the same if level, text and attributes are equal, apart from network addresses and
// ports: a repeated message differs only in those.
type Handler struct {
	next  slog.Handler
	scope string // the attributes and groups of this handler
	*seenMessages
}

// seenMessages is the state that a Handler and those derived from it share.
type seenMessages struct {
	interval  time.Duration
	now       func() time.Time
	addresses *regexp.Regexp

	mu   sync.Mutex // guards seen
	seen map[string]*seenMessage
}

type seenMessage struct {
	logged     time.Time // when it was last logged
	last       time.Time // when it last came
	suppressed int       // repetitions since logged
}

// NewHandler wraps next. The interval is DefaultInterval if 0; now is the clock, time.Now if nil.
func NewHandler(next slog.Handler, interval time.Duration, now func() time.Time) *Handler {
	if interval == 0 {
		interval = DefaultInterval
	}
	if now == nil {
		now = time.Now
	}
	return &Handler{next: next, seenMessages: &seenMessages{
		interval: interval,
		now:      now,
		// IPv6 in brackets, IPv4, bare IPv6, and a port alone.
		addresses: regexp.MustCompile(`\[[0-9a-fA-F:.]+(%\w+)?\](:\d+)?|\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b` +
			`|\b([0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}|:\d{1,5}\b`),
		seen: make(map[string]*seenMessage),
	}}
}

// Enabled reports what the wrapped handler reports.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle passes r on, or counts it as suppressed.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	var key strings.Builder
	fmt.Fprintf(&key, "%d%s %s", r.Level, h.scope, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&key, " %s=%s", a.Key, a.Value)
		return key.Len() < 4*maxKey
	})
	due, suppressed := h.checkMessage(h.messageKey(key.String()))
	if !due {
		return nil
	}
	if suppressed > 0 {
		text := fmt.Sprintf("%s (%d more in the last %s)", r.Message, suppressed, intervalText(h.interval))
		counted := slog.NewRecord(r.Time, r.Level, text, r.PC)
		r.Attrs(func(a slog.Attr) bool { counted.AddAttrs(a); return true })
		r = counted
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs returns a handler that shares this one's messages.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{h.next.WithAttrs(attrs), fmt.Sprint(h.scope, attrs), h.seenMessages}
}

// WithGroup returns a handler that shares this one's messages.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.next.WithGroup(name), h.scope + "." + name, h.seenMessages}
}

// checkMessage reports whether the message is due, and how often it was suppressed since it was last logged.
func (m *seenMessages) checkMessage(key string) (due bool, suppressed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	known := m.seen[key]
	if known == nil {
		if len(m.seen) >= maxMessages {
			m.dropOldest()
		}
		m.seen[key] = &seenMessage{logged: now, last: now}
		return true, 0
	}
	known.last = now
	if now.Sub(known.logged) < m.interval {
		known.suppressed++
		return false, 0
	}
	suppressed = known.suppressed
	known.logged, known.suppressed = now, 0
	return true, suppressed
}

// dropOldest drops the least recent message. It is called with mu held and seen not empty.
func (m *seenMessages) dropOldest() {
	var oldest string
	var at time.Time
	for key, message := range m.seen {
		if at.IsZero() || message.last.Before(at) {
			oldest, at = key, message.last
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

// messageKey returns message without the addresses, which differ between repetitions.
func (m *seenMessages) messageKey(message string) string {
	s := m.addresses.ReplaceAllString(message, "@")
	return s[:min(len(s), maxKey)]
}
