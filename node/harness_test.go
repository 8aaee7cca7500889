//go:build unix

package node_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bramble/node"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/sockets/socketstest"
)

// The tests of this package run boards as separate processes: this test binary,
// started as a board by an environment variable. A board runs node.Run, as in the real
// program.
const boardEnv = "BRAMBLE_TEST_BOARD"

// slowCardEnv makes every sync of a board's ledger take that much longer.
const slowCardEnv = "BRAMBLE_TEST_SLOW_CARD"

// patience bounds every wait of a test. It is long because machines are busy; a test
// that passes waits for much less.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if path := os.Getenv(boardEnv); path != "" {
		os.Exit(runBoard(path))
	}
	os.Exit(m.Run())
}

func runBoard(path string) int {
	cfg, err := config.Load(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.Log.SlogLevel()}))
	slow, _ := time.ParseDuration(os.Getenv(slowCardEnv)) // none for most tests
	err = node.Run(ctx, cfg, node.Options{Logger: logger, Version: "test", ConfigFile: path, SlowCard: slow, Shared: true})
	if self, _ := os.Executable(); errors.Is(err, node.ErrReopen) {
		err = syscall.Exec(self, os.Args, os.Environ())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// racksAtOnce bounds the tests that run side by side: most of them wait, but a rack that
// starts needs a processor.
var racksAtOnce = make(chan struct{}, 2)

// runBeside lets a test run beside one other. Tests that measure run alone.
func runBeside(t *testing.T) {
	t.Parallel()
	racksAtOnce <- struct{}{}
	t.Cleanup(func() { <-racksAtOnce })
}

// noFormLimits: all buyers of most tests have one address.
const noFormLimits = "client_form_rate = 0\nnetwork_form_rate = 0"

// rack is a number of boards on loopback.
type rack struct {
	t      testing.TB
	dir    string
	key    config.RackKey
	ports  int // first of the ports, four a board
	size   int
	extra  string // tables for every board's file
	http   string // more keys of [http]
	boards []*process
}

// consolePassword is the password of the consoles of a rack on a LAN.
const consolePassword = "tell me more"

// process is one board.
type process struct {
	rack    *rack
	name    string
	http    string // base URL of its pages
	console string
	file    string
	log     string
	cmd     *exec.Cmd
	exited  chan struct{}

	before  []string      // a command that runs the board once it has read a line
	network func(pid int) // sets up the network of the board's process before that line
}

// newRack prepares boards; start runs them. extra is TOML for each. Short runs skip
// the test: a rack takes seconds to start.
func newRack(t testing.TB, size int, extra string) *rack {
	t.Helper()
	if testing.Short() {
		t.Skip("a rack of processes takes seconds to start")
	}
	return prepareRack(t, size, extra)
}

// prepareRack is newRack for a test that is part of short runs.
func prepareRack(t testing.TB, size int, extra string) *rack {
	t.Helper()
	r := &rack{t: t, dir: t.TempDir(), key: config.NewRackKey(), size: size, extra: extra, http: noFormLimits, ports: socketstest.FreePorts(t, 4*size)}
	for i := range size {
		r.boards = append(r.boards, r.board(i, r.key))
	}
	return r
}

// startRack makes and runs a rack; see startAll.
func startRack(t testing.TB, size int, extra string) *rack {
	t.Helper()
	r := newRack(t, size, extra)
	r.startAll()
	return r
}

// startAll runs every board and returns when each is in service and knows all others.
func (r *rack) startAll() {
	r.t.Helper()
	for _, b := range r.boards {
		b.start()
	}
	for _, b := range r.boards {
		b.waitReady()
		b.waitFor("all boards in service", func(s console.RackView) bool {
			serving := 0
			for _, other := range s.Boards {
				if other.State == "serving" && other.RingShare > 0 {
					serving++
				}
			}
			return serving == r.size
		})
	}
}

func (r *rack) addr(board, kind int) string {
	return fmt.Sprintf("127.0.0.1:%d", r.ports+kind*r.size+board)
}

// board writes a board's file. Each board joins by the gossip addresses of all.
func (r *rack) board(i int, key config.RackKey) *process {
	name := fmt.Sprintf("board-%d", i+1)
	var join []string
	for other := range r.size {
		join = append(join, fmt.Sprintf("%q", r.addr(other, 2)))
	}
	p := &process{
		rack: r, name: name, http: "http://" + r.addr(i, 0), console: "http://" + r.addr(i, 1),
		file: filepath.Join(r.dir, name+".toml"), log: filepath.Join(r.dir, name+".log"),
	}
	text := fmt.Sprintf(`[board]
name = %q
[http]
listen = %q
%s
[console]
listen = %q
[orders]
directory = %q
public_url = "https://shop.example"
[rack]
key = %q
gossip_listen = %q
link_listen = %q
mdns = false
expected_boards = %d
join = [%s]
%s`, name, r.addr(i, 0), r.http, r.addr(i, 1), p.orders(), key.Reveal(), r.addr(i, 2), r.addr(i, 3), r.size, strings.Join(join, ", "), r.extra)
	if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// orders is the board's folder of orders.
func (p *process) orders() string { return filepath.Join(p.rack.dir, p.name+"-orders") }

// start runs the board until the test ends.
func (p *process) start() {
	t := p.rack.t
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	command := append(slices.Clone(p.before), self)
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Env = append(os.Environ(), boardEnv+"="+p.file)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	p.exited = exited
	cmd := p.cmd
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		if t.Failed() {
			p.dump(cmd, exited)
		}
		if cmd.Process.Kill() == nil {
			<-exited
		}
		stdin.Close()
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("log of %s:\n%s", p.name, text[max(0, len(text)-maxLog):])
		}
	})
	if p.network != nil {
		p.network(cmd.Process.Pid)
		if _, err := io.WriteString(stdin, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// maxLog bounds how much of a board's log a failed test shows, in bytes.
const maxLog = 64 << 10

// dump makes a board write the stacks of its goroutines to its log, to explain a test
// that waited in vain.
func (p *process) dump(cmd *exec.Cmd, exited <-chan struct{}) {
	if cmd.Process.Signal(syscall.SIGQUIT) != nil {
		return
	}
	select {
	case <-exited:
	case <-time.After(2 * time.Second):
	}
}

func (p *process) signal(s syscall.Signal) {
	p.rack.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.rack.t.Fatalf("%s: signal %v: %v", p.name, s, err)
	}
	if s == syscall.SIGSTOP {
		eventually(p.rack.t, p.name+" to stop", func() (bool, string) { return p.stopped() })
	}
}

// stopped reports whether no thread of the board runs any more: after the signal a
// thread may take until it is scheduled to stop. A system without /proc counts as
// stopped.
func (p *process) stopped() (all bool, state string) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	if err != nil {
		return false, err.Error()
	}
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if err != nil { // it has just ended
			continue
		}
		// proc_pid_stat(5): the state comes behind the name, which is in brackets.
		_, state, _ := strings.Cut(string(text), ") ")
		if !strings.HasPrefix(state, "T") {
			return false, string(text)
		}
	}
	return true, ""
}

