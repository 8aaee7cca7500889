package front

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestTheRefusalIsOneReply(t *testing.T) {
	if _, rest, err := cutReply([]byte(refusal), false); err != nil || len(rest) != 0 {
		t.Errorf("%q is left, %v", rest, err)
	}
	if !strings.Contains(refusal, "Retry-After") {
		t.Error("it does not say when to come back")
	}
}

// noFiles is a listener for which no file descriptor is left until some time.
type noFiles struct {
	net.Listener
	until time.Time
	tried atomic.Int64
}

func (n *noFiles) Accept() (net.Conn, error) {
	if n.tried.Add(1); time.Now().Before(n.until) {
		return nil, syscall.EMFILE
	}
	return n.Listener.Accept()
}

func TestAcceptWaitsForFileDescriptors(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	short := &noFiles{Listener: inner, until: time.Now().Add(200 * time.Millisecond)}
	f, err := New(Config{
		Open:    func(string) (net.Listener, error) { return short, nil },
		Handler: http.NotFoundHandler(), MaxConnections: 10,
		HeaderTimeout: time.Second, IdleTimeout: time.Second, WriteTimeout: time.Second, DrainTimeout: time.Second,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	if resp := ask(t, dial(t, f)); resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %s", resp.Status)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	// 5, 10, 20, 40, 80 and 160 ms, and the connections that were accepted.
	if n := short.tried.Load(); n > 10 {
		t.Errorf("accept was tried %d times in 200 ms", n)
	}
}
