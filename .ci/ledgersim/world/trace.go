package main

import (
	"context"
	"fmt"
	"log/slog"
)

// traceHandler writes a board's log to the trace. It always writes everything, because a
// run that logs less would be another run.
type traceHandler struct{ run *boardRun }

// Enabled implements slog.Handler.
func (traceHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (t traceHandler) Handle(_ context.Context, r slog.Record) error {
	b := fmt.Appendf(nil, "%s %s", t.run.name, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		b = fmt.Appendf(b, " %s=%v", a.Key, a.Value)
		if a.Key == "servers" { // of "initial configuration" and "updating configuration"
			t.run.site.world.noteConfiguration(t.run, a.Value.String())
		}
		return true
	})
	printTrace(append(b, '\n'))
	return nil
}

// WithAttrs implements slog.Handler: the ledger uses none.
func (t traceHandler) WithAttrs([]slog.Attr) slog.Handler { return t }

// WithGroup implements slog.Handler: the ledger uses none.
func (t traceHandler) WithGroup(string) slog.Handler { return t }
