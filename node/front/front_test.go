package front

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// running starts a Front on loopback and stops it when the test ends.
func running(t *testing.T, limit int, handler http.Handler) (*Front, context.CancelFunc, <-chan error) {
	t.Helper()
	f, err := New(Config{
		Listen: "127.0.0.1:0", Handler: handler, MaxConnections: limit,
		HeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, DrainTimeout: 5 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx); close(served) }()
	t.Cleanup(func() { stop(); <-served })
	return f, stop, served
}

// exchange sends a request and reads the reply's head.
func exchange(conn net.Conn) (*http.Response, error) {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(conn), nil)
}

func ask(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	resp, err := exchange(conn)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func dial(t *testing.T, f *Front) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// until waits until a condition holds that another goroutine brings about.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

func TestBeyondMaxConnectionsAClientIsRefused(t *testing.T) {
	f, _, _ := running(t, 1, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") }))
	first := dial(t, f)
	if resp := ask(t, first); resp.StatusCode != http.StatusOK {
		t.Fatalf("the first connection got %s", resp.Status)
	}
	second := dial(t, f)
	resp := ask(t, second)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the second connection got %s with Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasSuffix(string(body), "</html>") {
		t.Errorf("the refusal's body is not whole: %q, %v", body, err)
	}
	if got := f.Counts(); got.Open != 1 || got.Refused != 1 || got.Replies != 1 {
		t.Errorf("counts are %+v", got)
	}
	first.Close()
	for deadline := time.Now().Add(10 * time.Second); f.Counts().Open != 0; {
		if time.Now().After(deadline) {
			t.Fatal("a closed connection still counts as open")
		}
		time.Sleep(time.Millisecond)
	}
	if resp := ask(t, dial(t, f)); resp.StatusCode != http.StatusOK {
		t.Errorf("after the first has gone, a new one got %s", resp.Status)
	}
}

func TestStopCutsNoReplyOff(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	f, stop, served := running(t, 10, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		close(began)
		<-goOn
		io.WriteString(w, "the end")
	}))
	conn := dial(t, f)
	type reply struct {
		*http.Response
		err error
	}
	replied := make(chan reply, 1)
	go func() {
		resp, err := exchange(conn)
		replied <- reply{resp, err}
	}()
	<-began
	stop()
	close(goOn)
	got := <-replied
	if got.err != nil {
		t.Fatal(got.err)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil || string(body) != "the end" {
		t.Errorf("the reply under way became %q, %v", body, err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	if conn, err := net.Dial("tcp", f.Addr().String()); err == nil {
		conn.Close()
		t.Error("a stopped listener still accepts")
	}
}

func TestDrainingAnswersAndCloses(t *testing.T) {
	f, _, _ := running(t, 10, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") }))
	f.SetDraining(true)
	if resp := ask(t, dial(t, f)); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("a draining listener answered %s, last reply of its connection: %v", resp.Status, resp.Close)
	}
	f.SetDraining(false)
	if resp := ask(t, dial(t, f)); resp.Close {
		t.Error("a listener that drains no more still closes connections")
	}
}
