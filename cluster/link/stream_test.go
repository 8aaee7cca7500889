package link

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// echoBoard answers each line on a stream with the name of its opener and the line in capitals.
func echoBoard(conn net.Conn, board string) {
	go func() {
		defer conn.Close()
		in := bufio.NewScanner(conn)
		for in.Scan() {
			if _, err := io.WriteString(conn, board+" "+strings.ToUpper(in.Text())+"\n"); err != nil {
				return
			}
		}
	}()
}

func TestStreamGoesBothWays(t *testing.T) {
	one := newTestLink(t, "one", 0, rackKey(1))
	two := newTestLink(t, "two", 0, rackKey(1))
	serveLink(t, one, http.NotFoundHandler())
	mux := http.NewServeMux()
	mux.Handle("GET /v1/echo", StreamHandler(echoBoard))
	serveLink(t, two, mux)
	one.SetPeers([]Peer{{Name: "two", Addr: two.Addr().String()}})

	conn, err := one.Stream(context.Background(), "two", "/v1/echo")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, line := range []string{"berry", "leaf"} {
		if _, err := io.WriteString(conn, line+"\n"); err != nil {
			t.Fatal(err)
		}
		got, err := in.ReadString('\n')
		if want := "one " + strings.ToUpper(line) + "\n"; err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	if err := conn.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	var late net.Error
	if _, err := in.ReadByte(); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("a deadline on a stream: %v", err)
	}
}

func TestStreamThatIsNotAccepted(t *testing.T) {
	one := newTestLink(t, "one", 0, rackKey(1))
	two := newTestLink(t, "two", 0, rackKey(1))
	stranger := newTestLink(t, "stranger", 0, rackKey(2))
	serveLink(t, one, http.NotFoundHandler())
	serveLink(t, stranger, http.NotFoundHandler())
	mux := http.NewServeMux()
	mux.Handle("GET /v1/echo", StreamHandler(echoBoard))
	serveLink(t, two, mux)
	peers := []Peer{{Name: "two", Addr: two.Addr().String()}}
	one.SetPeers(peers)
	stranger.SetPeers(peers)

	if _, err := one.Stream(context.Background(), "two", "/v1/other"); !errors.Is(err, ErrNoStream) {
		t.Errorf("an unknown path: %v", err)
	}
	if _, err := one.Stream(context.Background(), "nine", "/v1/echo"); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("an unknown board: %v", err)
	}
	if conn, err := stranger.Stream(context.Background(), "two", "/v1/echo"); err == nil {
		conn.Close()
		t.Error("a board of another rack got a stream")
	}
	// A request for the stream path without Upgrade learns which protocol to name.
	r, err := http.NewRequest(http.MethodGet, "http://any/v1/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := one.Do(context.Background(), "two", r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired || resp.Header.Get("Upgrade") != streamProtocol {
		t.Errorf("%s, Upgrade %q", resp.Status, resp.Header.Get("Upgrade"))
	}
}
