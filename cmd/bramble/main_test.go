package main

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/console/consoletest"
)

// bramble runs one command line.
func bramble(t *testing.T, env map[string]string, args ...string) (code int, out, err string) {
	t.Helper()
	var o, e strings.Builder
	code = runCommand(t.Context(), args, world{
		in: strings.NewReader(""), out: &o, err: &e, getenv: func(k string) string { return env[k] },
	})
	return code, o.String(), e.String()
}

func TestCommandLines(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(bad, []byte("[rack]\nkee = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args string
		code int
		out  string // part of it
		err  string // all of it
	}{
		{"", 0, "Usage: bramble COMMAND", ""},
		{"help", 0, "Usage: bramble COMMAND", ""},
		{"--help", 0, "Usage: bramble COMMAND", ""},
		{"help drain", 0, "Usage: bramble drain [flags] BOARD", ""},
		{"drain --help", 0, "Usage: bramble drain [flags] BOARD", ""},
		{"help nothing", 2, "", "bramble: there is no command \"nothing\"; bramble help lists them\n"},
		{"stauts", 2, "", "bramble: there is no command \"stauts\"; did you mean \"status\"?\n"},
		{"version", 0, "bramble ", ""},
		{"--version", 0, "bramble ", ""},
		{"version now", 2, "", "bramble version: unexpected argument \"now\": this command takes only flags\nFor help: bramble help version\n"},
		{"key", 0, "key = \"brk_", ""},
		{"console", 2, "", "bramble console: name an action: certificate, password or token\nFor help: bramble help console\n"},
		{"console token", 0, "password = \"sha256:", ""},
		{"console password", 2, "", "bramble console: type a password, or redirect a file with one to standard input: there is none\nFor help: bramble help console\n"},
		{"status --ca " + bad, 2, "", "bramble status: --ca: " + bad + " is not a PEM file that can be read; \"bramble console certificate\" prints one\nFor help: bramble help status\n"},
		{"config --show-secret", 2, "", "bramble config: there is no flag --show-secret; did you mean --show-secrets?\nFor help: bramble help config\n"},
		{"config --xyzzy", 2, "", "bramble config: there is no flag --xyzzy\nFor help: bramble help config\n"},
		{"config", 0, "listen = \":80\"", ""},
		{"config --markdown", 0, "| `max_connections` | `4096` |", ""},
		{"config --config " + bad, 2, "", bad + ":2: [rack] kee: unknown key; did you mean \"key\"?\n"},
		{"node --config " + bad, 2, "", bad + ":1: [rack] key is missing: run \"bramble key\" and paste its line under [rack]\n" +
			bad + ":2: [rack] kee: unknown key; did you mean \"key\"?\n"},
		{"lab --config " + bad, 2, "", bad + ":2: [rack] kee: unknown key; did you mean \"key\"?\n"},
		{"lab --boards 33", 2, "", "bramble lab: --boards 33: a lab has 1 to 32 boards\nFor help: bramble help lab\n"},
		{"lab --boards five", 2, "", "bramble lab: --boards: \"five\" is not a whole number\nFor help: bramble help lab\n"},
		{"lab --boards", 2, "", "bramble lab: --boards needs a value\nFor help: bramble help lab\n"},
		{"sale invite berry --valid-for ever", 2, "", "bramble sale: --valid-for: \"ever\" is not a duration; write one such as 48h or 30m\nFor help: bramble help sale\n"},
		{"lab --listen nowhere", 2, "", "bramble lab: --listen: \"nowhere\" is not an address; write IP:PORT, such as 127.0.0.1:8080\nFor help: bramble help lab\n"},
		{"purge", 2, "", "bramble purge: name the pages to purge: a URL, --tag TAG or --all\nFor help: bramble help purge\n"},
		{"purge / --all", 2, "", "bramble purge: a purge needs exactly one of url, tag and all\nFor help: bramble help purge\n"},
		{"purge /a /b", 2, "", "bramble purge: unexpected argument \"/b\": purge one URL at a time\nFor help: bramble help purge\n"},
		{"drain", 2, "", "bramble drain: name one board; \"bramble status\" lists them\nFor help: bramble help drain\n"},
		{"orders", 2, "", "bramble orders: name an action: list, show, export, sent, return, cancel, relink, erase or audit\nFor help: bramble help orders\n"},
		{"orders frob", 2, "", "bramble orders: unknown action \"frob\": it must be list, show, export, sent, return, cancel, relink, erase or audit\nFor help: bramble help orders\n"},
		{"orders show", 2, "", "bramble orders: show needs 1 argument, not 0\nFor help: bramble help orders\n"},
		{"orders list --ledger x", 2, "", "bramble orders: --ledger is only for export: list does not use it\nFor help: bramble help orders\n"},
		{"orders export --ledger /nowhere", 1, "", "bramble orders: /nowhere is not a board's folder of orders: stat /nowhere/log: no such file or directory; use the folder that [orders] directory names\n"},
		{"orders list --state sent", 2, "", "bramble orders: --state: \"sent\" is none of open, invited, won, lost, fulfilling, fulfilled, cancelled, left, expired, erased, returned, unconfirmed\nFor help: bramble help orders\n"},
		{"orders list --kind box", 2, "", "bramble orders: --kind: \"box\" is none of order, entry, interest, waiting\nFor help: bramble help orders\n"},
		{"sale stock berry -50", 2, "", "bramble sale: -50 is read as a flag: write -- before a negative number, as in \"-- -50\"\nFor help: bramble help sale\n"},
		{"sale stock berry many", 2, "", "bramble sale: \"many\" is not a number of units: use one such as 500, or -20 after --\nFor help: bramble help sale\n"},
		{"sale invite berry", 2, "", "bramble sale: invite needs --count, the number of people\nFor help: bramble help sale\n"},
		{"sale times berry --opens noon", 2, "", "bramble sale: --opens: \"noon\" is not a time: use one such as 2012-02-29T06:00:00Z\nFor help: bramble help sale\n"},
		{"sale times berry", 2, "", "bramble sale: times needs --opens or --closes: a time, or none to remove it\nFor help: bramble help sale\n"},
		{"sale open berry --dry-run", 2, "", "bramble sale: --dry-run is only for revise: open does not use it\nFor help: bramble help sale\n"},
		{"sale close berry --closes none", 2, "", "bramble sale: --closes is only for times: close does not use it\nFor help: bramble help sale\n"},
		{"ledger --set now", 2, "", "bramble ledger: --set is only for clock: status does not use it\nFor help: bramble help ledger\n"},
		{"ledger status --confirm", 2, "", "bramble ledger: --confirm is only for clock: status does not use it\nFor help: bramble help ledger\n"},
		{"ledger clock --set=", 2, "", "bramble ledger: --set is empty: give it a value, or omit it\nFor help: bramble help ledger\n"},
		{"ledger clock --set now --follow", 2, "", "bramble ledger: give one of --set, --confirm and --follow\nFor help: bramble help ledger\n"},
		{"ledger found --accept-loss", 2, "", "bramble ledger: --accept-loss is only for recover, choose: found does not use it\nFor help: bramble help ledger\n"},
		{"orders erase ada@buyer.example --product berry", 2, "", "bramble orders: --product is only for list, export: erase does not use it\nFor help: bramble help orders\n"},
		{"orders export --out=", 2, "", "bramble orders: --out is empty: give it a value, or omit it\nFor help: bramble help orders\n"},
		{"sale stock berry 5 --count 3", 2, "", "bramble sale: --count is only for invite: stock does not use it\nFor help: bramble help sale\n"},
		{"draw show berry --dice 1", 2, "", "bramble draw: --dice is only for make: show does not use it\nFor help: bramble help draw\n"},
		{"backup --verify x --out y", 2, "", "bramble backup: --out has no effect with --verify: omit one of them\nFor help: bramble help backup\n"},
		{"backup --status --stale", 2, "", "bramble backup: --stale has no effect with --status: omit one of them\nFor help: bramble help backup\n"},
		{"restore --cancel --accept-clock", 2, "", "bramble restore: --accept-clock has no effect with --cancel: omit one of them\nFor help: bramble help restore\n"},
		{"orders sent", 2, "", "bramble orders: sent needs references, or --from with a file of them\nFor help: bramble help orders\n"},
		{"fulfilment frob", 2, "", "bramble fulfilment: unknown action \"frob\": it must be status or retry\nFor help: bramble help fulfilment\n"},
		{"announce a b", 2, "", "bramble announce: name one text, in quotes\nFor help: bramble help announce\n"},
		{"draw make berry --dice 1 --drand 2", 2, "", "bramble draw: make needs either --dice or --drand\nFor help: bramble help draw\n"},
		{"draw verify " + bad, 1, "", "bramble draw: the file is not a correct draw: reading it: invalid character 'r' looking for beginning of value\n"},
		{"image --relock", 2, "", "bramble image: --relock needs --lock, the file to write\nFor help: bramble help image\n"},
		{"image --config " + bad, 2, "", bad + ":1: [rack] key is missing: run \"bramble key\" and paste its line under [rack]\n" +
			bad + ":2: [rack] kee: unknown key; did you mean \"key\"?\n"},
		{"status --console nonsense", 2, "", "bramble status: --console: \"nonsense\" is not the address of a console; write one such as \"https://board-1.local:8080\"\nFor help: bramble help status\n"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			code, out, err := bramble(t, nil, strings.Fields(tt.args)...)
			if code != tt.code || err != tt.err || !strings.Contains(out, tt.out) || tt.out == "" && out != "" {
				t.Errorf("exit %d\n%s%s\nwant exit %d with %q and\n%s", code, out, err, tt.code, tt.out, tt.err)
			}
		})
	}
}

