package front

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"bramble/node/front/http1/http1test"
)

// startFront starts a Front over a testSite on loopback and stops it when the test ends.
func startFront(t testing.TB, h *testSite, change ...func(*Config)) (*Front, context.CancelFunc, <-chan error) {
	t.Helper()
	began := time.Now() // the rates' clock stands, so that a slow machine allows no more than a fast one
	cfg := Config{
		Listen: "127.0.0.1:0", Handler: h, FastHandler: h, MaxConnections: 100,
		HeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, DrainTimeout: 5 * time.Second,
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return began },
	}
	for _, f := range change {
		f(&cfg)
	}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx); close(served) }()
	t.Cleanup(func() { stop(); <-served })
	return f, stop, served
}

// testClient is a client with one connection.
type testClient struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func dialFront(t testing.TB, f *Front) *testClient {
	t.Helper()
	return dialAddr(t, f.Addr())
}

func dialAddr(t testing.TB, addr net.Addr) *testClient {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &testClient{c, t, bufio.NewReader(c)}
}

func (c *testClient) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// reply reads one whole reply.
func (c *testClient) reply() (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(body)
}

// ends reports an error if the server does not close the connection cleanly.
func (c *testClient) ends() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Errorf("the connection ends with %q, %v", rest, err)
	}
}

func TestOneConnectionServedInAllWays(t *testing.T) {
	h := newTestSite(t)
	f, _, _ := startFront(t, h)
	v := dialFront(t, f)
	for round := range int64(3) {
		v.send(get("/q?x=1&y=%20")) // the fast path
		if resp, body := v.reply(); resp.StatusCode != 200 || body != "<p>/q" || resp.Header.Get("Age") != "17" {
			t.Fatalf("got %v %q", resp, body)
		}
		v.send(get("/gone", "X-Odd: 1")) // lent
		if resp, body := v.reply(); resp.StatusCode != 410 || body != "<p>/gone" {
			t.Fatalf("got %v %q", resp, body)
		}
		if got := f.Counts(); got.Fast != round+1 || got.Lent != round+1 || got.HandedOff != 0 {
			t.Fatalf("counts are %+v", got)
		}
	}
	v.send(get("/never") + get("/gone") + get("/never/2") + lines("POST /x HTTP/1.1", hostLine, "Content-Length: 2") + "ab" + get("/gone"))
	for i, want := range []string{"<p>/never", "<p>/gone", "<p>/never/2", "<p>/x", "<p>/gone"} {
		if _, body := v.reply(); body != want {
			t.Errorf("reply %d is %q, want %q", i, body, want)
		}
	}
	if got := f.Counts(); got.Fast != 4 || got.Lent != 5 || got.HandedOff != 1 || got.Open != 1 || got.Replies != 11 {
		t.Errorf("counts are %+v", got)
	}
	v.Close()
	until(t, "the connection leaves the table", func() bool { return f.Counts().Open == 0 })
}

func TestBytesMayArriveOneByOne(t *testing.T) {
	f, _, _ := startFront(t, newTestSite(t))
	v := dialFront(t, f)
	text := http1test.Browsers()["chrome"] + get("/never", "X-Odd: 1") + http1test.Browsers()["wrk"] + lines("GET / HTTP/1.1", "Host : x")
	for i := range len(text) {
		v.send(text[i : i+1])
	}
	for i, want := range []int{200, 200, 200, 400} {
		if resp, _ := v.reply(); resp.StatusCode != want {
			t.Errorf("reply %d is %s, want %d", i, resp.Status, want)
		}
	}
	v.ends()
	if got := f.Counts(); got.Fast != 2 || got.Lent != 1 || got.HandedOff != 1 {
		t.Errorf("counts are %+v", got)
	}
}

