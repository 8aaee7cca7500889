package front

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var fullCrowd = flag.Bool("crowd", false, "a crowd of ten thousand slow clients in place of fifteen hundred")

const (
	// crowdEnv makes this test binary a crowd of n clients of crowdAddrEnv.
	crowdEnv     = "BRAMBLE_TEST_CROWD"
	crowdAddrEnv = "BRAMBLE_TEST_CROWD_AT"
	crowdKinds   = 4
)

// TestCrowdProcess is no test: it is the program of the crowd, in a process of its own so
// that its memory and its files are not the server's. It prints "here" when every client
// has connected once, and ends with its standard input.
func TestCrowdProcess(t *testing.T) {
	size, err := strconv.Atoi(os.Getenv(crowdEnv))
	if err != nil {
		t.Skip("only as the crowd of another test")
	}
	var came, left sync.WaitGroup
	stop := make(chan struct{})
	for i := range size {
		came.Add(1)
		left.Go(func() {
			for first := true; ; first = false {
				c := dialSlowly(i)
				if first {
					came.Done()
				}
				if c != nil {
					keepSlow(c, i, stop)
					c.Close()
				}
				select {
				case <-stop:
					return
				case <-time.After(time.Second): // a client that is cut off comes again
				}
			}
		})
		if i%64 == 63 {
			time.Sleep(5 * time.Millisecond) // the kernel's backlog is not under test
		}
	}
	came.Wait()
	fmt.Println("here")
	io.Copy(io.Discard, os.Stdin)
	close(stop)
	left.Wait()
}

// dialSlowly opens the connection of one client of the crowd, from an address that a few
// share; nil if it was not accepted.
func dialSlowly(i int) net.Conn {
	d := net.Dialer{
		Timeout:   10 * time.Second,
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(i>>6), byte(i&63+1))},
		Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) {
				if i%crowdKinds == 1 { // a client that reads slowly buffers as little of a page as it can
					syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048)
				}
			})
		},
	}
	c, err := d.Dial("tcp", os.Getenv(crowdAddrEnv))
	if err != nil {
		return nil
	}
	return c
}

// keepSlow does what one client of the crowd does, until it is cut off.
func keepSlow(c net.Conn, i int, stop <-chan struct{}) {
	say, trickle := "", ""
	switch i % crowdKinds {
	case 0:
		say, trickle = "GET / HTTP/1.1\r\n"+hostLine+"\r\nX-Slow: ", "x"
	case 1:
		say = strings.Repeat(get("/big"), 20)
	case 2:
		say, trickle = lines("POST /order HTTP/1.1", hostLine, "Content-Length: 100000"), "x"
	}
	if _, err := io.WriteString(c, say); err != nil {
		return
	}
	cut := make(chan struct{})
	if i%crowdKinds != 1 {
		go func() {
			defer close(cut)
			io.Copy(io.Discard, c)
		}()
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-cut:
			return
		case <-ticker.C:
		}
		var err error
		if i%crowdKinds == 1 {
			c.SetReadDeadline(time.Now().Add(time.Second))
			if _, err = c.Read(make([]byte, 256)); os.IsTimeout(err) {
				err = nil
			}
		} else {
			_, err = io.WriteString(c, trickle)
		}
		if err != nil {
			return
		}
	}
}

// crowd is the process of a crowd.
type crowd struct {
	stdin io.Closer
	cmd   *exec.Cmd
}

func startCrowd(t *testing.T, f *Front, size int) *crowd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{cmd: exec.Command(self, "-test.run=^TestCrowdProcess$")}
	c.cmd.Env = append(os.Environ(), crowdEnv+"="+strconv.Itoa(size), crowdAddrEnv+"="+f.Addr().String())
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin = stdin
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.cmd.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "here\n" {
		t.Fatalf("the crowd prints %q, %v", line, err)
	}
	return c
}

// stopCrowd has the crowd leave, and waits until it has.
func (c *crowd) stopCrowd(t *testing.T) {
	t.Helper()
	c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the crowd ended with %v", err)
	}
}

// inUse returns the memory of this process that is in use, in bytes: heap and stacks.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // the second also frees what pools have dropped
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() + samples[1].Value.Uint64())
}

// maySlow limits what one slow client may take, on average over the kinds: most of it is
// pending output for clients that do not read.
const maySlow = 12 << 10

