package node_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bramble/node/console"
)

// A crowd at a board's console, from a few addresses that each use all that they get,
// does not disturb anything else: other clients of the console, the board's own
// watchdog, the public pages, and requests between boards.
func TestConsoleCrowdDoesNotStarveTheBoard(t *testing.T) {
	if !onLAN(t) {
		return
	}
	origin := &countingOrigin{}
	r := lanRack(t, 2, patientPeers()+"[origin]\nurl = \"http://10.77.0.254:9000\"\n")
	listener, err := net.Listen("tcp", "10.77.0.254:9000")
	if err != nil {
		t.Fatal(err)
	}
	origin.serve(t, listener, 0)
	for _, b := range r.boards {
		b.waitFor("the whole rack", func(s console.RackView) bool { return inService(s) == 2 })
	}
	crowded := r.boards[0]

	const addresses, each = 6, console.MaxConnections
	for i := range addresses {
		runCommand(t, "ip addr add 10.77.0.%d/24 dev lan", 100+i)
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	var came, closed, asked atomic.Int64
	defer func() {
		close(stop)
		all.Wait()
		t.Logf("of %d connections to the console %d were closed; it answered %d requests", came.Load(), closed.Load(), asked.Load())
	}()
	var first sync.WaitGroup
	for i := range addresses * each {
		first.Add(1)
		all.Go(func() {
			here := sync.OnceFunc(first.Done)
			defer here()
			for more := true; more; {
				from := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 77, 0, byte(100+i%addresses))}}
				c, err := from.Dial("tcp", "10.77.0.1:8080")
				if err == nil && i/6%2 == 1 { // a connection without requests needs no handshake to hold its place
					c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
				}
				here()
				if err == nil {
					came.Add(1)
					more = holdConnection(c, i, stop, &asked)
					c.Close()
					closed.Add(1)
				}
				select {
				case <-stop:
					return
				case <-time.After(time.Second): // a client that is refused tries again
				}
			}
		})
		if i%64 == 63 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	first.Wait()

	const pages = 40
	for i := range pages {
		url := fmt.Sprintf("/page-%d", i)
		for _, b := range []*process{r.boards[i%2], r.boards[1-i%2]} {
			if got := b.get(url); got.status != http.StatusOK || !strings.Contains(got.body, url) {
				t.Errorf("%s of %s: %d %q", url, b.name, got.status, got.body)
			}
		}
	}
	if n := origin.asked.Load(); n != pages {
		t.Errorf("%d pages cost the origin %d requests: the boards do not fetch from each other", pages, n)
	}
	for range 5 { // each by a connection of its own
		if got, err := crowded.callConsole(http.MethodGet, "/readyz", ""); err != nil || got.status != http.StatusOK {
			t.Errorf("another client of the console: %d %q, %v", got.status, got.body, err)
		}
		text, err := exec.Command("nsenter", "-t", fmt.Sprint(crowded.cmd.Process.Pid), "-n", "bash", "-c",
			`curl -sk -m 20 https://127.0.0.1:8080/healthz`).CombinedOutput()
		if err != nil || string(text) != "ok\n" {
			t.Errorf("the watchdog on the board gets %q, %v", text, err)
		}
	}
	for _, b := range r.boards {
		b.waitFor("a rack without faults", func(s console.RackView) bool {
			return inService(s) == 2 && len(faultsOf(s, "board-1")) == 0 && len(faultsOf(s, "board-2")) == 0
		})
	}
}

// holdConnection uses a connection as one of the crowd until it is closed or stop is:
// some send nothing, some send requests without end. It reports whether to connect again.
func holdConnection(c net.Conn, i int, stop <-chan struct{}, asked *atomic.Int64) bool {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if i/6%2 == 0 {
			_, _ = io.Copy(io.Discard, c) // until it is closed
			return
		}
		for r := bufio.NewReader(c); ; asked.Add(1) {
			if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: 10.77.0.1\r\n\r\n"); err != nil {
				return
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	select {
	case <-gone:
		return true
	case <-stop:
		c.Close()
		<-gone
		return false
	}
}
