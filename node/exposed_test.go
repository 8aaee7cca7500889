//go:build unix

package node_test

import (
	"os"
	"strings"
	"testing"

	"bramble/node/config"
)

// A board says in its log and on the console if others can read a secret, and if a change of the rack key has not ended.
func TestSecretsOfABoard(t *testing.T) {
	p := startRack(t, 1, "").boards[0]
	if s, err := p.snapshot(); err != nil || strings.Contains(strings.Join(s.Notices, "\n"), "can read") || strings.Contains(strings.Join(s.Notices, "\n"), "old_keys") {
		t.Errorf("with private files the notices are %q (%v)", s.Notices, err)
	}
	p.stop()
	for path, mode := range map[string]os.FileMode{p.file: 0o640, p.orders(): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	stopped := strings.Replace(string(text), "[rack]\n", "[rack]\nold_keys = [\""+config.NewRackKey().Reveal()+"\"]\n", 1) // "bramble rekey" between its rounds
	if err := os.WriteFile(p.file, []byte(stopped), 0o640); err != nil || stopped == string(text) {
		t.Fatal(err, stopped)
	}
	p.start()
	p.waitNotice("also accepts the rack keys under old_keys")
	p.waitNotice("its group can read " + p.file)
	p.waitNotice("everybody on this machine can read " + p.orders())
	if log := p.logText(); strings.Count(log, "secrets are not secret") != 2 || !strings.Contains(log, "chmod go= "+p.file) || strings.Count(log, "old rack keys are accepted") != 1 {
		t.Errorf("the log is %s", log)
	}
}