// Clients that occupy their connections in every possible way do not slow the others:
// every page arrives, and memory stays within its limit.
func TestManySlowClientsSlowNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("opens some thousand connections")
	}
	size := 1500
	if *fullCrowd {
		size = 10_000
	}
	if most := openFiles(t) - 500; size > most {
		t.Logf("a crowd of %d, for no more files may be open", most)
		size = most
	}
	h := newTestSite(t)
	h.viaNetHTTP([]byte(get("/big", "Connection: close")))
	until(t, "the big page is in memory", func() bool {
		_, _, ok := h.AppendHit(nil, requestFor("/big"))
		return ok
	})
	f, _, _ := startFront(t, h, func(cfg *Config) {
		cfg.MaxConnections, cfg.MaxRequests = size+500, 32
		cfg.HeaderTimeout, cfg.IdleTimeout, cfg.WriteTimeout = 10*time.Second, time.Minute, time.Minute
		cfg.BodyRate, cfg.BodyTimeout = 1000, 5*time.Second
	})
	before := inUse()
	c := startCrowd(t, f, size)
	until(t, "all are there", func() bool { return f.Counts().Open >= int64(size*8/10) })
	// Accepting them all at once is some seconds' work for two processors, most of it the
	// kernel's, which fills the buffers of the clients that read slowly. The test is about
	// clients that stay: meanwhile the table may be full of those that have just gone.
	until(t, "nothing is left unread", func() bool { return f.conns.behind() <= size/100 })
	held := inUse() - before

	const clients, rounds = 32, 50
	var right, lent, posted atomic.Int64
	var all sync.WaitGroup
	for range clients {
		v := dialFront(t, f)
		all.Go(func() {
			for i := range rounds {
				if isAnswered(v.Conn, v.r, get("/"), 4096) {
					right.Add(1)
				}
				if i%10 == 0 && isAnswered(v.Conn, v.r, get("/never"), len("<p>/never")) {
					lent.Add(1)
				}
			}
			if isAnswered(v.Conn, v.r, lines("POST /form HTTP/1.1", hostLine, "Content-Length: 5")+"a=b&c", len("<p>/form")) {
				posted.Add(1)
			}
		})
	}
	all.Wait()
	during := f.Counts()
	// On a busy machine pressure may shed requests that are lent.
	if right.Load() != clients*rounds || lent.Load() < clients*rounds/10/2 {
		t.Errorf("%d of %d pages from memory came, and %d of %d others", right.Load(), clients*rounds, lent.Load(), clients*rounds/10)
	}
	if per := held / int64(size); per > maySlow {
		t.Errorf("a slow client takes %d bytes, more than %d", per, maySlow)
	}
	if posted.Load() < clients/2 {
		t.Errorf("%d of %d forms went through", posted.Load(), clients)
	}
	t.Logf("a crowd of %d: %d open, %d bytes each; %d of %d forms went through; counts %+v",
		size, during.Open, held/int64(size), posted.Load(), clients, during)

	c.stopCrowd(t)
	until(t, "the crowd has left", func() bool { return f.Counts().Open <= clients })
	if left := inUse() - before; left > 16<<20 {
		t.Errorf("%d bytes are still in use", left)
	}
	v := dialFront(t, f)
	for request, want := range map[string]string{
		get("/"): "", get("/never"): "<p>/never", lines("POST /form HTTP/1.1", hostLine, "Content-Length: 0"): "<p>/form",
	} {
		v.send(request)
		if resp, body := v.reply(); resp.StatusCode != 200 || want != "" && body != want {
			t.Errorf("afterwards %q got %s %q", request, resp.Status, body)
		}
	}
}

// behind returns the number of connections that wait for the board: their clients' input
// has not been read yet, or they have been ended and are still in the table.
func (t *connTable) behind() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		w := c.state.Load()
		if stateOf(w) == stateClosing || (overdueConn{c, w}).hasUnreadRequest() {
			n++
		}
	}
	return n
}

// isAnswered sends a request and reports whether a page of size bytes arrives.
func isAnswered(c net.Conn, r *bufio.Reader, request string, size int) bool {
	if _, err := io.WriteString(c, request); err != nil {
		return false
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return false
	}
	n, err := io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK && n == int64(size)
}

func openFiles(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(uint64(limit.Cur), 1<<30))
}
