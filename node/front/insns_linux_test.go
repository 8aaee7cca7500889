package front

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/node/front/http1/http1test"
)

var countInsns = flag.Bool("instructions", false, "count the user-mode instructions of a hit, with QEMU's qemu-user and gcc")

// serveEnv makes this test binary a server until its standard input ends.
const serveEnv = "BRAMBLE_TEST_SERVE"

// TestServerProcess is no test: it is the server of another process.
func TestServerProcess(t *testing.T) {
	if os.Getenv(serveEnv) == "" {
		t.Skip("only as the server of another test")
	}
	h := newTestSite(t)
	f, err := New(Config{
		Listen: "127.0.0.1:0", Handler: h, FastHandler: h, MaxConnections: 1000, MaxRequests: 64, BodyRate: 1000, BodyTimeout: time.Second,
		HeaderTimeout: time.Minute, IdleTimeout: time.Minute, WriteTimeout: time.Minute, DrainTimeout: time.Second,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	fmt.Println(f.Addr())
	io.Copy(io.Discard, os.Stdin)
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestInstructionsOfAHit reports how many user-mode instructions the server spends
// on a hit, with 64 connections: the difference of a long run and a short one of
// an emulated server, by the number of requests between them.
func TestInstructionsOfAHit(t *testing.T) {
	if !*countInsns {
		t.Skip("a measurement: run it with -instructions")
	}
	plugin := filepath.Join(t.TempDir(), "insns.so")
	run(t, "gcc", "-O2", "-shared", "-fPIC", "-o", plugin, "testdata/insns.c")
	for _, machine := range []struct{ arch, qemu, cpu string }{{"amd64", "qemu-x86_64", "max"}, {"arm", "qemu-arm", "arm1176"}} {
		server := filepath.Join(t.TempDir(), "server")
		build := exec.Command("go", "test", "-c", "-o", server, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+machine.arch, "GOARM=6")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, client := range []struct {
			name string
			next func() []byte
		}{
			{"wrk", func() []byte { return []byte(http1test.Browsers()["wrk"]) }},
			{"chrome", func() []byte { return []byte(http1test.Browsers()["chrome"]) }},
			{"chrome, no two cookies alike", http1test.OwnCookie},
		} {
			const few, many = 200, 1000
			count := func(rounds int) int64 {
				return countServer(t, []string{machine.qemu, "-cpu", machine.cpu, "-plugin", plugin, server}, client.next, rounds)
			}
			short, long := count(few), count(many)
			t.Logf("%s, %s: %d instructions per hit", machine.arch, client.name, (long-short)/(64*(many-few)))
		}
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// countServer has 64 clients send rounds requests each, and returns the server's
// instructions from its start to its end.
func countServer(t *testing.T, command []string, next func() []byte, rounds int) int64 {
	t.Helper()
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Skipf("%s is not installed: it is in Debian's qemu-user", command[0])
	}
	to := filepath.Join(t.TempDir(), "count")
	cmd := exec.Command(command[0], append(command[1:], "-test.run=^TestServerProcess$")...)
	cmd.Env = append(os.Environ(), serveEnv+"=1", "INSNS="+to, "GOMAXPROCS=1", "GOGC=off")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("the server prints %q, %v", address, err)
	}
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() { sendMany(t, strings.TrimSpace(address), next, rounds) })
	}
	all.Wait()
	stdin.Close()
	go io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the server ended with %v", err)
	}
	text, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	if _, err := fmt.Sscan(string(text), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// sendMany sends requests one after the other on one connection.
func sendMany(t *testing.T, address string, next func() []byte, rounds int) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Error(err)
		return
	}
	r := bufio.NewReaderSize(c, 16<<10)
	length := 0 // of a reply: the site's clock stands still, so all are alike
	for range rounds {
		if _, err := c.Write(next()); err != nil {
			t.Error(err)
			return
		}
		if length == 0 {
			length = lengthOf(t, r)
		} else if _, err := r.Discard(length); err != nil {
			t.Error(err)
			return
		}
	}
}
