//go:build unix

package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/cluster/link"
	"bramble/images/cardinit"
	"bramble/node"
	"bramble/node/certs"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/console/client"
	"bramble/node/lab"
)

// rekeyRack is a rack of three processes, as on three machines, and its owner's own file.
type rekeyRack struct {
	*operatorLab
	program, owner string
	old            *config.Config
	boards         [3]*exec.Cmd
	link           string // address of the first one's rack link
}

func (r *rekeyRack) file(i int) string {
	return filepath.Join(r.folder, string(rune('a'+i)), "bramble.toml")
}

func (r *rekeyRack) startBoard(file string) *exec.Cmd {
	r.t.Helper()
	log, err := os.OpenFile(file+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(r.program, "node", "--config", file)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if r.t.Failed() {
			text, _ := os.ReadFile(file + ".log")
			r.t.Logf("%s:\n%s", file, text[max(0, len(text)-4000):])
		}
	})
	return cmd
}

func startRekeyRack(t *testing.T, access string) *rekeyRack {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds the program and runs boards")
	}
	r := &rekeyRack{operatorLab: &operatorLab{t: t, folder: t.TempDir()}}
	r.client = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r.writeShop(500, "10.00", "", "")
	r.program, r.owner = filepath.Join(r.folder, "bramble"), filepath.Join(r.folder, "bramble.toml")
	builtAs(t, r.program, "rekey")
	private, public := cardinit.NewUpdateKey()
	writeTestFile(t, filepath.Join(r.folder, updateKeyFile), private)
	secrets := fmt.Sprintf("# the owner's words\n[update]\nkeys = [%q]\n[rack]\nkey = %q # keep\nmdns = false\nexpected_boards = 3\n", public, config.NewRackKey().Reveal())
	if err := os.WriteFile(r.owner, []byte(secrets+access), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.old, err = config.Load(r.owner); err != nil {
		t.Fatal(err)
	}
	ports := testAddresses(t, 12)
	r.link = ports[3]
	for i := range 3 {
		r.writeBoard(r.file(i), secrets, access, ports[4*i:], ports)
		at := lab.BoardSummary{Name: string(rune('a' + i)), HTTPURL: "http://" + ports[4*i], ConsoleURL: "https://" + ports[4*i+1]}
		r.Boards = append(r.Boards, at)
		r.boards[i] = r.startBoard(r.file(i))
	}
	for i := range 3 {
		waitUntil(t, "a ready board", func() bool { return r.get(r.Boards[i].ConsoleURL+"/readyz", "") == http.StatusOK })
	}
	return r
}

