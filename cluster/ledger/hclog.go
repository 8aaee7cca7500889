package ledger

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// hclogAdapter gives raft's messages to slog, two levels lower than raft
// thinks of them: what matters of them the ledger says itself, in its words.
type hclogAdapter struct {
	log  *slog.Logger
	name string
	with []any
}

func (q hclogAdapter) Log(level hclog.Level, msg string, args ...any) {
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

func (q hclogAdapter) Trace(msg string, args ...any) { q.Log(hclog.Trace, msg, args...) }
func (q hclogAdapter) Debug(msg string, args ...any) { q.Log(hclog.Debug, msg, args...) }
func (q hclogAdapter) Info(msg string, args ...any)  { q.Log(hclog.Info, msg, args...) }
func (q hclogAdapter) Warn(msg string, args ...any)  { q.Log(hclog.Warn, msg, args...) }
func (q hclogAdapter) Error(msg string, args ...any) { q.Log(hclog.Error, msg, args...) }

func (q hclogAdapter) IsTrace() bool { return false }
func (q hclogAdapter) IsDebug() bool { return false }
func (q hclogAdapter) IsInfo() bool  { return true }
func (q hclogAdapter) IsWarn() bool  { return true }
func (q hclogAdapter) IsError() bool { return true }

func (q hclogAdapter) ImpliedArgs() []any { return q.with }
func (q hclogAdapter) With(args ...any) hclog.Logger {
	q.with = append(append([]any{}, q.with...), args...)
	return q
}
func (q hclogAdapter) Name() string { return q.name }
func (q hclogAdapter) Named(name string) hclog.Logger {
	q.name = name
	return q
}
func (q hclogAdapter) ResetNamed(name string) hclog.Logger { return q.Named(name) }
func (q hclogAdapter) SetLevel(hclog.Level)                {}
func (q hclogAdapter) GetLevel() hclog.Level               { return hclog.Info }

func (q hclogAdapter) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}
func (q hclogAdapter) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
