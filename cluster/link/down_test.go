package link

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var errUpload = errors.New("the client broke its upload off")

// brokenUpload is a request body that breaks off.
type brokenUpload struct{}

func (brokenUpload) Read([]byte) (int, error) { return 0, errUpload }

// What an origin or a client breaks off, or does wrong, says nothing about the board between them.
func TestBrokenExchangeDoesNotMarkTheBoardDown(t *testing.T) {
	one, two := newTestLink(t, "board-1", 0, rackKey(1)), newTestLink(t, "board-2", 0, rackKey(1))
	serveLink(t, one, http.NotFoundHandler())
	mux := http.NewServeMux()
	mux.HandleFunc("/begun", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "hello")
	})
	mux.HandleFunc("/silent", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/header", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 2*maxHeaderBytes))
	})
	mux.HandleFunc("/upload", func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	mux.HandleFunc("/whole", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "whole") })
	serveLink(t, two, mux)
	one.SetPeers([]Peer{{Name: "board-2", Addr: two.Addr().String()}})
	for _, path := range []string{"/begun", "/short", "/silent", "/header", "/upload"} {
		var body io.Reader
		if path == "/upload" {
			body = brokenUpload{}
		}
		r, err := http.NewRequest(http.MethodPost, "http://any"+path, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := one.Do(context.Background(), "board-2", r)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if !errors.Is(err, ErrPeerSilent) {
			t.Errorf("%s: %v, want ErrPeerSilent", path, err)
		}
		if !one.Up("board-2") {
			t.Errorf("%s: the board counts as down at once", path)
		}
		if err := one.pingPeer(one.findPeer("board-2")); err != nil || !one.Up("board-2") {
			t.Errorf("%s: after a ping (%v) the board is up: %v", path, err, one.Up("board-2"))
		}
	}
	if body, err := get(t, one, "board-2", "/whole"); err != nil || body != "whole" {
		t.Errorf("the next request: %q, %v", body, err)
	}
}

// cable passes connections on to a board while it is plugged in.
type cable struct {
	net.Listener
	board    string
	isPulled atomic.Bool
}

func (c *cable) pass() {
	for {
		conn, err := c.Accept()
		if err != nil {
			return
		}
		if c.isPulled.Load() {
			conn.Close()
			continue
		}
		inner, err := net.Dial("tcp", c.board)
		if err != nil {
			conn.Close()
			continue
		}
		go func() { io.Copy(inner, conn); inner.Close() }()
		go func() { io.Copy(conn, inner); conn.Close() }()
	}
}

// A board that was down is used again when it is back, although no request goes to it meanwhile.
func TestBoardThatIsBackIsUpAgain(t *testing.T) {
	one, two := newTestLink(t, "board-1", 0, rackKey(1)), newTestLink(t, "board-2", 0, rackKey(1))
	serveLink(t, one, http.NotFoundHandler())
	serveLink(t, two, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "back") }))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := &cable{Listener: listener, board: two.Addr().String()}
	c.isPulled.Store(true)
	go c.pass()
	peers := []Peer{{Name: "board-2", Addr: listener.Addr().String()}}
	one.SetPeers(peers)
	if _, err := get(t, one, "board-2", "/"); !errors.Is(err, ErrPeerSilent) || one.Up("board-2") {
		t.Fatalf("a board that cannot be reached: %v, up: %v", err, one.Up("board-2"))
	}
	if one.pingPeer(one.findPeer("board-2")) == nil || one.Up("board-2") {
		t.Error("it is up after a ping without an answer")
	}
	one.SetPeers(peers) // each second, and changes nothing
	if one.Up("board-2") {
		t.Error("the same set of boards made it up")
	}
	c.isPulled.Store(false)
	for end := time.Now().Add(patience); !one.Up("board-2"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the board is back and still counts as down")
		}
	}
	if body, err := get(t, one, "board-2", "/"); err != nil || body != "back" {
		t.Errorf("got %q, %v", body, err)
	}
}

// A board that left the rack and joined again begins anew.
func TestMembershipClearsDown(t *testing.T) {
	one := newTestLink(t, "board-1", 0, rackKey(1))
	serveLink(t, one, http.NotFoundHandler())
	peers := []Peer{{Name: "board-2", Addr: "127.0.0.1:1"}}
	one.SetPeers(peers)
	one.markDown(one.findPeer("board-2"))
	if one.Up("board-2") {
		t.Fatal("it is up")
	}
	one.SetPeers(nil)
	one.SetPeers(peers)
	if !one.Up("board-2") {
		t.Error("it joined again and counts as down")
	}
}
