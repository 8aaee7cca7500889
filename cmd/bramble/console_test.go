package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bramble/node"
	"bramble/node/certs"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/console/client"
)

const rackPassword = "blackberry and rhubarb"

// A hash shows nobody that its password is short, so none is made of one.
func TestHashedPasswords(t *testing.T) {
	for text, want := range map[string]string{"": "there is none", "short\n": "it has 5 characters", "scrypt:half\n": "is not a whole one", rackPassword + "\r\n": ""} {
		var out, failure strings.Builder
		code := runCommand(t.Context(), []string{"console", "password"}, world{in: strings.NewReader(text), out: &out, err: &failure})
		if (code == exitOK) != (want == "") || !hasWords(failure.String(), want) || strings.HasPrefix(out.String(), `password = "scrypt:`) != (want == "") {
			t.Errorf("%q: exit %d\n%s%s", text, code, out.String(), failure.String())
		}
	}
}

// consoleRack is a rack whose consoles listen on every address, as a real one's do. The password is
// there as a hash, and there is an account of each role.
type consoleRack struct {
	key      config.RackKey
	consoles []string // host:port
	files    []string
	ca       string // a file
	tokens   map[string]string
	pool     *x509.CertPool
}

func startConsoleRack(t *testing.T, size int) *consoleRack {
	t.Helper()
	r := &consoleRack{key: config.NewRackKey(), tokens: map[string]string{}, pool: x509.NewCertPool()}
	ports := testAddresses(t, 4*size)
	accounts, join := "", ""
	for _, role := range []string{"look", "shop", "steer"} {
		r.tokens[role] = console.NewToken()
		accounts += fmt.Sprintf("[[console.accounts]]\nname = \"the-%s\"\nrole = %q\npassword = %q\n", role, role, console.HashToken(r.tokens[role]))
	}
	hash := console.HashPassword(rackPassword)
	for i := range size {
		join += fmt.Sprintf("%q, ", ports[4*i+2])
	}
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	t.Cleanup(func() { stop(); ended.Wait() })
	for i := range size {
		_, port, _ := net.SplitHostPort(ports[4*i+1])
		file := filepath.Join(t.TempDir(), "bramble.toml")
		text := fmt.Sprintf("[board]\nname = \"board-%d\"\n[http]\nlisten = %q\n[console]\nlisten = %q\npassword = %q\n%s[rack]\nkey = %q\ngossip_listen = %q\nlink_listen = %q\nmdns = false\nexpected_boards = %d\njoin = [%s]\n[cache]\nmemory = \"4MB\"\n[panel]\nkernel_led = \"none\"\n",
			i+1, ports[4*i], ":"+port, hash, accounts, r.key.Reveal(), ports[4*i+2], ports[4*i+3], size, join)
		cfg, err := config.Parse(file, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r.consoles, r.files = append(r.consoles, "127.0.0.1:"+port), append(r.files, file)
		ended.Go(func() {
			if err := node.Run(ctx, cfg, node.Options{Logger: slog.New(slog.DiscardHandler), Version: "test", Shared: true}); err != nil {
				t.Error(err)
			}
		})
	}
	code, out, err := bramble(t, nil, "console", "certificate", "--config", r.files[0])
	if r.ca = filepath.Join(t.TempDir(), "ca.pem"); code != 0 || os.WriteFile(r.ca, []byte(out), 0o600) != nil || !r.pool.AppendCertsFromPEM([]byte(out)) {
		t.Fatalf("the rack's CA: exit %d\n%s%s", code, out, err)
	}
	waitUntil(t, "a rack that takes commands", func() bool {
		code, _, _ := r.run(t, 0, "announce", "open")
		return code == 0
	})
	return r
}

// run runs a command on a board, over its unix socket.
func (r *consoleRack) run(t *testing.T, board int, args ...string) (code int, out, err string) {
	return bramble(t, nil, append(args, "--config", r.files[board])...)
}

// from runs a command elsewhere: with the rack's CA and a password or token.
func (r *consoleRack) from(t *testing.T, address, secret string, args ...string) (code int, out, err string) {
	return bramble(t, map[string]string{passwordVariable: secret}, append(args, "--ca", r.ca, "--console", "https://"+address)...)
}

// web requests a path with the CA alone, as Prometheus and curl do, and returns the status and the
// device cookie.
func (r *consoleRack) web(t *testing.T, board int, path, authorization, device string) (status int, body, cookie string) {
	t.Helper()
	request, err := http.NewRequest("GET", "https://"+r.consoles[board]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", authorization)
	if device != "" {
		request.AddCookie(&http.Cookie{Name: console.DeviceCookie, Value: device})
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.pool}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	for _, c := range resp.Cookies() {
		if c.Name == console.DeviceCookie && c.Secure && c.HttpOnly && c.SameSite == http.SameSiteStrictMode {
			cookie = c.Value
		}
	}
	return resp.StatusCode, string(text), cookie
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// sniffer is a proxy that records what passes through it.
type sniffer struct {
	net.Listener
	mu   sync.Mutex
	sent []byte // by clients
	all  []byte
}

func startSniffer(t *testing.T, to string) *sniffer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sniffer{Listener: l}
	var ended sync.WaitGroup
	t.Cleanup(func() { l.Close(); ended.Wait() })
	ended.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			ended.Go(func() {
				defer conn.Close()
				back, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer back.Close()
				go func() { _, _ = io.Copy(io.MultiWriter(conn, s.record(false)), back); conn.Close() }()
				_, _ = io.Copy(io.MultiWriter(back, s.record(true)), conn)
			})
		}
	})
	return s
}

