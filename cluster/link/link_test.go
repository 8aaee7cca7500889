package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func rackKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// lines is a log that a test reads.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func serveLink(t *testing.T, link *Link, handler http.Handler) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- link.Serve(ctx, handler) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := link.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// patience is the peer timeout in tests that do not test timeouts. A fraction of it bounds each
// handshake and each ping.
const patience = 40 * time.Second

// newTestLink makes a link; peerTimeout 0 stands for patience.
func newTestLink(t *testing.T, name string, peerTimeout time.Duration, keys ...[]byte) *Link {
	t.Helper()
	if peerTimeout == 0 {
		peerTimeout = patience
	}
	link, err := New(Config{Name: name, Keys: keys, Listen: "127.0.0.1:0", PeerTimeout: peerTimeout, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func get(t *testing.T, link *Link, board, path string) (string, error) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://any"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := link.Do(context.Background(), board, r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestBoardsOfOneRackAuthenticateEachOther(t *testing.T) {
	one := newTestLink(t, "board one", 0, rackKey(1))
	two := newTestLink(t, "bücher.2", 0, rackKey(1))
	serveLink(t, one, http.NotFoundHandler())
	serveLink(t, two, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, PeerName(r)+" requests "+r.URL.RequestURI())
	}))
	one.SetPeers([]Peer{{Name: "bücher.2", Addr: two.Addr().String()}})
	body, err := get(t, one, "bücher.2", "/a?b=c")
	if want := "board one requests /a?b=c"; err != nil || body != want {
		t.Errorf("got %q, %v; want %q", body, err, want)
	}
	if err := one.pingPeer(one.findPeer("bücher.2")); err != nil {
		t.Errorf("the ping: %v", err)
	}
	if !one.Up("bücher.2") || one.Up("board-9") {
		t.Error("Up is wrong about which boards answer")
	}
	if n := one.InFlight("bücher.2"); n != 0 {
		t.Errorf("%d requests in flight after the last response", n)
	}
	if _, err := get(t, one, "board-9", "/"); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("a request to an unknown board: %v", err)
	}
}

func TestBoardUnderAnotherNameIsRefused(t *testing.T) {
	one, two := newTestLink(t, "board-1", 0, rackKey(1)), newTestLink(t, "board-2", 0, rackKey(1))
	serveLink(t, one, http.NotFoundHandler())
	serveLink(t, two, http.NotFoundHandler())
	one.SetPeers([]Peer{{Name: "board-3", Addr: two.Addr().String()}})
	if _, err := get(t, one, "board-3", "/"); !errors.Is(err, ErrPeerSilent) {
		t.Errorf("board-2 was accepted as board-3: %v", err)
	}
}

// During a key rotation, boards that have the old and the new key reach
// boards on either side of the change.
func TestKeyRotation(t *testing.T) {
	old, changed := rackKey(1), rackKey(2)
	cases := []struct {
		name           string
		caller, called [][]byte
		want           bool
	}{
		{"before and during", [][]byte{old}, [][]byte{old, changed}, true},
		{"during and before", [][]byte{old, changed}, [][]byte{old}, true},
		{"during, then new first", [][]byte{old, changed}, [][]byte{changed, old}, true},
		{"after and during", [][]byte{changed}, [][]byte{changed, old}, true},
		{"before and after", [][]byte{old}, [][]byte{changed}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			one, two := newTestLink(t, "board-1", 0, c.caller...), newTestLink(t, "board-2", 0, c.called...)
			serveLink(t, one, http.NotFoundHandler())
			serveLink(t, two, http.NotFoundHandler())
			one.SetPeers([]Peer{{Name: "board-2", Addr: two.Addr().String()}})
			if err := one.pingPeer(one.findPeer("board-2")); (err == nil) != c.want {
				t.Errorf("Ping: %v, want success: %v", err, c.want)
			}
		})
	}
}

// A request must not hang on a board that accepts connections but does not run,
// as when its process is stopped, nor on one whose machine is gone.
func TestDeadBoardFailsWithinHalfAPeerTimeout(t *testing.T) {
	const peerTimeout = 200 * time.Millisecond
	one := newTestLink(t, "board-1", peerTimeout, rackKey(1))
	serveLink(t, one, http.NotFoundHandler())
	frozen, err := net.Listen("tcp", "127.0.0.1:0") // nobody ever accepts
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	one.SetPeers([]Peer{{Name: "frozen", Addr: frozen.Addr().String()}, {Name: "gone", Addr: gone.Addr().String()}})
	for _, board := range []string{"frozen", "gone"} {
		if _, err := get(t, one, board, "/"); !errors.Is(err, ErrPeerSilent) {
			t.Errorf("%s: %v, want ErrPeerSilent", board, err)
		}
		if one.Up(board) {
			t.Errorf("%s still counts as up", board)
		}
	}
}

// A slow but live board is awaited, both for the response and
// during its body.
func TestSlowBoardIsAwaited(t *testing.T) {
	const peerTimeout = 2 * time.Second // three eighths of it are for a ping
	one, two := newTestLink(t, "board-1", peerTimeout, rackKey(1)), newTestLink(t, "board-2", peerTimeout, rackKey(1))
	serveLink(t, one, http.NotFoundHandler())
	serveLink(t, two, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(peerTimeout * 3 / 5)
		io.WriteString(w, "slow ")
		w.(http.Flusher).Flush()
		time.Sleep(peerTimeout * 3 / 5)
		io.WriteString(w, "but there")
	}))
	one.SetPeers([]Peer{{Name: "board-2", Addr: two.Addr().String()}})
	// As the purge messages do, so that a ping finds an open connection.
	for one.pingPeer(one.findPeer("board-2")) != nil {
		time.Sleep(time.Millisecond)
	}
	if body, err := get(t, one, "board-2", "/"); err != nil || body != "slow but there" {
		t.Errorf("got %q, %v", body, err)
	}
}

// If a board dies during a response, the read of the body returns ErrPeerSilent.
func TestBoardDiesDuringResponse(t *testing.T) {
	one, two := newTestLink(t, "board-1", 0, rackKey(1)), newTestLink(t, "board-2", 0, rackKey(1))
	serveLink(t, one, http.NotFoundHandler())
	serveLink(t, two, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "the first")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	one.SetPeers([]Peer{{Name: "board-2", Addr: two.Addr().String()}})
	body, err := get(t, one, "board-2", "/")
	if !strings.HasPrefix(body, "the first") || !errors.Is(err, ErrPeerSilent) {
		t.Errorf("got %q, %v; want the first bytes and ErrPeerSilent", body, err)
	}
}

func TestCancelledRequestDoesNotMarkTheBoardDown(t *testing.T) {
	one, two := newTestLink(t, "board-1", 0, rackKey(1)), newTestLink(t, "board-2", 0, rackKey(1))
	serveLink(t, one, http.NotFoundHandler())
	reached := make(chan struct{})
	serveLink(t, two, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(reached)
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // no reply that could still get through
	}))
	one.SetPeers([]Peer{{Name: "board-2", Addr: two.Addr().String()}})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-reached; cancel() }()
	r, err := http.NewRequest(http.MethodGet, "http://any/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Do(ctx, "board-2", r); !errors.Is(err, context.Canceled) || errors.Is(err, ErrPeerSilent) {
		t.Errorf("got %v, want context.Canceled alone", err)
	}
	if !one.Up("board-2") {
		t.Error("the board counts as down because a client went away")
	}
}
