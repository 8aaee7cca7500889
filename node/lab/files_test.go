package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bramble/cluster/durable"
	"bramble/node/config"
)

func document(t *testing.T, text string) *config.ParsedFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rack.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := config.LoadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestBoardConfigText(t *testing.T) {
	p, err := NewPlan(3, "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	key := config.NewRackKey()
	template := document(t, "[board]\nname = \"mine\"\nweight = 7\n[rack]\nmdns = true\njoin = [\"10.0.0.1\"]\n[cache]\nmemory = \"2MB\"\n")
	got := strings.ReplaceAll(string(boardConfigText(p, 1, key, template)), key.Reveal(), "KEY")
	want := `[board]
name = "board-2"
weight = 7

[http]
listen = "127.0.0.1:9002"

[console]
listen = "127.0.0.1:9005"

[rack]
key = "KEY"
gossip_listen = "127.0.0.1:9008"
link_listen = "127.0.0.1:9011"
advertise = "127.0.0.1"
join = ["127.0.0.1:9007", "127.0.0.1:9009"]
mdns = false
expected_boards = 3

[cache]
memory = "2MB"

[orders]
directory = "ledger"
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEachBoardHasItsOwnPortForHTTPS(t *testing.T) {
	p, err := NewPlan(2, "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	for round, template := range []*config.ParsedFile{document(t, "[tls]\nlisten = \":8443\"\n"), nil} {
		boards, err := writeBoards(state, p, config.NewRackKey(), template)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{":8443", ":8444"} {
			if got := boards[i].TLS.Listen; got != want {
				t.Errorf("start %d: board %d has %s, want %s", round+1, i+1, got, want)
			}
		}
	}
}

func TestStateFolderIsReused(t *testing.T) {
	state := t.TempDir()
	p, err := NewPlan(2, "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	key, err := loadRackKey(state, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writeBoards(state, p, key, nil); err != nil {
		t.Fatal(err)
	}
	// Change a setting in one board's file, and use other ports at the next start.
	path := filepath.Join(state, "board-2", configFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, "\n[log]\nlevel = \"debug\"\n"...), fileMode); err != nil {
		t.Fatal(err)
	}
	if p, err = NewPlan(2, "127.0.0.1:9100"); err != nil {
		t.Fatal(err)
	}
	again, err := loadRackKey(state, nil)
	if err != nil || again != key {
		t.Errorf("the key was not reused: %v", err)
	}
	configs, err := writeBoards(state, p, again, nil)
	if err != nil {
		t.Fatal(err)
	}
	if configs[0].Log.Level != "info" || configs[1].Log.Level != "debug" || configs[1].HTTP.Listen != "127.0.0.1:9102" {
		t.Errorf("the second start has %+v and %+v", configs[0], configs[1])
	}
	// A template overrides the saved settings.
	template := document(t, "[rack]\nkey = \""+config.NewRackKey().Reveal()+"\"\n[log]\nlevel = \"warn\"\n")
	if again, err = loadRackKey(state, template); err != nil || again != template.Config.Rack.Key {
		t.Errorf("the template's key is not used: %v", err)
	}
	if configs, err = writeBoards(state, p, again, template); err != nil || configs[1].Log.Level != "warn" {
		t.Errorf("the template is not used: %v", err)
	}
	for _, private := range []string{keyFile, filepath.Join("board-1", configFile)} {
		info, err := os.Stat(filepath.Join(state, private))
		if err != nil {
			t.Fatal(err)
		}
		// Windows has no such file modes.
		if mode := info.Mode().Perm(); os.PathSeparator == '/' && mode != fileMode {
			t.Errorf("%s can be read by others: %v", private, mode)
		}
	}
}

func TestInvalidFilesInTheStateFolder(t *testing.T) {
	state := t.TempDir()
	path := filepath.Join(state, keyFile)
	if err := os.WriteFile(path, []byte("brk_x\n"), fileMode); err != nil {
		t.Fatal(err)
	}
	if _, err := loadRackKey(state, nil); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "too short") {
		t.Errorf("with a broken key: %v", err)
	}
	p, err := NewPlan(1, "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(state, "board-1"), dirMode); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "board-1", configFile), []byte("[lgo]\n"), fileMode); err != nil {
		t.Fatal(err)
	}
	if _, err := writeBoards(state, p, config.NewRackKey(), nil); err == nil || !strings.Contains(err.Error(), "did you mean [log]?") {
		t.Errorf("with a broken file: %v", err)
	}
	clash := document(t, "[console]\npassword = \"12345678\"\n[cache]\nmax_object = \"1MB\"\n")
	if configs, err := writeBoards(state, p, config.NewRackKey(), clash); err != nil || configs[0].Console.Password != "12345678" {
		t.Errorf("the password is not passed on: %v", err)
	}
}

func TestTemporaryFolderIsRemoved(t *testing.T) {
	dir, remove, err := stateFolder("")
	if err != nil {
		t.Fatal(err)
	}
	remove()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s was not removed: %v", dir, err)
	}
	named, remove, err := stateFolder(filepath.Join(t.TempDir(), "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := stateFolder(named); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("a second lab has the folder of the first: %v", err)
	}
	remove()
	if _, err := os.Stat(named); err != nil {
		t.Errorf("a named folder was removed: %v", err)
	}
}

func TestLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w, err := openLog(path, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if n, err := w.Write([]byte(strings.Repeat("x", 9) + "\n")); n != 10 || err != nil {
			t.Fatalf("write %d: %d, %v", i, n, err)
		}
	}
	if _, err := w.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write([]byte("late")); n != 4 || err != nil {
		t.Errorf("a write after the end: %d, %v", n, err)
	}
	for _, p := range []string{path, path + ".old"} {
		info, err := os.Stat(p)
		if err != nil || info.Size() > 100 {
			t.Errorf("%s: %+v, %v", p, info, err)
		}
	}
	if got := lastLines(path, 1)[0]; got != "the end" {
		t.Errorf("the last line is %q", got)
	}
	if got := len(lastLines(path+".old", 4)); got != 4 {
		t.Errorf("the tail of four lines has %d", got)
	}
	// A revived board continues its log.
	if w, err = openLog(path, 100); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("again\n"))
	w.Close()
	if got := strings.Join(lastLines(path, 2), "|"); got != "the end|again" {
		t.Errorf("after a revival the tail is %q", got)
	}
	if got := lastLines(path+".none", 1)[0]; !strings.HasPrefix(got, "its log cannot be read") {
		t.Errorf("without a log: %q", got)
	}
}