// writeBoard writes the file of a board that listens at four ports, pages first.
func (r *rekeyRack) writeBoard(file, secrets, access string, own, ports []string) {
	r.t.Helper()
	_, consolePort, _ := strings.Cut(own[1], ":")
	text := secrets + fmt.Sprintf("gossip_listen = %q\nlink_listen = %q\njoin = [%q, %q, %q]\n[board]\nname = %q\n[http]\nlisten = %q\n[shop]\ncatalogue = %q\n[cache]\nmemory = \"4MB\"\n",
		own[2], own[3], ports[2], ports[6], ports[10], filepath.Base(filepath.Dir(file)), own[0], filepath.Join(r.folder, "shop.toml")) +
		strings.Replace(access, "[console]\n", fmt.Sprintf("[console]\nlisten = \":%s\"\n", consolePort), 1)
	writeTestFile(r.t, file, []byte(text))
	if err := os.Chmod(file, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// get returns the status of a page, 0 for none.
func (r *rekeyRack) get(url, password string) int { return r.getAs(console.UserName, url, password) }

func (r *rekeyRack) getAs(account, url, password string) int {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if password != "" {
		request.SetBasicAuth(account, password)
	}
	resp, err := r.client.Do(request)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// rekey runs the command as a process, and calls seen with each line that it prints until that
// returns false: then the command is killed.
func (r *rekeyRack) rekey(seen func(line string) bool) (out string, err error) {
	r.t.Helper()
	cmd := exec.Command(r.program, "rekey", "--yes", "--config", r.owner, "--console", r.Boards[1].ConsoleURL)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	var failure strings.Builder
	cmd.Stderr = &failure
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		out += lines.Text() + "\n"
		if !seen(lines.Text()) {
			_ = cmd.Process.Kill()
		}
	}
	err = cmd.Wait()
	return out + failure.String(), err
}

// TestRekeyOfARack rotates the secrets of a rack of three processes while buyers order. The command
// is killed in each round and runs again, and a board dies in one. What is on a stolen card is
// worth nothing afterwards.
func TestRekeyOfARack(t *testing.T) {
	r := startRekeyRack(t, "[console]\n# and these\npassword = 'tell me more'\n[[console.accounts]]\nname = \"till\"\nrole = \"shop\"\npassword = \"till of the shop\"\n")
	first := r.submitForm("Ada", "ada@buyer.example", 1, func(status int, _ string) bool { return status == http.StatusSeeOther })
	stolen, err := os.ReadFile(r.file(0))
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(r.owner)
	if err != nil {
		t.Fatal(err)
	}
	code, out, failure := bramble(t, nil, "rekey", "--dry-run", "--config", r.owner, "--console", r.Boards[0].ConsoleURL)
	if code != 0 || !hasWords(out, "2 passwords of the console") || !hasWords(out, "c, at https://") {
		t.Errorf("a dry run: exit %d\n%s%s", code, out, failure)
	}
	if code, _, failure := bramble(t, nil, "rekey", "--config", r.owner, "--console", r.Boards[0].ConsoleURL); code != exitUsage || !strings.Contains(failure, "nothing was changed") {
		t.Errorf("without an answer: exit %d\n%s", code, failure)
	}
	_, planned := os.Stat(r.owner + ".rekey")
	if after, _ := os.ReadFile(r.owner); string(after) != string(before) || planned == nil {
		t.Error("a dry run, or one without an answer, leaves something")
	}
	if code, _, failure := bramble(t, nil, "rekey", "--yes", "--stolen", "c", "--config", r.owner, "--console", r.Boards[0].ConsoleURL); code == 0 || !strings.Contains(failure, "c runs at https://") {
		t.Errorf("the stolen card is in the rack, and the command goes on: exit %d\n%s", code, failure)
	}

	var references []string
	done, shown := make(chan error, 1), make(chan string, 1)
	go func() {
		all := ""
		for round := 1; round <= rekeyRounds; round++ { // killed in the middle of each
			out, _ := r.rekey(func(line string) bool { return !strings.HasPrefix(line, fmt.Sprintf("Round %d of 3: a", round)) })
			all += out
		}
		out, err := r.rekey(func(string) bool { return true })
		shown <- all + out
		done <- err
	}()
	killed := false
	for n, ended := 0, false; !ended; n++ {
		references = append(references, r.submit(fmt.Sprintf("Buyer%d", n), 1))
		select {
		case err = <-done:
			ended = true
		default:
		}
		if text, _ := os.ReadFile(r.file(2)); !killed && strings.Contains(string(text), "old_keys = [\"") {
			killed = true // in its first round, with its new file
			_ = r.boards[2].Process.Kill()
			_ = r.boards[2].Wait()
			r.boards[2] = r.startBoard(r.file(2))
		}
		time.Sleep(200 * time.Millisecond) // below the limit of one buyer's forms
	}
	log := <-shown
	if err != nil || !killed {
		t.Fatalf("the last run: %v, board killed: %v\n%s", err, killed, log)
	}
	t.Logf("%d orders during the rotation\n%s", len(references), log)

	next, err := config.Load(r.owner)
	if err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(r.owner)
	if next.Rack.Key == r.old.Rack.Key || len(next.Rack.OldKeys) > 0 || next.Console.Password == r.old.Console.Password ||
		!strings.Contains(string(after), "# the owner's words\n") || !strings.Contains(string(after), "\" # keep\n") || !strings.Contains(string(after), "# and these\n") {
		t.Errorf("the owner's file is\n%s", after)
	}
	if !strings.Contains(log, "New password of till "+next.Console.Accounts[0].Password) {
		t.Errorf("the new passwords were not shown:\n%s", log)
	}
	if _, err := os.Stat(r.owner + ".rekey"); err == nil {
		t.Error("the plan is left behind")
	}
	for i := range 3 {
		board, err := config.Load(r.file(i))
		if err != nil || board.Rack.Key != next.Rack.Key || len(board.Rack.OldKeys) > 0 || board.Console.Accounts[0] != next.Console.Accounts[0] {
			t.Errorf("board %d has other secrets: %v", i, err)
		}
		if got, want := r.get(r.Boards[i].ConsoleURL+"/api/v1/rack", r.old.Console.Password), http.StatusUnauthorized; got != want {
			t.Errorf("the old password opens console %d: %d", i, got)
		}
	}
	code, export, failure := bramble(t, nil, "orders", "export", "--config", r.owner, "--console", r.Boards[1].ConsoleURL)
	for _, reference := range references {
		if code != 0 || !strings.Contains(export, reference) {
			t.Fatalf("the order %q is lost: exit %d, %s", reference, code, failure)
		}
	}
	if got := r.get(r.Boards[1].HTTPURL+first, ""); got == http.StatusOK {
		t.Error("a receipt's link from before opens still")
	}
	r.checkThief(string(stolen))
}

// A board that has just started knows itself alone. The command asks it, finds the others by the ledger and by its plan, and waits
// for the one that is off, with nothing changed meanwhile; it ends when no board accepts the thief's key.
func TestRekeyAsksABoardThatHasJustStarted(t *testing.T) {
	r := startRekeyRack(t, "[console]\npassword = 'tell me more'\n")
	loseBoards := func() { // c is off, and b has just started
		for _, i := range []int{1, 2} {
			_ = r.boards[i].Process.Kill()
			_ = r.boards[i].Wait()
		}
		r.boards[1] = r.startBoard(r.file(1))
		waitUntil(t, "the console of b", func() bool { return r.get(r.Boards[1].ConsoleURL+"/healthz", "") == http.StatusOK })
	}
	for _, from := range []string{"", "Round 2 of 3: b"} {
		if from != "" {
			out, err := r.rekey(func(line string) bool { return !strings.HasPrefix(line, from) })
			if err == nil || !strings.Contains(out, from) {
				t.Fatalf("the command was not killed at %q: %v\n%s", from, err, out)
			}
		}
		loseBoards()
		before, err := os.ReadFile(r.owner)
		if err != nil {
			t.Fatal(err)
		}
		keyOf := func(i int) config.RackKey {
			c, err := config.Load(r.file(i))
			if err != nil {
				t.Fatal(err)
			}
			return c.Rack.Key
		}
		hasWaited, keys := false, []config.RackKey{keyOf(0), keyOf(1), keyOf(2)}
		out, err := r.rekey(func(line string) bool {
			if strings.HasPrefix(line, "Waiting for boards") {
				hasWaited = true
				if now, _ := os.ReadFile(r.owner); string(now) != string(before) || keyOf(0) != keys[0] || keyOf(1) != keys[1] {
					t.Errorf("after %q: something changed while a board was missing", from)
				}
				r.boards[2] = r.startBoard(r.file(2))
			}
			return true
		})
		if err != nil || !hasWaited {
			t.Fatalf("after %q: %v, waited: %v\n%s", from, err, hasWaited, out)
		}
		next, err := config.Load(r.owner)
		if err != nil || next.Rack.Key == r.old.Rack.Key {
			t.Fatalf("after %q: the owner's file has the old key: %v", from, err)
		}
		for i := range 3 {
			if c, err := config.Load(r.file(i)); err != nil || c.Rack.Key != next.Rack.Key || len(c.Rack.OldKeys) > 0 {
				t.Errorf("after %q: board %d accepts another key than the new one: %v", from, i, err)
			}
		}
		r.old = next
	}
}

// No run begins, drops the old key or ends while a board that anybody knows is not as far, unless the owner says that it is off.
func TestCensus(t *testing.T) {
	silent := errors.New("no answer at https://c")
	at := func(round int) *knownBoard { return &knownBoard{Console: "https://x", round: round, runs: true} }
	for name, test := range map[string]struct {
		boards          map[string]*knownBoard
		off             []string
		expected, round int
		want            string // "": none
		mayPass         bool
	}{
		"all are there":                   {map[string]*knownBoard{"a": at(0), "b": at(0)}, nil, 2, 0, "", false},
		"more than planned":               {map[string]*knownBoard{"a": at(0), "b": at(0)}, nil, 1, 0, "", false},
		"it has just started":             {map[string]*knownBoard{"a": at(0)}, nil, 3, 0, "has 3 boards, and only a are found", true},
		"the ledger's voter is silent":    {map[string]*knownBoard{"a": at(0), "c": {why: silent}}, nil, 1, 0, "c (no answer at https://c). Start them", true},
		"the owner says that it is off":   {map[string]*knownBoard{"a": at(0), "c": {why: silent}}, []string{"c"}, 2, 0, "", false},
		"off, and forgotten by the rack":  {map[string]*knownBoard{"a": at(0), "b": at(0)}, []string{"c"}, 3, 0, "", false},
		"off, and unknown":                {map[string]*knownBoard{"a": at(0), "b": at(0)}, []string{"x"}, 2, 0, "the rack has no board \"x\"; it has a, b", false},
		"off, and another is missing":     {map[string]*knownBoard{"a": at(0), "b": {why: silent}, "c": {why: silent}}, []string{"c"}, 3, 0, "take part: b (no", true},
		"off, and others have it alive":   {map[string]*knownBoard{"a": at(0), "c": {why: silent, runs: true}}, []string{"c"}, 2, 0, "c runs at", true},
		"off, and it answers":             {map[string]*knownBoard{"a": at(0), "c": {}}, []string{"c"}, 2, 0, "c runs at", false},
		"two have one name":               {map[string]*knownBoard{"a": {isTaken: true}}, nil, 1, 0, "a runs at", false},
		"a wrong password":                {map[string]*knownBoard{"a": {why: client.ErrRefused}}, nil, 1, 0, client.ErrRefused.Error(), false},
		"one is not in round 2":           {map[string]*knownBoard{"a": at(2), "b": at(1)}, nil, 2, 2, "b (it came while the secrets changed", true},
		"all are through round 2":         {map[string]*knownBoard{"a": at(3), "b": at(2)}, nil, 2, 2, "", false},
		"one accepts the old key":         {map[string]*knownBoard{"a": at(3), "b": at(2)}, nil, 2, 3, "b (it came", true},
		"one died in the last round":      {map[string]*knownBoard{"a": at(3), "b": {round: 3, why: silent}}, nil, 2, 3, "b (no answer", true},
		"done":                            {map[string]*knownBoard{"a": at(3), "b": at(3)}, nil, 2, 3, "", false},
		"done, and the stolen one is off": {map[string]*knownBoard{"a": at(3), "b": {why: silent}}, []string{"b"}, 2, 3, "", false},
	} {
		mayPass, err := checkCensus(test.boards, test.off, test.expected, test.round)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) || mayPass != test.mayPass {
			t.Errorf("%s: %v, %v; want %q", name, mayPass, err, test.want)
		}
	}
}

// Whatever form a password has in the file, the old one opens no board afterwards, and the printed one opens each.
func TestRekeyReplacesEveryForm(t *testing.T) {
	generated, token := console.NewPassword(), console.NewToken()
	was := map[string]string{console.UserName: "tell me more", "packing": "shoppassword1", "till": "till of the shop", "boss": generated, "graphs": token}
	access := "[console]\npassword = \"" + console.HashPassword(was[console.UserName]) + "\"\n"
	for name, stored := range map[string]string{"packing": console.HashPassword(was["packing"]), "till": was["till"], "boss": console.HashPassword(generated), "graphs": console.HashToken(token)} {
		access += fmt.Sprintf("[[console.accounts]]\nname = %q\nrole = \"look\"\npassword = %q\n", name, stored)
	}
	r := startRekeyRack(t, access)
	t.Setenv(passwordVariable, was[console.UserName])
	out, err := r.rekey(func(string) bool { return true })
	if err != nil || !hasWords(out, "5 passwords of the console") {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, old := range was {
		_, rest, _ := strings.Cut(out, "New password of "+name+" ")
		fresh, _, _ := strings.Cut(rest, "\n")
		for i, b := range r.Boards {
			if got := r.getAs(name, b.ConsoleURL+"/api/v1/rack", fresh); got != http.StatusOK {
				t.Errorf("%s at board %d: the new password gets %d", name, i, got)
			}
		}
		if got := r.getAs(name, r.Boards[0].ConsoleURL+"/api/v1/rack", old); got != http.StatusUnauthorized { // five wrong ones are allowed
			t.Errorf("%s: the old password gets %d", name, got)
		}
	}
}

// checkThief starts a board from the stolen card, and knocks with its key.
func (r *rekeyRack) checkThief(stolen string) {
	ports := testAddresses(r.t, 4)
	card := filepath.Join(r.folder, "thief", "bramble.toml")
	for i, was := range r.ownPorts(stolen) {
		key, _, _ := strings.Cut(was, "\"")
		stolen = strings.Replace(stolen, was, key+"\""+ports[i], 1)
	}
	stolen = strings.Replace(stolen, "name = \"a\"", "name = \"thief\"", 1)
	writeTestFile(r.t, card, []byte(stolen))
	if err := os.Chmod(card, 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.startBoard(card)
	waitUntil(r.t, "the thief to look for the rack", func() bool {
		text, _ := os.ReadFile(card + ".log")
		return strings.Contains(string(text), "closes without a reply: it has another rack key")
	})
	code, out, failure := bramble(r.t, nil, "status", "--config", r.owner, "--console", r.Boards[1].ConsoleURL)
	if code != 0 || strings.Contains(out, "thief") || !strings.Contains(out, "serving") {
		r.t.Errorf("the rack is now: exit %d\n%s%s", code, out, failure)
	}
	knocker, err := link.New(link.Config{Name: "thief", Keys: [][]byte{r.old.Rack.Key.Bytes()}, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.t.Fatal(err)
	}
	defer knocker.Close()
	knocker.SetPeers([]link.Peer{{Name: "a", Addr: r.link}})
	request, _ := http.NewRequest(http.MethodGet, "https://board"+link.PingPath, nil)
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	if resp, err := knocker.Do(ctx, "a", request); err == nil {
		resp.Body.Close()
		r.t.Error("the old key opens the rack link")
	}
}

// ownPorts returns the four addresses of a board's file that are its own: pages, console, gossip, link.
func (r *rekeyRack) ownPorts(text string) (all []string) {
	c, err := config.Parse("stolen", []byte(text))
	if err != nil {
		r.t.Fatal(err)
	}
	return []string{"listen = \"" + c.HTTP.Listen, "listen = \"" + c.Console.Listen, "gossip_listen = \"" + c.Rack.GossipListen, "link_listen = \"" + c.Rack.LinkListen}
}

// Only the owner of an update key changes a board's secrets, and each statement works once, at one board.
func TestSecretsNeedTheUpdateKey(t *testing.T) {
	private, public := cardinit.NewUpdateKey()
	key, _, err := cardinit.ReadUpdateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	foreign, _ := cardinit.NewUpdateKey()
	foreignKey, foreignPublic, err := cardinit.ReadUpdateKey(foreign)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bramble.toml")
	text := fmt.Sprintf("[board]\nname = \"a\"\n[rack]\nkey = %q\n[update]\nkeys = [%q]\n", config.NewRackKey().Reveal(), public)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	restarts := make(chan os.Signal, 1)
	handler := newSecretsHandler(cfg, file, nil, restarts)
	fresh := config.Secrets{Keys: []string{config.NewRackKey().Reveal()}}
	good := secretsStatement{secretsFormat, public, "a", handler.challenge, fresh}
	post := func(signed string) int {
		w := httptest.NewRecorder()
		body := strings.NewReader(fmt.Sprintf("%q", signed))
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, console.SecretsPath, body))
		return w.Code
	}
	signed, err := cardinit.SignJSON(key, good)
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{"nothing": "", "changed": strings.Replace(signed, fresh.Keys[0], config.NewRackKey().Reveal(), 1)}
	for name, change := range map[string]func(*secretsStatement){
		"another board's":  func(s *secretsStatement) { s.Board = "b" },
		"an earlier start": func(s *secretsStatement) { s.Challenge = "OLD" },
		"no challenge":     func(s *secretsStatement) { s.Challenge = "" },
		"another purpose":  func(s *secretsStatement) { s.Format = "bramble card update 1, linux/arm" },
		"a bad key":        func(s *secretsStatement) { s.Keys = []string{"brk_x"} },
		"signed by others": func(s *secretsStatement) { s.Board = "a" },
	} {
		s, by := good, key
		if change(&s); name == "signed by others" {
			by = foreignKey
		}
		if refused[name], err = cardinit.SignJSON(by, s); err != nil {
			t.Fatal(err)
		}
	}
	foreignStatement := good
	foreignStatement.Key = foreignPublic
	if refused["an unknown key"], err = cardinit.SignJSON(foreignKey, foreignStatement); err != nil {
		t.Fatal(err)
	}
	for name, statement := range refused {
		if code := post(statement); code != http.StatusForbidden {
			t.Errorf("%s: status %d", name, code)
		}
	}
	if now, _ := os.ReadFile(file); string(now) != text || len(restarts) > 0 {
		t.Errorf("a refused statement changed something:\n%s", now)
	}
	if code := post(signed); code != http.StatusOK || len(restarts) != 1 {
		t.Errorf("the owner gets status %d", code)
	}
	if now, err := config.Load(file); err != nil || now.Rack.Key.Reveal() != fresh.Keys[0] {
		t.Errorf("the file has another key: %v", err)
	}
	if code := post(signed); code != http.StatusForbidden {
		t.Errorf("a replay gets status %d", code)
	}
	again := newSecretsHandler(cfg, file, nil, restarts)
	if handler = again; post(signed) != http.StatusForbidden {
		t.Error("a replay works after a restart")
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, console.SecretsPath, nil))
	body, _ := io.ReadAll(w.Body)
	if !strings.Contains(string(body), node.RackTags(cfg.Rack)[0]) || strings.Contains(string(body), "brk_") {
		t.Errorf("a stranger sees %s", body)
	}
}

// Every account gets a new password that only the owner sees, whatever its form in the file; a hash stays a hash. A run
// that goes on has the same ones.
func TestRekeyMakesPasswords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bramble.toml")
	text := "[rack]\nkey = \"" + configKey() + "\"\n[console]\npassword = \"" + console.HashPassword("tell me more") + "\"\n"
	for name, password := range map[string]string{"till": "of the till", "packing": console.HashPassword("shoppassword1"), "boss": console.HashPassword(console.NewPassword()), "graphs": console.HashToken(console.NewToken())} {
		text += fmt.Sprintf("[[console.accounts]]\nname = %q\nrole = \"look\"\npassword = %q\n", name, password)
	}
	writeTestFile(t, file, []byte(text))
	r := rekeying{file: file, plan: file + planSuffix}
	if err := r.load(); err != nil {
		t.Fatal(err)
	}
	was, shown := passwordsOf(r.old), passwordsOf(r.next)
	for name, sent := range r.secretsFor(rekeyRounds).Passwords {
		want := shown[name]
		if console.IsHash(was[name]) {
			want = console.HashPassword(want)
		}
		if sent != want || sent == was[name] || !console.IsGenerated(shown[name]) {
			t.Errorf("%s: %q becomes %q, and the owner sees %q", name, was[name], sent, shown[name])
		}
	}
	if len(shown) != 5 || r.isResumed {
		t.Errorf("the owner sees %q", shown)
	}
	writeTestFile(t, r.plan, r.text)
	writeTestFile(t, file, []byte(text+"[[console.accounts]]\nname = \"new\"\nrole = \"look\"\npassword = \"of somebody new\"\n"))
	again := rekeying{file: file, plan: r.plan}
	if _, _, failure := bramble(t, nil, "status", "--config", file, "--console", "https://127.0.0.1:1"); !hasWords(failure, "a change of the rack's secrets has not ended") || !hasWords(failure, r.plan) {
		t.Errorf("status says %s", failure)
	}
	if err := again.load(); err != nil || !again.isResumed || again.next.Rack.Key != r.next.Rack.Key {
		t.Errorf("the second run has other secrets: %v", err)
	}
	for line, isRefused := range map[string]bool{"null": false, "{}": false, `{"c":null}`: false, `{"c":{"Console":"https://c"}}`: false, `{"c":1}`: true, "": true} {
		writeTestFile(t, r.plan, append(slices.Clone(r.text), planBoards+line+"\n"...))
		again := rekeying{file: file, plan: r.plan, known: map[string]*knownBoard{}}
		if err := again.load(); (err != nil) != isRefused || strings.Contains(line, "https:") && again.known["c"].Console != "https://c" {
			t.Errorf("the plan has %q: %v", line, err)
		}
	}
	for name, password := range passwordsOf(again.next) {
		if name != "new" && password != shown[name] || !console.IsGenerated(password) {
			t.Errorf("the second run's password of %s is %q", name, password)
		}
	}
}

