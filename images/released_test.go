package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The time by which boards refuse older versions is the source's own: without one that can be believed nothing is signed.
func TestNoSignatureWithoutTheTimeOfTheSource(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	const stamp = "2026-11-30T12:00:00Z"
	for name, tt := range map[string]struct {
		o     Options
		stamp string
		want  string // "" = it is refused
	}{
		"a build with git's stamp":       {Options{UpdateKey: []byte("key")}, stamp, "2026-11-30T12:00:00Z"},
		"an archive":                     {Options{UpdateKey: []byte("key")}, "", ""},
		"an archive whose time is given": {Options{UpdateKey: []byte("key"), Released: "2026-11-29T13:00:00+01:00"}, "", "2026-11-29T12:00:00Z"},
		"the owner's word before git's":  {Options{UpdateKey: []byte("key"), Released: "2026-12-24T00:00:00Z"}, stamp, "2026-12-24T00:00:00Z"},
		"a day is no time":               {Options{Released: "2026-11-29"}, stamp, ""},
		"an archive that nobody signs":   {Options{}, "", "0001-01-01T00:00:00Z"},
		"a program without a stamp":      {Options{UpdateKey: []byte("key"), Binary: "bramble"}, "", ""},
	} {
		b := builder{options: tt.o}
		at, err := b.findReleased(t.Context(), tt.stamp)
		if (err != nil) != (tt.want == "") || err == nil && at.Format(time.RFC3339) != tt.want || err != nil && !strings.Contains(err.Error(), "--released") {
			t.Errorf("%s: %v, %v", name, at, err)
		}
	}
}

// Go stamps no build in a git worktree, whose .git is a file: its commit's time counts all the same.
func TestAWorktreeIsAGitCheckout(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("it needs git")
	}
	folder := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", filepath.Join(folder, "main"), "-c", "user.name=a", "-c", "user.email=a@b.example"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-11-30T13:00:00+01:00", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	if err := os.Mkdir(filepath.Join(folder, "main"), 0o700); err != nil {
		t.Fatal(err)
	}
	run("init")
	run("commit", "--allow-empty", "-m", "one")
	run("worktree", "add", "../other")
	for at, want := range map[string]string{"main": "2026-11-30T12:00:00Z", "other": "2026-11-30T12:00:00Z", "other/below": ""} {
		if err := os.MkdirAll(filepath.Join(folder, at), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Chdir(filepath.Join(folder, at))
		b := builder{options: Options{UpdateKey: []byte("key")}}
		released, err := b.findReleased(t.Context(), "")
		if (err != nil) != (want == "") || err == nil && released.Format(time.RFC3339) != want {
			t.Errorf("in %s: %v, %v", at, released, err)
		}
	}
}
