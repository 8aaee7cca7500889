// Package logdedup is a slog handler that logs each kind of message once per interval and counts the
// repetitions, and bounds the kinds. It limits messages whose rate others control: a stranger that connects every second must
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
	// maxKinds bounds the kinds of messages that are logged in an interval: a stranger that varies the words of a message
	// still writes no more than that. The rest is counted. The bound does not hold back errors.
	maxKinds = 32
	// maxMessages bounds the messages that a Handler remembers; the least recent is dropped.
	maxMessages = 128
	// maxKey bounds the key of a remembered message, in bytes.
	maxKey = 256
)

// Handler is that slog.Handler. When a message comes again after the interval, its text states the number
// of suppressed ones.
//
// Two messages are of one kind if level, text and attributes are equal, apart from what the other side
// chooses: network addresses, and, in the text and in errors, numbers and what is in quotes. Attributes that
// are strings, such as a board's name, count as they are.
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
	details   *regexp.Regexp

	mu      sync.Mutex // guards what follows
	seen    map[string]*seenMessage
	began   time.Time // of the interval that kinds and dropped count in
	kinds   int
	dropped int // messages over maxKinds
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
		details: regexp.MustCompile(`"(\\.|[^"\\])*"?|\b0x[0-9a-f]+|(\d[\d.]*([nµm]?s|[mh])?)+`),
		seen:    make(map[string]*seenMessage),
	}}
}

// Enabled reports what the wrapped handler reports.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle passes r on, or counts it as suppressed.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	var key strings.Builder
	fmt.Fprintf(&key, "%d%s %s", r.Level, h.scope, h.foldDetails(r.Message))
	r.Attrs(func(a slog.Attr) bool {
		value := a.Value.String()
		if a.Value.Kind() != slog.KindString || a.Key == "error" || a.Key == "detail" {
			value = h.foldDetails(value)
		}
		fmt.Fprintf(&key, " %s=%s", a.Key, value)
		return key.Len() < 4*maxKey
	})
	due, suppressed, dropped := h.checkMessage(h.messageKey(key.String()), r.Level)
	if !due {
		return nil
	}
	if dropped > 0 {
		text := fmt.Sprintf("too many kinds of messages at once: %d were not logged", dropped)
		if err := h.next.Handle(ctx, slog.NewRecord(r.Time, slog.LevelWarn, text, r.PC)); err != nil {
			return err
		}
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

// checkMessage reports whether the message is due, how often it was suppressed since it was last logged, and
// how many messages of other kinds were dropped in an interval that is over.
func (m *seenMessages) checkMessage(key string, level slog.Level) (due bool, suppressed, dropped int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if now.Sub(m.began) >= m.interval {
		dropped, m.began, m.kinds, m.dropped = m.dropped, now, 0, 0
		defer func() {
			if !due {
				m.dropped += dropped
			}
		}()
	}
	isFull := m.kinds >= maxKinds && level < slog.LevelError
	known := m.seen[key]
	switch {
	case known != nil && (isFull || now.Sub(known.logged) < m.interval):
		known.last = now
		known.suppressed++
		return false, 0, dropped
	case isFull:
		m.dropped++
		return false, 0, dropped
	case known == nil:
		if len(m.seen) >= maxMessages {
			m.dropOldest()
		}
		known = &seenMessage{}
		m.seen[key] = known
	}
	m.kinds++
	suppressed = known.suppressed
	*known = seenMessage{logged: now, last: now}
	return true, suppressed, dropped
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

// foldDetails returns text without what is in quotes and without numbers.
func (m *seenMessages) foldDetails(text string) string {
	return m.details.ReplaceAllString(m.addresses.ReplaceAllString(text, "@"), "#")
}

// messageKey returns message without the addresses, which differ between repetitions.
func (m *seenMessages) messageKey(message string) string {
	s := m.addresses.ReplaceAllString(message, "@")
	return s[:min(len(s), maxKey)]
}
