package cluster

import (
	"context"
	"log/slog"
	"strings"
)

// libraryWriter turns the lines that memberlist and mdns write to a log.Logger into slog records. The level
// comes from the prefix "[WARN] memberlist: ". A line that an operator can act on is replaced by one that
// says what to do.
type libraryWriter struct {
	log *slog.Logger
}

// maxLibraryLine bounds a line, in bytes: memberlist prints whole messages that it rejects.
const maxLibraryLine = 400

// Write logs one line. It never fails.
func (l libraryWriter) Write(line []byte) (int, error) {
	level, text := splitLibraryLine(string(line))
	if strings.Contains(text, "installed keys could decrypt") ||
		strings.Contains(text, "remote state is not encrypted") {
		l.log.Warn("gossip refused: it is encrypted with another rack key, or not at all. "+
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
	switch word, rest, _ := strings.Cut(line, " "); word {
	case "[DEBUG]", "[INFO]":
		// An Event reports again, more clearly, what memberlist calls INFO.
		level, line = slog.LevelDebug, rest
	case "[WARN]", "[ERR]", "[ERROR]":
		// Nearly all of its errors are other boards', and none ends this board's work.
		line = rest
	}
	// A healthy rack refutes suspicions now and then; that is part of the protocol.
	if strings.Contains(line, "Refuting a") {
		level = slog.LevelDebug
	}
	if len(line) > maxLibraryLine {
		line = strings.ToValidUTF8(line[:maxLibraryLine], "") + "…"
	}
	return level, line
}
