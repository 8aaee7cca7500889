//go:build unix

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"bramble/node/config"
)

// builtAs builds the program into a file, with the name of the build in its version.
func builtAs(t *testing.T, program, name string) {
	t.Helper()
	out, err := exec.Command("go", "build", "-ldflags", "-X main.build="+name, "-o", program+".new", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	if err := os.Rename(program+".new", program); err != nil {
		t.Fatal(err)
	}
}

// freeAddr returns an address that nothing listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestRestartInPlaceRefusesNoConnection(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program and runs boards")
	}
	dir := t.TempDir()
	program, file := filepath.Join(dir, "bramble"), filepath.Join(dir, "bramble.toml")
	pages, secure, console, key := freeAddr(t), freeAddr(t), freeAddr(t), config.NewRackKey().Reveal()
	write := func(more string) {
		text := fmt.Sprintf("%s[http]\nlisten = %q\n[tls]\nlisten = %q\n[console]\nlisten = %q\n[orders]\nenabled = false\n"+
			"[rack]\nkey = %q\ngossip_listen = \"127.0.0.1:0\"\nlink_listen = \"127.0.0.1:0\"\nmdns = false\n",
			more, pages, secure, console, key)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	builtAs(t, program, "one")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "node", "--config", file)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("log:\n%s", text)
		}
	})
	fresh := func(protocols http.Protocols) *http.Client {
		// The certificate is self-signed.
		return &http.Client{Timeout: patience, Transport: &http.Transport{
			DisableKeepAlives: true, Protocols: &protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}}
	}
	var one, two http.Protocols
	one.SetHTTP1(true)
	two.SetHTTP2(true)
	plain := fresh(one)
	readBy := func(client *http.Client, url string) (string, error) {
		resp, err := client.Get(url)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", resp.StatusCode)
		}
		return string(body), err
	}
	read := func(url string) (string, error) { return readBy(plain, url) }
	version := func(want string) func() bool {
		return func() bool {
			text, err := read("http://" + console + "/api/v1/rack")
			return err == nil && strings.Contains(text, `"version":"`+want)
		}
	}
	waitUntil(t, "the first program", version("one"))

	// Clients request pages all the time, each on a connection of its own.
	var served atomic.Int64
	var crowd sync.WaitGroup
	stop := make(chan struct{})
	for i := range 8 {
		client, url := plain, "http://"+pages+"/status"
		switch i {
		case 3, 4:
			client, url = fresh(one), "https://"+secure+"/status"
		case 5, 6:
			client, url = fresh(two), "https://"+secure+"/status"
		}
		crowd.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := readBy(client, url); err != nil {
					t.Errorf("%s: failed: %v", url, err)
					return
				}
				served.Add(1)
			}
		})
	}
	send := func() {
		if err := cmd.Process.Signal(syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
	}
	before := served.Load()
	write("nonsense = 1\n")
	send()
	waitUntil(t, "a log line about the bad configuration", func() bool {
		text, _ := os.ReadFile(log.Name())
		return strings.Contains(string(text), "nonsense")
	})
	if !version("one")() {
		t.Error("a bad configuration ended the program")
	}
	write("")
	for _, name := range []string{"two", "three"} {
		builtAs(t, program, name)
		send()
		waitUntil(t, "program "+name, version(name))
	}
	starts := func() int {
		text, _ := os.ReadFile(log.Name())
		return strings.Count(string(text), "board is up")
	}
	for range 10 { // a gap in the stop is a few milliseconds long, which a connection may miss
		seen := starts()
		send()
		waitUntil(t, "the next start", func() bool { return starts() > seen })
	}
	after := served.Load()
	waitUntil(t, "pages from the last program", func() bool { return served.Load() > after || t.Failed() })
	close(stop)
	crowd.Wait()
	t.Logf("%d pages", served.Load()-before)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}
