//go:build unix

package node_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// While a stopping board still waits for a slow client, it refuses new connections at
// once, so that their clients can go to another board instead of waiting and being
// reset at the end.
func TestStoppingBoardRefusesNewConnections(t *testing.T) {
	runBeside(t)
	r := newRack(t, 1, "")
	b := r.boards[0]
	b.start()
	b.waitReady()
	address := strings.TrimPrefix(b.http, "http://")
	slow, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := io.WriteString(slow, "GET / HTTP/1.1\r\nHost: "); err != nil { // the rest comes later
		t.Fatal(err)
	}
	eventually(t, "the slow client to be there", func() (bool, string) {
		return b.metric("bramble_http_connections_open") == 1, ""
	})
	b.signal(syscall.SIGTERM)
	eventually(t, "a newcomer to be refused", func() (bool, string) {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
			return false, "let in"
		}
		return errors.Is(err, syscall.ECONNREFUSED), err.Error()
	})
	select {
	case <-b.exited:
		t.Fatal("the board has already stopped")
	default:
	}
	if _, err := io.WriteString(slow, "localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := slow.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(slow); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200 ") || !strings.Contains(string(text), "Connection: close") {
		t.Errorf("the client that was connected got %.100q, %v", text, err)
	}
	<-b.exited
}