func TestErrorsFitATerminal(t *testing.T) {
	var e strings.Builder
	printError(world{err: &e, terminal: true}, strings.Repeat("word ", 40)+"\nthe end")
	for _, line := range strings.Split(e.String(), "\n") {
		if len(line) > 80 {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
	if !strings.HasSuffix(e.String(), "word\nthe end\n") {
		t.Errorf("the line breaks are lost:\n%s", e.String())
	}
}

func TestHelpFitsATerminal(t *testing.T) {
	texts := []string{overviewText()}
	for _, c := range allCommands() {
		texts = append(texts, c.helpText())
		if _, err := findCommand(c.name); err != nil {
			t.Error(err)
		}
	}
	for _, text := range texts {
		for _, line := range strings.Split(text, "\n") {
			if len([]rune(line)) > 80 {
				t.Errorf("wider than 80 columns: %s", line)
			}
		}
	}
}

func TestFlagsMayFollowArguments(t *testing.T) {
	for args, want := range map[string]string{
		"a --undo b": "a b, undo", "--undo a": "a, undo", "a -undo": "a, undo", "a -- --undo": "a --undo", "": "",
	} {
		fs := newFlagSet(command{name: "x"})
		undo := fs.Bool("undo", false, "")
		words, err := fs.parseArgs(strings.Fields(args))
		got := strings.Join(words, " ")
		if *undo {
			got += ", undo"
		}
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", args, got, err, want)
		}
	}
}

func TestKeyIsAConfigLine(t *testing.T) {
	_, line, _ := bramble(t, nil, "key")
	file := filepath.Join(t.TempDir(), "bramble.toml")
	if err := os.WriteFile(file, []byte("[rack]\n"+line), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	secret := c.Rack.Key.Reveal()
	if _, out, _ := bramble(t, nil, "config", "--config", file); strings.Contains(out, secret) || !strings.Contains(out, `key = "brk_redacted"`) {
		t.Errorf("without --show-secrets it prints\n%s", out)
	}
	_, out, _ := bramble(t, nil, "config", "--config", file, "--show-secrets")
	if again, err := config.Parse("out.toml", []byte(out)); err != nil || again.Rack.Key != c.Rack.Key {
		t.Errorf("the output of --show-secrets is not a valid file: %v", err)
	}
}

func TestConsoleCommands(t *testing.T) {
	fake := consoletest.NewFake(2)
	c, err := console.New(console.Config{Source: fake, Control: fake, Password: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(c)
	defer s.Close()
	env := map[string]string{passwordVariable: "correct horse"}
	check := func(wantCode int, want string, env map[string]string, args ...string) {
		t.Helper()
		code, out, err := bramble(t, env, append(args, "--console", s.URL)...)
		if code != wantCode || !strings.Contains(out+err, want) {
			t.Errorf("%q: exit %d\n%s%s\nwant exit %d and %q", args, code, out, err, wantCode, want)
		}
	}
	check(0, "Purged by board-1, board-2.\n", env, "purge", "/status")
	check(0, "Purged by board-1, board-2.\n", env, "purge", "--tag", "news")
	check(0, "Purged by board-1, board-2.\n", env, "purge", "--all")
	check(0, "Draining board-2.", env, "drain", "board-2")
	check(0, "board-2 returns to service.", env, "drain", "board-2", "--undo")
	check(1, "bramble drain: unknown board", env, "drain", "board-9")
	check(0, `{"at":"2012-02-29T06:00:01Z"`, env, "status", "--json")
	check(0, "board-1  serving", env, "status")
	check(1, "requires its password", nil, "status")

	// A board's file has both the address and the password.
	file := filepath.Join(t.TempDir(), "bramble.toml")
	text := "[console]\nlisten = \"" + strings.TrimPrefix(s.URL, "http://") + "\"\npassword = \"correct horse\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, err := bramble(t, nil, "status", "--config", file, "--console", s.URL); code != 0 {
		t.Errorf("with the board's file: exit %d\n%s%s", code, out, err)
	}
	// Nobody has typed that address, so it gets no password.
	if code, out, err := bramble(t, env, "status", "--config", file); code != exitFailed || !strings.Contains(err, "add --console "+s.URL) {
		t.Errorf("with the board's file alone: exit %d\n%s%s", code, out, err)
	}
	want := "purge url /status, purge tag news, purge all, drain board-2, undrain board-2"
	if got := strings.Join(fake.Calls(), ", "); !strings.HasPrefix(got, want) {
		t.Errorf("the console was sent: %s\nwant %s", got, want)
	}
}

func TestLocalURL(t *testing.T) {
	for listen, want := range map[string]string{
		":8080": "https://127.0.0.1:8080", "0.0.0.0:1": "https://127.0.0.1:1", "[::]:1": "https://127.0.0.1:1",
		"192.168.1.5:1": "https://192.168.1.5:1", "[::1]:1": "http://[::1]:1", "127.0.0.1:1": "http://127.0.0.1:1", "localhost:1": "http://localhost:1",
	} {
		if got := localURL(listen); got != want {
			t.Errorf("localURL(%s) = %s, want %s", listen, got, want)
		}
	}
}

func TestStatusTable(t *testing.T) {
	s := console.RackView{
		At: time.Date(2012, 2, 29, 6, 0, 0, 0, time.Local), Observer: "board-1",
		Notices: []string{"The clock of board-3 is not set, so what it says of time is not to be trusted until it is."},
		Boards: []console.BoardView{
			{Name: "board-1", State: "serving", RingShare: 0.334, Vitals: console.VitalsView{ResponsesPerSecond: 3.14, HitRatio: 0.987, CPUCores: 0.12,
				MemoryBytes: 23_400_000, Connections: 12, CacheBytes: 1_234_567, UptimeSeconds: 90}},
			{Name: "a-board-with-a-very-long-name", State: "draining", RingShare: 0.2, Faults: []string{"peer lost", "origin down"},
				Vitals: console.VitalsView{ResponsesPerSecond: 123456, HitRatio: 1, CPUCores: 1.5, MemoryBytes: 230_400_000, Connections: 104096,
					CacheBytes: 64_000_000, UptimeSeconds: 864000}},
			{Name: "board-3", State: "dead"},
		},
	}
	want := `BOARD            STATE     RESP/s  CACHED   CPU    RSS  OPEN  CACHE  SHARE   UP
board-1          serving      3.1     99%   12%   23MB    12  1.2MB    33%  90s
a-board-with-a…  draining    123k    100%  150%  230MB  104k   64MB    20%  10d
board-3          dead           -       -     -      -     -      -     0%    -

1 of 3 boards serving, 123k responses/s, as seen by board-1 at 06:00:00
a-board-with-a-very-long-name: peer lost, origin down
The clock of board-3 is not set, so what it says of time is not to be trusted
until it is.
`
	if got := statusTable(s); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, line := range strings.Split(want, "\n") {
		if len([]rune(line)) > 80 {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
}

func TestNodeWithoutParentEnds(t *testing.T) {
	_, line, _ := bramble(t, nil, "key")
	file := filepath.Join(t.TempDir(), "bramble.toml")
	text := "[http]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n[rack]\ngossip_listen = \"127.0.0.1:0\"\nlink_listen = \"127.0.0.1:0\"\nmdns = false\n" + line
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// Standard input has ended already, so the lab counts as gone.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var o, e strings.Builder
	code := runCommand(ctx, []string{"node", "--with-parent", "--config", file}, world{in: strings.NewReader(""), out: &o, err: &e, getenv: func(string) string { return "" }})
	if code != 0 || ctx.Err() != nil {
		t.Errorf("exit %d, %v\n%s", code, ctx.Err(), e.String())
	}
}

// hasWords reports whether out has the words of text, wherever its lines are broken.
func hasWords(out, text string) bool {
	return strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(text), " "))
}

// patience bounds every wait of a test, far above any normal duration.
const patience = 30 * time.Second

// waitUntil checks every 20 ms.
func waitUntil(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