type recorder func(p []byte)

func (r recorder) Write(p []byte) (int, error) { r(p); return len(p), nil }

func (s *sniffer) record(fromClient bool) io.Writer {
	return recorder(func(p []byte) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.all = append(s.all, p...); fromClient {
			s.sent = append(s.sent, p...)
		}
	})
}

// The console of a rack, attacked from the network: sniffing, replaying and standing in between
// yield nothing, guessing has a limit that its owner does not feel, and each account does what its role
// allows, under its own name.
func TestConsoleOfARackIsSafe(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs boards")
	}
	r := startConsoleRack(t, 3)

	t.Run("a sniffer sees nothing, and what it replays does nothing", func(t *testing.T) {
		s := startSniffer(t, r.consoles[0])
		for _, secret := range []string{rackPassword, r.tokens["steer"]} {
			if code, out, err := r.from(t, s.Addr().String(), secret, "purge", "--all"); code != 0 || !strings.Contains(out, "board-3") {
				t.Fatalf("exit %d\n%s%s", code, out, err)
			}
		}
		s.mu.Lock()
		sent, all := bytes.Clone(s.sent), bytes.Clone(s.all)
		s.mu.Unlock()
		for _, secret := range []string{rackPassword, basic("bramble", rackPassword), r.tokens["steer"], "board-1", "purge", "HTTP/1.1"} {
			if bytes.Contains(all, []byte(strings.TrimPrefix(secret, "Basic "))) {
				t.Errorf("the network shows %q", secret)
			}
		}
		for board, console := range r.consoles {
			conn, err := net.Dial("tcp", console)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = conn.Write(sent) // the board may close it before the end
			got, _ := io.ReadAll(conn)
			conn.Close()
			if bytes.Contains(got, []byte("Applied")) || bytes.Contains(got, []byte(" 200 ")) {
				t.Errorf("board %d answers a replay: %q", board+1, got)
			}
		}
	})

	t.Run("who stands in between is sent nothing", func(t *testing.T) {
		var requests atomic.Int32
		other, err := certs.NewConsoleCA(config.NewRackKey().Bytes())
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) })}
		go func() { _ = server.Serve(tls.NewListener(l, (&certs.ConsoleCerts{CA: other}).TLSConfig())) }()
		defer server.Close()
		env := map[string]string{passwordVariable: rackPassword}
		for _, known := range [][]string{{"--config", r.files[0]}, {"--ca", r.ca}, nil} {
			code, out, text := bramble(t, env, append([]string{"status", "--console", "https://" + l.Addr().String()}, known...)...)
			if code != exitFailed || !strings.Contains(text, "does not prove that it is of this rack") {
				t.Errorf("%v: exit %d\n%s%s", known, code, out, text)
			}
		}
		if code, _, text := bramble(t, env, "status", "--console", "http://192.168.1.5:8080"); code != exitUsage || !strings.Contains(text, "plain http") {
			t.Errorf("plain http to another machine: exit %d\n%s", code, text)
		}
		// A board that names this address gets its clients no further.
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(readFile(t, r.ca))
		first, err := client.New("https://"+r.consoles[0], client.Access{Secret: rackPassword, Rack: pool})
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		for _, scheme := range []string{"http://", "https://"} {
			named, err := first.At(scheme + l.Addr().String())
			if err == nil {
				_, err = named.Rack(t.Context())
				named.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "does not prove") {
				t.Errorf("a named address: %v", err)
			}
		}
		if n := requests.Load(); n != 0 {
			t.Errorf("it was sent %d requests", n)
		}
		view, err := first.Rack(t.Context())
		if err != nil || len(view.Boards) != 3 {
			t.Fatalf("%+v, %v", view, err)
		}
		for _, b := range view.Boards {
			own, err := first.At(b.ConsoleURL)
			if err != nil {
				t.Fatal(err)
			}
			if seen, err := own.Rack(t.Context()); err != nil || seen.Observer != b.Name || !strings.HasPrefix(b.ConsoleURL, "https://") {
				t.Errorf("%s names %s: %v", b.Name, b.ConsoleURL, err)
			}
			own.Close()
		}
	})

	t.Run("plain http gets a plain refusal", func(t *testing.T) {
		resp, err := http.Get("http://" + r.consoles[1] + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || !strings.Contains(string(text), "HTTP request to an HTTPS server") {
			t.Errorf("%s %s", resp.Status, text)
		}
	})

	t.Run("roles", func(t *testing.T) {
		for _, c := range []struct {
			command string
			allowed string // roles
		}{
			{"status", "look shop steer"},
			{"sale list", "look shop steer"},
			{"ledger status", "look shop steer"},
			{"orders list", "shop steer"},
			{"orders audit", "shop steer"},
			{"announce hello", "steer"},
			{"orders relink --revoke", "steer"},
			{"fulfilment", "shop steer"},
			{"purge --all", "steer"},
			{"locate board-1 --undo", "steer"},
			{"drain board-9", ""}, // steer may, and there is none
		} {
			for _, role := range []string{"look", "shop", "steer"} {
				code, out, err := r.from(t, r.consoles[2], r.tokens[role], strings.Fields(c.command)...)
				if want := strings.Contains(c.allowed, role); (code == 0) != want || !want && !strings.Contains(err, "needs") && !strings.Contains(err, "unknown board") {
					t.Errorf("%s may %s: exit %d\n%s%s", role, c.command, code, out, err)
				}
			}
		}
		if status, body, _ := r.web(t, 1, "/metrics", "Bearer "+r.tokens["look"], ""); status != 200 || !strings.Contains(body, "bramble_") {
			t.Errorf("Prometheus gets %d", status)
		}
		if status, _, _ := r.web(t, 1, console.ShopPath+"backup", "Bearer "+r.tokens["shop"], ""); status != 403 {
			t.Errorf("the shop's account fetches a backup: %d", status)
		}
	})

	t.Run("the audit trail has true names", func(t *testing.T) {
		claim := []string{"announce", "who said this?", "--operator", "the-look"}
		if code, _, err := r.from(t, r.consoles[0], r.tokens["steer"], claim...); code != 0 {
			t.Fatal(err)
		}
		if code, _, err := r.run(t, 1, claim...); code != 0 {
			t.Fatal(err)
		}
		code, out, err := r.run(t, 2, "orders", "audit")
		if code != 0 || !strings.Contains(out, ` the-steer ("the-look"): announce`) || !strings.Contains(out, ` local ("the-look"): announce`) || strings.Contains(out, ` the-look: announce "who`) {
			t.Errorf("exit %d\n%s%s", code, out, err)
		}
	})

	t.Run("the unix socket is the owner's", func(t *testing.T) {
		info, err := os.Stat(node.ConsoleSocket(filepath.Join(filepath.Dir(r.files[0]), "ledger")))
		if err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("%v, %v", info, err)
		}
		// By https the hash in the file is no password.
		if code, _, text := bramble(t, nil, "purge", "--all", "--config", r.files[0], "--console", "https://"+r.consoles[0]); code != exitFailed || !strings.Contains(text, "password") {
			t.Errorf("exit %d\n%s", code, text)
		}
	})

	t.Run("a guesser slows down, on all boards, and nobody else", func(t *testing.T) {
		right := basic("bramble", rackPassword)
		status, _, device := r.web(t, 0, "/api/v1/rack", right, "")
		if status != 200 || device == "" {
			t.Fatalf("status %d, device %q", status, device)
		}
		refused := 0
		for range 8 {
			if status, _, _ := r.web(t, 0, "/api/v1/rack", basic("bramble", "guess"), ""); status == 429 {
				refused++
			}
		}
		if refused == 0 {
			t.Error("eight guesses were all answered")
		}
		for board := range r.consoles {
			waitUntil(t, "a board that has heard of the guesser", func() bool {
				status, _, _ := r.web(t, board, "/api/v1/rack", right, "")
				return status == 429
			})
			if status, _, _ := r.web(t, board, "/api/v1/rack", right, device); status != 200 {
				t.Errorf("board %d refuses the owner's browser: %d", board+1, status)
			}
			if status, _, _ := r.web(t, board, "/api/v1/rack", "Bearer "+r.tokens["look"], ""); status != 200 {
				t.Errorf("board %d refuses a token: %d", board+1, status)
			}
			if code, _, err := r.run(t, board, "status"); code != 0 {
				t.Errorf("board %d refuses its own user: %s", board+1, err)
			}
			env := map[string]string{passwordVariable: rackPassword}
			if code, _, err := bramble(t, env, "status", "--config", r.files[0], "--console", "https://"+r.consoles[board]); code != 0 {
				t.Errorf("board %d refuses who has the rack key and the password: %s", board+1, err)
			}
		}
	})
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
