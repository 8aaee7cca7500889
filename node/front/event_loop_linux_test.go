package front

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// allAttached reports whether every connection of a front is with an event loop.
func (f *Front) allAttached() bool {
	f.conns.mu.Lock()
	defer f.conns.mu.Unlock()
	for _, c := range f.conns.conns {
		c.mu.Lock()
		isOffloaded := c.socket != nil
		c.mu.Unlock()
		if isOffloaded {
			return false
		}
	}
	return true
}

func TestAnOffloadedConnectionComesBack(t *testing.T) {
	f, _, _ := startFront(t, newTestSite(t))
	v := dialFront(t, f)
	for range 3 {
		v.send(get("/gone", "X-Odd: 1")) // lent
		if resp, _ := v.reply(); resp.StatusCode != http.StatusGone {
			t.Fatal(resp.Status)
		}
		until(t, "it is back", f.allAttached)
	}
	lent := get("/gone", "X-Odd: 1")
	v.send(lent + get("/") + lent + get("/")) // what was read before it was offloaded is answered too
	for i, want := range []int{410, 200, 410, 200} {
		if resp, _ := v.reply(); resp.StatusCode != want {
			t.Errorf("reply %d is %s, want %d", i, resp.Status, want)
		}
	}
	until(t, "it is back again", f.allAttached)
	if got := f.Counts(); got.Lent != 5 || got.Fast != 2 || got.HandedOff != 0 || got.Open != 1 {
		t.Errorf("counts are %+v", got)
	}
}

// A connection that is back in its event loop may not be idle longer than any other.
func TestIdleTimeHoldsAfterALoan(t *testing.T) {
	f, _, _ := startFront(t, newTestSite(t), func(cfg *Config) { cfg.IdleTimeout = 100 * time.Millisecond })
	v := dialFront(t, f)
	v.send(get("/gone", "X-Odd: 1")) // lent
	v.reply()
	v.ends()
}

// A client that sends requests without end, and reads, does not delay the others.
func TestAFloodingClientLeavesOthersTheirTurn(t *testing.T) {
	f, _, _ := startFront(t, newTestSite(t))
	var floods []net.Conn
	for range 2 * runtime.GOMAXPROCS(0) {
		flood := dialFront(t, f)
		floods = append(floods, flood.Conn)
		go func() {
			many := strings.Repeat(get("/"), 1000)
			for {
				if _, err := io.WriteString(flood.Conn, many); err != nil {
					return
				}
			}
		}()
		go func() { _, _ = io.Copy(io.Discard, flood.Conn) }()
	}
	until(t, "all have begun", func() bool { return f.Counts().Fast > 1000 })
	for range 2 * runtime.GOMAXPROCS(0) {
		v := dialFront(t, f)
		for range 10 {
			v.send(get("/"))
			if resp, _ := v.reply(); resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
		}
	}
	for _, flood := range floods {
		flood.Close()
	}
}

// The last reply arrives whole, whatever the client sends after its last request.
func TestInputBehindTheLastRequestLosesNoReply(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a second")
	}
	f, _, _ := startFront(t, newTestSite(t))
	for range 20 {
		v := dialFront(t, f)
		v.send(get("/", "Connection: close"))
		go func() {
			for range 100 {
				if _, err := io.WriteString(v.Conn, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		}()
		if resp, body := v.reply(); resp.StatusCode != 200 || len(body) == 0 || !resp.Close {
			t.Fatalf("%s, %d bytes", resp.Status, len(body))
		}
	}
	until(t, "all leave the table", func() bool { return f.Counts().Open == 0 })
}

// A client's address and port reach the handler as they do with package net.
func TestTheHandlerGetsTheClientsAddress(t *testing.T) {
	got := make(chan string, 1)
	f, _, _ := startFront(t, newTestSite(t), func(cfg *Config) {
		cfg.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.RemoteAddr })
	})
	v := dialFront(t, f)
	v.send(get("/never"))
	v.reply()
	if address := <-got; address != v.LocalAddr().String() {
		t.Errorf("a client at %s has the address %s", v.LocalAddr(), address)
	}
}