// A board that is asked names its accounts and secrets to who has the update key, and changes nothing; what the owner's file
// has not is refused or named. A folder that the board cannot write to is told before anything is changed.
func TestBoardsNameTheirSecrets(t *testing.T) {
	private, public := cardinit.NewUpdateKey()
	key, _, err := cardinit.ReadUpdateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "own", "bramble.toml")
	text := fmt.Sprintf("[board]\nname = \"c\"\n[rack]\nkey = %q\n[update]\nkeys = [%q]\n[console]\npassword = \"tell me more\"\n[[console.accounts]]\nname = \"ghost\"\nrole = \"steer\"\npassword = \"ghostpassword1\"\n"+
		"[mail]\nserver = \"mail.example:587\"\nfrom = \"a@b.example\"\nuser = \"u\"\npassword = \"x\"\n", configKey(), public)
	writeTestFile(t, file, []byte(text))
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	handler := newSecretsHandler(cfg, file, nil, make(chan os.Signal, 1))
	s := httptest.NewServer(handler)
	defer s.Close()
	c, err := client.New(s.URL, client.Access{})
	if err != nil {
		t.Fatal(err)
	}
	challenge := handler.challenge
	r := rekeying{old: config.Default(), next: config.Default(), key: key, public: public, known: map[string]*knownBoard{"c": {client: c}}}
	r.next.Rack.Key, r.old.Console.Password = config.NewRackKey(), "tell me more"
	if err := r.advance(t.Context(), "c", 0); err != nil {
		t.Fatal(err)
	}
	if strings.Join(r.foreign, ", ") != "ghost on c" || strings.Join(r.yours, ", ") != "[mail] password (change it at the mail server) on c" {
		t.Errorf("the board has accounts %q and secrets %q besides", r.foreign, r.yours)
	}
	if now, _ := os.ReadFile(file); string(now) != text || handler.challenge != challenge {
		t.Error("a question changes something")
	}
	if os.Getuid() == 0 {
		t.Skip("no folder is closed to this user")
	}
	if err := os.Chmod(filepath.Dir(file), 0o500); err != nil {
		t.Fatal(err)
	}
	if err := r.advance(t.Context(), "c", 0); err == nil || !strings.Contains(err.Error(), "must be able to write to their folder") {
		t.Errorf("a folder that it cannot write to: %v", err)
	}
}

