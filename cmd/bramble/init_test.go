package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bramble/node/config"
)

// runIn runs a command line in the test's world and returns its exit code and output.
func runIn(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	var out strings.Builder
	code = runCommand(t.Context(), args, world{in: strings.NewReader(""), out: &out, err: &out, getenv: func(string) string { return "" }})
	return code, out.String()
}

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	file, key := filepath.Join(dir, "bramble.toml"), filepath.Join(dir, updateKeyFile)
	code, out := runIn(t, "init", "--out", file)
	if code != exitOK {
		t.Fatalf("%d: %s", code, out)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Rack.Key.IsZero() || cfg.Rack.ExpectedBoards != 5 || len(cfg.Console.Password) < 20 || len(cfg.Update.Keys) != 1 {
		t.Errorf("the settings are %+v, %+v, %+v", cfg.Rack, cfg.Console, cfg.Update)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# The secret that boards of one rack share", "# Password of the console", "# Public keys", `"bramble config" prints`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file has no comment %q:\n%s", want, text)
		}
	}
	if info, err := os.Stat(dir); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("the folder that it made has mode %v (%v)", info.Mode(), err)
	}
	for _, want := range []string{cfg.Console.Password, "orders are accepted until 5 boards run", "bramble node --config", "bramble image --config", updateKeyFile} {
		if strings.Count(out, want) < 1 {
			t.Errorf("the output does not name %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, cfg.Rack.Key.Reveal()) {
		t.Error("the output has the rack key")
	}
	for _, name := range []string{file, key} {
		if info, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v)", name, info.Mode(), err)
		}
	}
	if code, out := runIn(t, "node", "--check", "--config", file); code != exitOK || out != "" {
		t.Errorf("a board does not take the file: %d, %s", code, out)
	}

	private, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // neither file is written again, not even if the other is missing
		if code, out := runIn(t, "init", "--out", file); code != exitFailed || !strings.Contains(out, "exists") {
			t.Errorf("a second time: %d, %s", code, out)
		}
		if now, err := os.ReadFile(key); err != nil || string(now) != string(private) {
			t.Errorf("the second time changed the key (%v)", err)
		}
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("with another update.key there, it wrote a file all the same")
	}
	code, out = runIn(t, "key", "--update", filepath.Join(dir, "second.key"))
	line, isLine := strings.CutSuffix(out, "\n")
	if _, err := config.Parse("b.toml", []byte("[rack]\nkey = \""+cfg.Rack.Key.Reveal()+"\"\n[update]\n"+line)); code != exitOK || !isLine || err != nil {
		t.Errorf("a further update key: %d, %s, %v", code, out, err)
	}
	if code, out := runIn(t, "key", "--update", filepath.Join(dir, "second.key")); code != exitFailed || !strings.Contains(out, "exists") {
		t.Errorf("the same file again: %d, %s", code, out)
	}
}

// A board refuses a key that everybody can read, and a command says so, as ssh does.
func TestReadableSecrets(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no such modes")
	}
	dir := t.TempDir()
	file, certKey := filepath.Join(dir, "bramble.toml"), filepath.Join(dir, "shop.key")
	text := fmt.Sprintf("[rack]\nkey = %q\n[tls]\nlisten = \":443\"\ncertificate_files = [\"shop.pem\"]\nkey_files = [\"shop.key\"]\n", config.NewRackKey().Reveal())
	writeTestFile(t, file, []byte(text))
	writeTestFile(t, certKey, []byte("key"))
	for _, tt := range []struct {
		toml, key os.FileMode
		refuses   string
	}{
		{0o600, 0o600, ""}, {0o640, 0o600, ""}, {0o600, 0o440, ""}, {0o400, 0o400, ""},
		{0o644, 0o600, "chmod go= " + file}, {0o602, 0o600, "chmod go= " + file}, {0o600, 0o604, "chmod go= " + certKey},
	} {
		for name, mode := range map[string]os.FileMode{file: tt.toml, certKey: tt.key} {
			if err := os.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
		code, out := runIn(t, "node", "--check", "--config", file)
		if refused := code == exitFailed && strings.Contains(out, tt.refuses) && strings.Contains(out, "does not start"); refused != (tt.refuses != "") || !refused && code != exitOK {
			t.Errorf("modes %o and %o: %d, %s", tt.toml, tt.key, code, out)
		}
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, out := runIn(t, "status", "--config", file, "--console", "http://127.0.0.1:1"); !strings.Contains(out, "WARNING: its group can read") || !strings.Contains(out, "0640") {
		t.Errorf("a command with a readable file says %s", out)
	}
}