// A client that does not read its reply is cut off by a deadline that net/http
// understands.
func TestFDConnDeadlinesAreThoseOfNet(t *testing.T) {
	failed := make(chan error, 1)
	f, _, _ := startFront(t, newTestSite(t), func(cfg *Config) {
		cfg.WriteTimeout = time.Hour
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			control := http.NewResponseController(w)
			// Well before the front sets one of its own for a slow client (parkAfter).
			if err := control.SetWriteDeadline(time.Now().Add(time.Millisecond)); err != nil {
				failed <- err
				return
			}
			var err error
			for page := make([]byte, 1<<20); err == nil; {
				_, err = w.Write(page)
			}
			failed <- err
		})
	})
	v := dialFront(t, f)
	v.send(get("/never"))
	err := <-failed
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("the handler gets the error %v", err)
	}
}

// blockedHandler blocks on requests for /held until over is closed.
type blockedHandler struct {
	*testSite
	calls atomic.Int64 // how often the fast path asked for it: never if it has the reply memoised
	over  chan struct{}
	sent  int64 // requests for it, by holdAll
}

func (h *blockedHandler) AppendHit(dst []byte, q *FastRequest) ([]byte, [][]byte, bool) {
	if string(q.Target) == "/held" {
		h.calls.Add(1)
		<-h.over
	}
	return h.testSite.AppendHit(dst, q)
}

// holdAll blocks every event loop until over is closed.
func (h *blockedHandler) holdAll(t *testing.T, f *Front) {
	t.Helper()
	until(t, "every event loop is blocked", func() bool {
		// The descriptor's number decides about the event loop, and the client's descriptor is
		// of this process too: with a third file the next connection is another loop's.
		file, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		dialFront(t, f).send(get("/held"))
		h.sent++
		time.Sleep(10 * time.Millisecond)
		return h.calls.Load() == int64(runtime.GOMAXPROCS(0))
	})
}

// A board that reads late cuts off clients that have sent nothing, but no client that has
// sent its request in time.
func TestAnUnreadRequestIsNotLate(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	for try := 1; !sendUnreadRequests(t); try++ {
		if try == 10 {
			t.Fatal("the machine cannot send two requests within the idle time")
		}
	}
}

// sendUnreadRequests is one try of TestAnUnreadRequestIsNotLate; false: the machine was so busy
// that the second request was late indeed.
func sendUnreadRequests(t *testing.T) (inTime bool) {
	h := &blockedHandler{testSite: newTestSite(t), over: make(chan struct{})}
	release := sync.OnceFunc(func() { close(h.over) })
	f, _, _ := startFront(t, h.testSite, func(cfg *Config) {
		cfg.FastHandler, cfg.HeaderTimeout, cfg.IdleTimeout = h, 500*time.Millisecond, 500*time.Millisecond
	})
	t.Cleanup(release)
	again := dialFront(t, f)
	idleSince := time.Now()
	again.send(get("/"))
	again.reply()
	h.holdAll(t, f)
	first, silent := dialFront(t, f), dialFront(t, f)
	dialled := time.Now()
	first.send(get("/"))
	if _, err := io.WriteString(again.Conn, get("/")); err != nil || time.Since(idleSince) > f.cfg.IdleTimeout || time.Since(dialled) > f.cfg.HeaderTimeout/2 {
		return false
	}
	if n, err := silent.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("a silent client gets %d bytes and %v", n, err)
	}
	time.Sleep(2 * f.cfg.HeaderTimeout)
	release()
	for name, v := range map[string]*testClient{"first": first, "second": again} {
		if resp, _ := v.reply(); resp.StatusCode != http.StatusOK {
			t.Errorf("the %s request gets %s", name, resp.Status)
		}
	}
	return true
}
