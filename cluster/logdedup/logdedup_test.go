package logdedup

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// dedupLog is a Handler over a text log in memory, with a clock that the test advances.
func dedupLog(level slog.Level) (log *slog.Logger, out *bytes.Buffer, clock *time.Time) {
	clock = new(time.Time)
	*clock = time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)
	out = new(bytes.Buffer)
	text := slog.NewTextHandler(out, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})
	return slog.New(NewHandler(text, time.Minute, func() time.Time { return *clock })), out, clock
}

func readLog(out *bytes.Buffer) string {
	defer out.Reset()
	return out.String()
}

func TestRepetitionsAreCounted(t *testing.T) {
	log, out, clock := dedupLog(slog.LevelInfo)
	for i := range 18 {
		log.Warn("refused", "from", fmt.Sprintf("192.0.2.7:%d", 40000+i))
		*clock = clock.Add(time.Second)
	}
	if got, want := readLog(out), "level=WARN msg=refused from=192.0.2.7:40000\n"; got != want {
		t.Errorf("in the first minute: %q, want %q", got, want)
	}
	*clock = clock.Add(time.Minute)
	log.Warn("refused", "from", "192.0.2.7:50000")
	if got, want := readLog(out), "level=WARN msg=\"refused (17 more in the last minute)\" from=192.0.2.7:50000\n"; got != want {
		t.Errorf("after it: %q, want %q", got, want)
	}
	*clock = clock.Add(time.Minute)
	log.Warn("refused", "from", "192.0.2.7:50000")
	if got, want := readLog(out), "level=WARN msg=refused from=192.0.2.7:50000\n"; got != want {
		t.Errorf("after a minute without repetitions: %q, want %q", got, want)
	}
}

func TestSameMessage(t *testing.T) {
	for _, c := range []struct {
		name   string
		second func(*slog.Logger)
		same   bool
	}{
		{"the same", func(l *slog.Logger) { l.Info("dial 192.0.2.1:7946 failed", "board", "b1") }, true},
		{"another address", func(l *slog.Logger) { l.Info("dial 10.9.8.7:1 failed", "board", "b1") }, true},
		{"an IPv6 address", func(l *slog.Logger) { l.Info("dial [2001:db8::1%eth0]:7946 failed", "board", "b1") }, true},
		{"another text", func(l *slog.Logger) { l.Info("dial 192.0.2.1:7946 done", "board", "b1") }, false},
		{"another board", func(l *slog.Logger) { l.Info("dial 192.0.2.1:7946 failed", "board", "b2") }, false},
		{"another level", func(l *slog.Logger) { l.Warn("dial 192.0.2.1:7946 failed", "board", "b1") }, false},
		{"another logger", func(l *slog.Logger) { l.With("part", "x").Info("dial 192.0.2.1:7946 failed", "board", "b1") }, false},
		{"another group", func(l *slog.Logger) { l.WithGroup("g").Info("dial 192.0.2.1:7946 failed", "board", "b1") }, false},
	} {
		log, out, _ := dedupLog(slog.LevelInfo)
		log.Info("dial 192.0.2.1:7946 failed", "board", "b1")
		readLog(out)
		c.second(log)
		if same := readLog(out) == ""; same != c.same {
			t.Errorf("%s: suppressed %v, want %v", c.name, same, c.same)
		}
	}
}

// Lines that a stranger can vary as memberlist prints them: one line each a minute.
func TestWhatAStrangerVariesIsOneKind(t *testing.T) {
	for name, line := range map[string]func(*slog.Logger, int){
		"a length": func(l *slog.Logger, i int) {
			l.Warn(fmt.Sprintf("memberlist: Remote node state is larger than limit (%d)", i))
		},
		"a type": func(l *slog.Logger, i int) {
			l.Warn(fmt.Sprintf("memberlist: msg type (%d) not supported from=192.0.2.1:%d", i, i))
		},
		"a label": func(l *slog.Logger, i int) {
			l.Warn(fmt.Sprintf("memberlist: unacceptable label %q", "a\""+strings.Repeat("x", i)))
		},
		"a cut label": func(l *slog.Logger, i int) { l.Warn(fmt.Sprintf("memberlist: unacceptable label \"%d…", i)) },
		"an error":    func(l *slog.Logger, i int) { l.Warn("refused", "error", fmt.Errorf("read %d of %#x bytes", i, i)) },
		"a text":      func(l *slog.Logger, i int) { l.Warn("refused", "detail", fmt.Sprintf("size %d", i)) },
		"a number":    func(l *slog.Logger, i int) { l.Warn("refused", "bytes", i) },
		"a time":      func(l *slog.Logger, i int) { l.Warn("refused", "after", time.Duration(i)*time.Millisecond) },
	} {
		log, out, clock := dedupLog(slog.LevelInfo)
		for i := range 100 {
			line(log, i)
		}
		*clock = clock.Add(time.Minute)
		line(log, 100)
		if got := readLog(out); strings.Count(got, "\n") != 2 || !strings.Contains(got, "(99 more in the last minute)") {
			t.Errorf("%s: %q, want two lines, the second with a count", name, got)
		}
	}
}

func TestKindsAreBounded(t *testing.T) {
	log, out, clock := dedupLog(slog.LevelInfo)
	flood := func() {
		for i := range 2 * maxMessages {
			log.Warn("refused", "name", strings.Repeat("x", i))
		}
	}
	flood()
	log.Error("the disk is full")
	if got := readLog(out); strings.Count(got, "\n") != maxKinds+1 || !strings.Contains(got, "the disk is full") {
		t.Errorf("%d lines, want %d and the error", strings.Count(got, "\n"), maxKinds)
	}
	*clock = clock.Add(time.Minute)
	flood()
	want := fmt.Sprintf("too many kinds of messages at once: %d were not logged", 2*maxMessages-maxKinds)
	if got := readLog(out); strings.Count(got, "\n") != maxKinds+1 || !strings.Contains(got, want) {
		t.Errorf("the next minute: %d lines, want %d and %q", strings.Count(got, "\n"), maxKinds, want)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	q := NewHandler(slog.DiscardHandler, 0, nil)
	log := slog.New(q)
	for i := range 2 * maxMessages {
		log.Error("message of a flood", "name", strings.Repeat("x", i%200))
	}
	if n := len(q.seen); n > maxMessages {
		t.Errorf("%d messages are remembered, want at most %d", n, maxMessages)
	}
}

func TestLevel(t *testing.T) {
	log, out, _ := dedupLog(slog.LevelWarn)
	log.Info("not wanted")
	if got := readLog(out); got != "" {
		t.Errorf("logged %q below the level", got)
	}
}
