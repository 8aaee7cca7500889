package cluster

import (
	"context"
	"log/slog"
	"strings"
)

// libraryWriter turns the lines that memberlist and mdns write to a log.Logger into slog records: the
// level is read off the "[WARN] memberlist: " in front, and where a line has a meaning that an owner
// of a rack can act on, it is put in Bramble's words.
type libraryWriter struct {
	log *slog.Logger
}

// maxLibraryLine bounds a line, in bytes: memberlist prints whole messages that it did not like.
const maxLibraryLine = 400

// Write takes one line. It never fails.
func (l libraryWriter) Write(line []byte) (int, error) {
	level, text := splitLibraryLine(string(line))
	if strings.Contains(text, "installed keys could decrypt") ||
		strings.Contains(text, "remote state is not encrypted") {
		l.log.Warn("gossip refused: it is sealed with another rack key, or with none. "+
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
	if rest, ok := strings.CutPrefix(line, "["); ok {
		if word, rest, ok := strings.Cut(rest, "] "); ok {
			switch word {
			case "DEBUG", "INFO":
				// What memberlist calls INFO is told again, in better words, as an Event.
				level, line = slog.LevelDebug, rest
			case "WARN", "ERR", "ERROR":
				// Nearly all of its errors are somebody else's, and none ends the board's work.
				level, line = slog.LevelWarn, rest
			}
		}
	}
	// A healthy rack refutes suspicions now and then: that is the protocol at work.
	if strings.Contains(line, "Refuting a") {
		level = slog.LevelDebug
	}
	if len(line) > maxLibraryLine {
		line = strings.ToValidUTF8(line[:maxLibraryLine], "") + "…"
	}
	return level, line
}
