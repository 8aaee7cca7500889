package cardinit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A power cut at each moment of a replacement leaves the settings of before or the new ones, whole,
// and the next start puts them under the name that people know.
func TestPowerCutWhileSettingsAreReplaced(t *testing.T) {
	const before, after = "key = \"old\"\n# words\n", "key = \"the new one\"\n# words\n"
	for cut := 1; ; cut++ {
		p, m := newTestCard(t)
		file := filepath.Join(p.Boot, "bramble.toml")
		if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		m.cutAt = cut
		done := false
		func() {
			defer func() {
				if r := recover(); r != nil && r != any(errCut) {
					panic(r)
				}
			}()
			slots, err := OpenSlots(m, p, nil)
			if err == nil {
				err = slots.ReplaceSettings([]byte(after))
			}
			if err != nil {
				t.Fatal(err)
			}
			done = true
		}()
		if p.SettingsFile() != file { // what is written over it meanwhile can be anything
			if err := os.WriteFile(file, []byte(after[:7]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m.cutAt = 0
		used, err := os.ReadFile(p.SettingsFile())
		if got := strings.TrimSuffix(string(used), settingsEnd); err != nil || got != after && (done || got != before) {
			t.Fatalf("cut %d: the card uses %q, %v", cut, used, err)
		}
		slots, err := OpenSlots(m, p, nil)
		if err == nil {
			err = slots.ReplaceSettings(nil)
		}
		now, unread := os.ReadFile(file)
		if err != nil || unread != nil || p.SettingsFile() != file || string(now) != strings.TrimSuffix(string(used), settingsEnd) {
			t.Fatalf("cut %d: after the next start there is %q, %v, %v", cut, now, err, unread)
		}
		if done {
			if cut < 4 {
				t.Fatalf("a replacement has only %d moments for a cut", cut)
			}
			return
		}
	}
}

func TestPartOfNewSettingsIsNotUsed(t *testing.T) {
	p, _ := newTestCard(t)
	for _, part := range []string{"", "key = \"the", "key = \"the new one\"\n# This file is comp"} {
		if err := os.WriteFile(p.newSettings(), []byte(part), 0o600); err != nil {
			t.Fatal(err)
		}
		if p.SettingsFile() == p.newSettings() {
			t.Errorf("%q is used", part)
		}
	}
}
