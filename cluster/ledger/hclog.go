package ledger

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// hclogAdapter is an hclog.Logger that writes raft's messages to slog, two levels
// lower than raft rates them: the ledger itself logs everything important about them.
// After ctx, the ledger's, has ended they are debug, because raft calls each closed
// connection an error. Who reads files without a ledger leaves ctx nil.
type hclogAdapter struct {
	ctx  context.Context
	log  *slog.Logger
	name string
	with []any
}

func (h hclogAdapter) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	if level >= hclog.Error && (h.ctx == nil || h.ctx.Err() == nil) {
		to = slog.LevelInfo
	}
	if level <= hclog.Debug || !h.log.Enabled(context.Background(), to) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	h.log.Log(context.Background(), to, "raft: "+msg, append(append([]any{}, h.with...), args...)...)
}

func (h hclogAdapter) Trace(msg string, args ...any) { h.Log(hclog.Trace, msg, args...) }
func (h hclogAdapter) Debug(msg string, args ...any) { h.Log(hclog.Debug, msg, args...) }
func (h hclogAdapter) Info(msg string, args ...any)  { h.Log(hclog.Info, msg, args...) }
func (h hclogAdapter) Warn(msg string, args ...any)  { h.Log(hclog.Warn, msg, args...) }
func (h hclogAdapter) Error(msg string, args ...any) { h.Log(hclog.Error, msg, args...) }

func (h hclogAdapter) IsTrace() bool { return false }
func (h hclogAdapter) IsDebug() bool { return false }
func (h hclogAdapter) IsInfo() bool  { return true }
func (h hclogAdapter) IsWarn() bool  { return true }
func (h hclogAdapter) IsError() bool { return true }

func (h hclogAdapter) ImpliedArgs() []any { return h.with }
func (h hclogAdapter) With(args ...any) hclog.Logger {
	h.with = append(append([]any{}, h.with...), args...)
	return h
}
func (h hclogAdapter) Name() string { return h.name }
func (h hclogAdapter) Named(name string) hclog.Logger {
	h.name = name
	return h
}
func (h hclogAdapter) ResetNamed(name string) hclog.Logger { return h.Named(name) }
func (h hclogAdapter) SetLevel(hclog.Level)                {}
func (h hclogAdapter) GetLevel() hclog.Level               { return hclog.Info }

func (h hclogAdapter) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}
func (h hclogAdapter) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
