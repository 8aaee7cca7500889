package ledger

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// quietLogger gives raft's messages to slog, two levels lower than raft
// thinks of them: what matters of them the ledger says itself, in its words.
type quietLogger struct {
	log  *slog.Logger
	name string
	with []any
}

func (q quietLogger) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	if level >= hclog.Error {
		to = slog.LevelInfo
	}
	if level <= hclog.Debug || !q.log.Enabled(context.Background(), to) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	q.log.Log(context.Background(), to, "raft: "+msg, append(append([]any{}, q.with...), args...)...)
}

func (q quietLogger) Trace(msg string, args ...any) { q.Log(hclog.Trace, msg, args...) }
func (q quietLogger) Debug(msg string, args ...any) { q.Log(hclog.Debug, msg, args...) }
func (q quietLogger) Info(msg string, args ...any)  { q.Log(hclog.Info, msg, args...) }
func (q quietLogger) Warn(msg string, args ...any)  { q.Log(hclog.Warn, msg, args...) }
func (q quietLogger) Error(msg string, args ...any) { q.Log(hclog.Error, msg, args...) }

func (q quietLogger) IsTrace() bool { return false }
func (q quietLogger) IsDebug() bool { return false }
func (q quietLogger) IsInfo() bool  { return true }
func (q quietLogger) IsWarn() bool  { return true }
func (q quietLogger) IsError() bool { return true }

func (q quietLogger) ImpliedArgs() []any { return q.with }
func (q quietLogger) With(args ...any) hclog.Logger {
	q.with = append(append([]any{}, q.with...), args...)
	return q
}
func (q quietLogger) Name() string { return q.name }
func (q quietLogger) Named(name string) hclog.Logger {
	q.name = name
	return q
}
func (q quietLogger) ResetNamed(name string) hclog.Logger { return q.Named(name) }
func (q quietLogger) SetLevel(hclog.Level)                {}
func (q quietLogger) GetLevel() hclog.Level               { return hclog.Info }

func (q quietLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}
func (q quietLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