// kill kills the board, as pulling its plug does.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// stop makes the board leave, and waits until it has.
func (p *process) stop() {
	p.rack.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.rack.t.Fatalf("%s does not stop", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.rack.t.Errorf("%s stopped with exit code %d", p.name, code)
	}
}

// client has a timeout and no keep-alive, so that no test uses another's connection.
func client() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, MaxIdleConns: -1,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // tests of certificates have clients of their own
	}}
}

// page is a reply, read whole.
type page struct {
	status int
	header http.Header
	body   string
}

func fetch(c *http.Client, url string) (page, error) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return page{}, err
	}
	return send(c, r)
}

func send(c *http.Client, r *http.Request) (page, error) {
	resp, err := c.Do(r)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return page{resp.StatusCode, resp.Header, string(body)}, err
}

// callConsole sends a request to the board's console.
func (p *process) callConsole(method, path, body string) (page, error) {
	r, err := http.NewRequest(method, p.console+path, strings.NewReader(body))
	if err != nil {
		return page{}, err
	}
	r.SetBasicAuth("bramble", consolePassword)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return send(client(), r)
}

func (p *process) get(path string) page {
	p.rack.t.Helper()
	got, err := fetch(client(), p.http+path)
	if err != nil {
		p.rack.t.Fatalf("%s: %v", p.name, err)
	}
	return got
}

