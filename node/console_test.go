package node

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"bramble/node/config"
)

// A client that has connected to the console before the stop is answered, even if its
// request arrives after it.
func TestStopAnswersNewConsoleConnections(t *testing.T) {
	const patience = 30 * time.Second
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &board{setup: setup{cfg: config.Default(), log: slog.New(slog.DiscardHandler)}, console: listener}
	b.cfg.Orders.Directory = t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	served := make(chan error, 1)
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
	go func() { served <- b.serveConsole(ctx, page, patience) }()
	dial := func() (net.Conn, error) { return net.DialTimeout("tcp", listener.Addr().String(), patience) }
	read := func(c net.Conn) (*http.Response, error) {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return nil, err
		}
		return http.ReadResponse(bufio.NewReader(c), nil)
	}
	early, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	next, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read(next); err != nil { // then the one before it has been accepted too
		t.Fatal(err)
	}
	next.Close()
	stop()
	for c, err := dial(); err == nil; c, err = dial() { // until the listener is closed
		c.Close()
	}
	resp, err := read(early)
	if err != nil || resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("got %v, %v; want a page, the connection's last", resp, err)
	}
	early.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