// What carries secrets goes to no program of this machine that proves nothing.
func TestSecretsNeedProof(t *testing.T) {
	asked := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked = true }))
	defer s.Close()
	dir := t.TempDir()
	private, public := cardinit.NewUpdateKey()
	writeTestFile(t, filepath.Join(dir, updateKeyFile), private)
	file := filepath.Join(dir, "bramble.toml")
	writeTestFile(t, file, []byte(fmt.Sprintf("[rack]\nkey = %q\n[update]\nkeys = [%q]\n[console]\npassword = \"tell me more\"\n", configKey(), public)))
	for _, args := range [][]string{{"rekey", "--yes"}, {"restore", "none.age"}} {
		code, out, failure := bramble(t, nil, append(args, "--config", file, "--console", s.URL)...)
		if code == exitOK || asked || !hasWords(failure, "is plain http, where nothing proves who answers") {
			t.Errorf("%v: exit %d, asked %v\n%s%s", args, code, asked, out, failure)
		}
	}
	writeTestFile(t, file, []byte(fmt.Sprintf("[rack]\nkey = %q\n[update]\nkeys = [%q]\n", configKey(), public)))
	if code, _, failure := bramble(t, nil, "rekey", "--config", file, "--console", "https://127.0.0.1:1"); code == exitOK || !hasWords(failure, "has no console password") || !hasWords(failure, "--out") {
		t.Errorf("without a password: exit %d\n%s", code, failure)
	}
}

