package node_test

import (
	"os"
	"strings"
	"testing"
)

// A board says in its log and on the console if others can read a secret.
func TestSecretsOfABoard(t *testing.T) {
	p := startRack(t, 1, "").boards[0]
	if s, err := p.snapshot(); err != nil || strings.Contains(strings.Join(s.Notices, "\n"), "can read") {
		t.Errorf("with private files the notices are %q (%v)", s.Notices, err)
	}
	p.stop()
	for path, mode := range map[string]os.FileMode{p.file: 0o640, p.orders(): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	p.start()
	p.waitNotice("its group can read " + p.file)
	p.waitNotice("everybody on this machine can read " + p.orders())
	if log := p.logText(); strings.Count(log, "secrets are not secret") != 2 || !strings.Contains(log, "chmod go= "+p.file) {
		t.Errorf("the log is %s", log)
	}
}