func TestALongRequestIsHandedOff(t *testing.T) {
	f, _, _ := startFront(t, newTestSite(t))
	v := dialFront(t, f)
	v.send(get("/gone", "Cookie: "+strings.Repeat("c", maxRequest)))
	if resp, body := v.reply(); resp.StatusCode != http.StatusGone || body != "<p>/gone" {
		t.Errorf("got %s %q", resp.Status, body)
	}
	if got := f.Counts(); got.HandedOff != 1 || got.Fast != 0 {
		t.Errorf("counts are %+v", got)
	}
}

func TestConnectionsEndAsTheyShould(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a second")
	}
	f, _, _ := startFront(t, newTestSite(t))
	for name, text := range map[string]string{
		"close":            get("/", "Connection: close"),
		"1.0":              lines("GET / HTTP/1.0", hostLine),
		"lent close":       get("/never", "Connection: close"),
		"handed-off close": get("/", "Connection: x, close"),
		"pipeline after":   get("/", "Connection: close") + strings.Repeat(get("/"), 500),
	} {
		v := dialFront(t, f)
		v.send(text)
		if resp, _ := v.reply(); resp.StatusCode != 200 || !resp.Close {
			t.Errorf("%s: %s, last: %v", name, resp.Status, resp.Close)
		}
		v.ends()
	}
	// The client closes its side after its request, and after half a request.
	for _, text := range []string{get("/"), get("/never"), ""} {
		v := dialFront(t, f)
		v.send(text)
		v.Conn.(*net.TCPConn).CloseWrite()
		if text != "" {
			if resp, _ := v.reply(); resp.StatusCode != 200 {
				t.Errorf("got %s", resp.Status)
			}
		}
		v.ends()
	}
	v := dialFront(t, f)
	v.send("GET / HT")
	v.Conn.(*net.TCPConn).CloseWrite()
	if resp, _ := v.reply(); resp.StatusCode != 400 {
		t.Errorf("half a request gets %s", resp.Status)
	}
	v.ends()
	until(t, "all leave the table", func() bool { return f.Counts().Open == 0 })
}

func TestManyPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	f, _, _ := startFront(t, newTestSite(t))
	v := dialFront(t, f)
	const rounds = 500
	go func() { // more than the socket holds: replies must wait for the reader
		for range rounds {
			io.WriteString(v, get("/")+get("/gone")+get("/never")+get("/"))
		}
	}()
	for i := range rounds {
		for _, want := range []int{200, 410, 200, 200} {
			if resp, _ := v.reply(); resp.StatusCode != want {
				t.Fatalf("round %d: %s, want %d", i, resp.Status, want)
			}
		}
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	f, _, _ := startFront(t, newTestSite(t), func(cfg *Config) {
		cfg.HeaderTimeout, cfg.IdleTimeout, cfg.WriteTimeout = 200*time.Millisecond, 400*time.Millisecond, 300*time.Millisecond
	})
	silent, slow, idle, reader := dialFront(t, f), dialFront(t, f), dialFront(t, f), dialFront(t, f)
	idle.send(get("/"))
	idle.reply()
	go func() {
		for _, b := range []byte(get("/", "X: "+strings.Repeat("x", 5000))) {
			if _, err := slow.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	go func() { // never reads
		for {
			if _, err := io.WriteString(reader, strings.Repeat(get("/"), 100)); err != nil {
				return
			}
		}
	}()
	for name, v := range map[string]*testClient{"silent": silent, "idle": idle} {
		if n, err := v.r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
	until(t, "all are cut off", func() bool { return f.Counts().Open == 0 })
}

func TestHalfClosedConnectionsDoNotLinger(t *testing.T) {
	f, _, _ := startFront(t, newTestSite(t), func(cfg *Config) { cfg.IdleTimeout, cfg.HeaderTimeout = time.Hour, time.Second })
	v := dialFront(t, f)
	v.send(get("/"))
	v.Conn.(*net.TCPConn).CloseWrite()
	v.reply()
	v.ends()
	until(t, "it leaves the table", func() bool { return f.Counts().Open == 0 })
}

func TestAClientOverItsRateIsRefused(t *testing.T) {
	f, _, _ := startFront(t, newTestSite(t), func(cfg *Config) { cfg.ClientRequests = 1 })
	v := dialFront(t, f)
	v.send(get("/") + get("/never") + get("/") + get("/"))
	for i, want := range []int{200, 200, 503} {
		resp, body := v.reply()
		if resp.StatusCode != want || want == 503 && (resp.Header.Get("Retry-After") == "" || !strings.HasSuffix(body, "</html>")) {
			t.Errorf("reply %d is %s %q", i, resp.Status, body)
		}
	}
	v.ends()
	slow := dialFront(t, f)
	slow.send(lines("POST / HTTP/1.1", hostLine, "Content-Length: 0"))
	if resp, body := slow.reply(); resp.StatusCode != 503 || !resp.Close || !strings.HasSuffix(body, "</html>") {
		t.Errorf("from net/http: %s %q", resp.Status, body)
	}
	slow.ends()
	if got := f.Counts().Limited; got != 2 {
		t.Errorf("%d requests were refused, want 2", got)
	}
}

func TestAClientThatConnectsTooOftenIsClosed(t *testing.T) {
	f, _, _ := startFront(t, newTestSite(t), func(cfg *Config) { cfg.NetworkConnections = 1 })
	for range 2 {
		v := dialFront(t, f)
		v.send(get("/"))
		v.reply()
	}
	v := dialFront(t, f)
	if n, err := v.r.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the third connection got %d bytes, %v", n, err)
	}
	if got := f.Counts(); got.Refused != 1 || got.Open != 2 {
		t.Errorf("counts are %+v", got)
	}
}

func TestDrainingEndsEveryConnection(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	f, stop, served := startFront(t, newTestSite(t))
	idle, half, busy := dialFront(t, f), dialFront(t, f), dialFront(t, f)
	for _, v := range []*testClient{idle, half, busy} {
		v.send(get("/"))
		v.reply()
	}
	half.send("GET / HTTP/1.1\r\n")
	until(t, "half a request is there", func() bool { return f.conns.countIn(stateReading) == 1 })
	stop()
	until(t, "it drains", f.isDraining.Load)
	half.send(hostLine + "\r\n\r\n")
	if resp, _ := half.reply(); resp.StatusCode != 200 || !resp.Close {
		t.Errorf("the request under way got %s, last: %v", resp.Status, resp.Close)
	}
	busy.send(get("/never"))
	if resp, _ := busy.reply(); resp.StatusCode != 200 || !resp.Close {
		t.Errorf("a request on its way got %s, last: %v", resp.Status, resp.Close)
	}
	for _, v := range []*testClient{idle, half, busy} {
		v.ends()
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestTheHandlerNoticesThatAClientOnLoanHasGone(t *testing.T) {
	gone := make(chan struct{})
	f, _, _ := startFront(t, newTestSite(t), func(cfg *Config) {
		cfg.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(gone)
		})
	})
	v := dialFront(t, f)
	v.send(get("/never"))
	until(t, "it is being answered", func() bool { return f.Counts().InFlight == 1 })
	v.Close()
	<-gone
}

// A thousand clients that occupy their connections in every possible way do not slow the
// others.
func TestSlowClientsSlowNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a thousand connections")
	}
	f, _, _ := startFront(t, newTestSite(t), func(cfg *Config) { cfg.MaxConnections = 2000 })
	for i := range 1000 {
		v := dialFront(t, f)
		switch i % 3 {
		case 1:
			v.send(fmt.Sprintf("GET /%d HTTP/1.1\r\nX: ", i))
		case 2:
			v.send(strings.Repeat(get("/"), 200)) // and reads nothing
		}
	}
	v := dialFront(t, f)
	for range 100 {
		v.send(get("/"))
		if resp, _ := v.reply(); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
}