// Without the private key nothing is asked of any board, and the error says what to do.
func TestRekeyWithoutTheUpdateKey(t *testing.T) {
	dir := t.TempDir()
	file, keyFile := filepath.Join(dir, "bramble.toml"), filepath.Join(dir, updateKeyFile)
	if err := os.WriteFile(file, []byte("[rack]\nkey = \""+config.NewRackKey().Reveal()+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	private, _ := cardinit.NewUpdateKey()
	for name, content := range map[string][]byte{"none": nil, "no key": []byte("x"), "another's": private} {
		if content != nil {
			if err := os.WriteFile(keyFile, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		code, out, err := bramble(t, nil, "rekey", "--yes", "--config", file, "--console", "https://127.0.0.1:1")
		if code != exitFailed || out != "" || !strings.Contains(err, keyFile) || !strings.Contains(err, "change them by hand (images/README.md)") {
			t.Errorf("%s: exit %d %s%s", name, code, out, err)
		}
	}
}

// A card has the settings twice: the file that people edit, and what its init has made of it.
func TestSecretsOfACardAreWrittenToBothFiles(t *testing.T) {
	private, public := cardinit.NewUpdateKey()
	key, _, err := cardinit.ReadUpdateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	paths := cardinit.Paths{Boot: filepath.Join(dir, "boot"), Proc: filepath.Join(dir, "proc")}
	writeTestFile(t, filepath.Join(paths.Proc, "cmdline"), []byte("bramble.slot=a\n"))
	text := fmt.Sprintf("# of people\n[rack]\nkey = %q\n[update]\nkeys = [%q]\n[console]\npassword = \"tell me more\"\n[cards.1a2b.board]\nname = \"a\"\n", config.NewRackKey().Reveal(), public)
	writeTestFile(t, paths.SettingsFile(), []byte(text))
	doc, err := config.LoadCard(paths.SettingsFile(), "00001a2b", dir)
	if err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(dir, "run.toml")
	writeTestFile(t, made, doc.Config.TOML(config.PrintOptions{Secrets: true}))
	slots, err := cardinit.OpenSlots(cardMachine{}, paths, nil)
	if err != nil {
		t.Fatal(err)
	}
	handler := newSecretsHandler(doc.Config, made, ownCard{paths, slots}, make(chan os.Signal, 1))
	fresh := config.Secrets{Keys: []string{config.NewRackKey().Reveal(), doc.Config.Rack.Key.Reveal()}, Passwords: map[string]string{"": "the new password"}}
	signed, err := cardinit.SignJSON(key, secretsStatement{secretsFormat, public, "a", handler.challenge, fresh})
	if err == nil {
		_, err = handler.applySigned(signed)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{paths.SettingsFile(), made} {
		c, err := config.Load(file)
		if err != nil || c.Rack.Key.Reveal() != fresh.Keys[0] || len(c.Rack.OldKeys) != 1 || c.Console.Password != "the new password" {
			t.Errorf("%s: %v", file, err)
		}
	}
	if now, _ := os.ReadFile(paths.SettingsFile()); !strings.HasPrefix(string(now), "# of people\n") || !strings.HasSuffix(string(now), "name = \"a\"\n") {
		t.Errorf("the card has\n%s", now)
	}
}

// Without an update key the command writes a file with new secrets for the way by hand: nothing that the thief has opens
// anything, every other setting stays, and what the owner must do is named.
func TestRekeyByHand(t *testing.T) {
	dir := t.TempDir()
	file, out := filepath.Join(dir, "bramble.toml"), filepath.Join(dir, "new", "bramble.toml")
	old := config.NewRackKey()
	text := fmt.Sprintf("# mine\n[rack]\nkey = %q\nmdns = false\n[console]\npassword = \"tell me more\"\n[[console.accounts]]\nname = \"till\"\nrole = \"steer\"\npassword = \"till of the shop\"\n"+
		"[mail]\nserver = \"mail.example:587\"\nfrom = \"a@b.example\"\nuser = \"u\"\npassword = \"of the mail\"\n[cards.1a2b.console]\npassword = \"of one card\"\n", old.Reveal())
	writeTestFile(t, file, []byte(text))
	code, shown, failure := bramble(t, nil, "rekey", "--config", file, "--out", out, "--stolen", "b")
	if code != exitOK {
		t.Fatalf("exit %d: %s%s", code, shown, failure)
	}
	was, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	next, err := config.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	if next.Rack.Key == old || len(next.Rack.OldKeys) > 0 || next.Console.Password == was.Console.Password || next.Console.Accounts[0].Password == was.Console.Accounts[0].Password {
		t.Errorf("a secret is the old one: %+v", next.Console)
	}
	ca, err := certs.NewConsoleCA(old.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{next.Console.Password, next.Console.Accounts[0].Password, "[mail] password (change it at the mail server)", "[cards.1a2b.console] password", ca.Name(), "bramble orders relink --revoke --yes", "b cannot vote"} {
		if !hasWords(shown, want) {
			t.Errorf("the output does not name %q:\n%s", want, shown)
		}
	}
	if again, _, failure := bramble(t, nil, "rekey", "--config", file, "--out", out); again == exitOK {
		t.Errorf("a second time: %s", failure)
	}
	written, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if next, err = config.Parse(file, written); err != nil {
		t.Fatal(err)
	}
	if was, err = config.Parse(file, []byte(text)); err != nil {
		t.Fatal(err)
	}
	next.Rack, next.Console = was.Rack, was.Console
	if all := (config.PrintOptions{Secrets: true}); string(next.TOML(all)) != string(was.TOML(all)) {
		t.Error("another setting changed")
	}
}

// The command names the ballots whose winners the thief can compute: those without public randomness that are not drawn.
func TestRekeyNamesBallots(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `[{"product":"berry","mode":"shop"},{"product":"risky","draw":{"state":"not_due","promised":{"kind":""}}},`+
			`{"product":"dice","draw":{"state":"not_due","promised":{"kind":"dice"}}},{"product":"done","draw":{"state":"drawn","promised":{"kind":""}}}]`)
	}))
	defer s.Close()
	c, err := client.New(s.URL, client.Access{})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	r := rekeying{w: world{out: &out}, old: config.Default(), next: config.Default()}
	if err := r.findBallots(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if r.explain(); len(r.ballots) != 1 || !hasWords(out.String(), "winners of the ballot risky") || !hasWords(out.String(), "bramble sale close risky") {
		t.Errorf("named: %q\n%s", r.ballots, out.String())
	}
}

// A misspelt --stolen is refused; one that the rack has forgotten, and the ledger not, is known.
func TestStolenIsABoard(t *testing.T) {
	members := `[{"board":"b"},{"board":"c"}]`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case console.SecretsPath:
			io.WriteString(w, `{"board":"a"}`)
		case "/api/v1/rack":
			io.WriteString(w, `{"boards":[{"name":"a","state":"serving","console_url":"https://a"},{"name":"b","state":"dead","console_url":"https://b"}]}`)
		default:
			if members == "" {
				w.WriteHeader(http.StatusNotFound)
			}
			io.WriteString(w, cmp.Or(members, `{"error":"no shop here"}`))
		}
	}))
	defer s.Close()
	ask := func() map[string]*knownBoard {
		r := rekeying{old: config.Default(), next: config.Default(), base: s.URL, first: "a", known: map[string]*knownBoard{}}
		r.note("a").why = r.askBoard(t.Context(), "a")
		if a := r.known["a"]; a.why != nil || a.Console != "https://a" || !a.runs || r.known["b"].runs || r.known["b"].Console != "https://b" {
			t.Fatalf("the board says %+v, %+v", a, r.known["b"])
		}
		return r.known
	}
	for stolen, want := range map[string]string{"b": "take part: c (not asked yet)", "c": "take part: b (not", "a": "a runs at https://a", "board-9": "take part: b (not asked yet), c (not"} {
		if _, err := checkCensus(ask(), []string{stolen}, 2, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--stolen %s: %v", stolen, err)
		}
	}
	if _, err := checkCensus(ask(), []string{"b", "c", "board-9"}, 3, 0); err == nil || !strings.Contains(err.Error(), `the rack has no board "board-9"; it has a, b, c`) {
		t.Errorf("a misspelt --stolen: %v", err)
	}
	members = "" // in front of another shop there is no ledger
	if _, err := checkCensus(ask(), []string{"c"}, 2, 0); err == nil || !strings.Contains(err.Error(), "take part: b (") {
		t.Errorf("without a ledger: %v", err)
	}
}

// A private key or a passphrase that everybody can read protects nothing, and no command uses it.
func TestReadableOwnersKeys(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.key")
	writeTestFile(t, file, []byte("long enough a passphrase\n"))
	for mode, want := range map[os.FileMode]string{0o644: "others know", 0o640: "WARNING: its group can read", 0o600: ""} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"restore", "none.age", "--passphrase-file", file}, {"restore", "none.age", "--identity", file}, {"rekey", "--update-key", file},
			{"image", "--update-key", file, "--binary", "none"},
		} {
			config := filepath.Join(dir, "bramble.toml")
			if args[0] != "restore" {
				writeTestFile(t, config, []byte("[rack]\nkey = \""+configKey()+"\"\n"))
				args = append(args, "--config", config)
			}
			code, _, failure := bramble(t, nil, args...)
			if code == exitOK || (want == "") == (hasWords(failure, "run chmod go= "+file)) || !hasWords(failure, want) {
				t.Errorf("%v, mode %o: %s", args, mode, failure)
			}
		}
	}
}

func configKey() string { return config.NewRackKey().Reveal() }
