package cluster

import (
	"bytes"
	"errors"
	"log"
	"log/slog"
	"strings"
	"testing"
)

func TestLibraryLog(t *testing.T) {
	const anotherKey = `level=WARN msg="gossip refused: it is encrypted with another rack key`
	for line, want := range map[string]string{
		"[ERR] memberlist: Failed to send ack: broken\n":       `level=WARN msg="memberlist: Failed to send ack: broken"`,
		"[WARN] memberlist: Was able to connect to b2 by TCP":  `level=WARN msg="memberlist: Was able to connect to b2 by TCP"`,
		"[INFO] memberlist: Suspect b2 has failed":             `level=DEBUG msg="memberlist: Suspect b2 has failed"`,
		"[DEBUG] memberlist: Stream connection from=192.0.2.1": `level=DEBUG msg="memberlist: Stream connection from=192.0.2.1"`,
		"[WARN] memberlist: Refuting a suspect message":        `level=DEBUG msg="memberlist: Refuting a suspect message"`,
		"Err: Could not set the deadline":                      `level=WARN msg="Err: Could not set the deadline"`,
		"[odd":                                                 `level=WARN msg=[odd`,
		"[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=192.0.2.9:7946": anotherKey,
		"[ERR] memberlist: failed to receive: encryption is configured but remote state is not encrypted":          anotherKey,
		"[WARN] " + strings.Repeat("x", 10*maxLibraryLine):                                                         "level=WARN msg=" + strings.Repeat("x", maxLibraryLine) + "…\n",
	} {
		var out bytes.Buffer
		text := slog.NewTextHandler(&out, &slog.HandlerOptions{
			Level: slog.LevelDebug,
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		})
		log.New(libraryWriter{slog.New(text)}, "", 0).Print(line)
		if got := out.String(); !strings.HasPrefix(got, want) {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
}

func TestLastErrorOfAJoin(t *testing.T) {
	err := errors.New("1 error occurred:\n\t* failed to join 192.0.2.1:7946: refused\n\n")
	if got, want := lastError(err), "failed to join 192.0.2.1:7946: refused"; got != want {
		t.Errorf("lastError = %q, want %q", got, want)
	}
}
