package ledger

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
)

// A normal stop closes raft's connections, which raft calls errors.
func TestAStopIsNoFaultInTheLog(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var text bytes.Buffer
	log := hclogAdapter{ctx: ctx, log: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	log.Error("failed to accept connection")
	stop()
	log.With("a", 1).Error("failed to decode incoming command")
	if lines := strings.Split(text.String(), "\n"); len(lines) != 3 || !strings.Contains(lines[0], "level=INFO") || !strings.Contains(lines[1], "level=DEBUG") {
		t.Errorf("the log is %q", lines)
	}
}