// post sends a command to the board's console and returns the reply.
func (p *process) post(path, body string) page {
	p.rack.t.Helper()
	got, err := p.callConsole(http.MethodPost, path, body)
	if err != nil {
		p.rack.t.Fatalf("%s: %v", p.name, err)
	}
	return got
}

// purge purges by way of this board and returns the result.
func (p *process) purge(body string) console.PurgeResult {
	p.rack.t.Helper()
	got := p.post("/api/v1/purge", body)
	var result console.PurgeResult
	if err := json.Unmarshal([]byte(got.body), &result); err != nil || got.status != http.StatusOK {
		p.rack.t.Fatalf("%s: purge %s: status %d, %q", p.name, body, got.status, got.body)
	}
	return result
}

// purgeOn purges through this board, and repeats that until all of these boards have applied the same
// purge: on a busy machine a board may take longer than a purge waits.
func (p *process) purgeOn(body string, boards ...string) (result console.PurgeResult) {
	p.rack.t.Helper()
	eventually(p.rack.t, fmt.Sprintf("%v to apply %s", boards, body), func() (bool, string) {
		result = p.purge(body)
		missing := slices.ContainsFunc(boards, func(name string) bool { return !slices.Contains(result.Applied, name) })
		return !missing, fmt.Sprintf("applied by %v, absent %v", result.Applied, result.Absent)
	})
	return result
}

func (p *process) snapshot() (console.RackView, error) {
	var s console.RackView
	got, err := p.callConsole(http.MethodGet, "/api/v1/rack", "")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(got.body), &s)
}

// metric reads one figure from /metrics.
func (p *process) metric(name string) float64 {
	p.rack.t.Helper()
	got, err := p.callConsole(http.MethodGet, "/metrics", "")
	if err != nil {
		p.rack.t.Fatal(err)
	}
	for line := range strings.Lines(got.body) {
		var value float64
		if n, _ := fmt.Sscanf(line, name+" %g", &value); n == 1 {
			return value
		}
	}
	p.rack.t.Fatalf("%s: no metric %s in:\n%s", p.name, name, got.body)
	return 0
}

func (p *process) waitReady() {
	p.rack.t.Helper()
	eventually(p.rack.t, p.name+" to be ready", func() (bool, string) {
		got, err := p.callConsole(http.MethodGet, "/readyz", "")
		if err != nil {
			return false, err.Error()
		}
		return got.status == http.StatusOK, got.body
	})
}

// waitFor waits until the rack, as this board sees it, meets a condition.
func (p *process) waitFor(what string, holds func(console.RackView) bool) {
	p.rack.t.Helper()
	eventually(p.rack.t, p.name+" to see "+what, func() (bool, string) {
		s, err := p.snapshot()
		if err != nil {
			return false, err.Error()
		}
		text, _ := json.Marshal(s.Boards)
		return holds(s), string(text)
	})
}

// stateOf is the state of a board as another sees it.
func stateOf(s console.RackView, name string) string {
	for _, b := range s.Boards {
		if b.Name == name {
			return b.State
		}
	}
	return ""
}

// eventually polls until a condition holds, for at most patience.
func eventually(t testing.TB, what string, holds func() (ok bool, seen string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, seen := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s; last seen: %s", patience, what, seen)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *process) logText() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.rack.t.Fatal(err)
	}
	return string(bytes.TrimSpace(text))
}
