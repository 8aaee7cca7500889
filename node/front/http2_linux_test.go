package front

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Client is a client that speaks HTTP/2 frame by frame.
type http2Client struct {
	*http2.Framer
	t      *testing.T
	to     net.Conn
	fields *hpack.Encoder
	block  bytes.Buffer
}

// dialHTTP2 opens a connection on which the server may send window bytes to a stream.
func dialHTTP2(t *testing.T, f *Front, client *tls.Config, window uint32) *http2Client {
	t.Helper()
	cfg := client.Clone()
	cfg.NextProtos = []string{h2Proto}
	return startHTTP2(t, dialTLS(t, f, cfg), window)
}

// startHTTP2 begins to speak HTTP/2 on a connection that has negotiated it.
func startHTTP2(t *testing.T, v *testClient, window uint32) *http2Client {
	t.Helper()
	v.send(http2.ClientPreface)
	c := &http2Client{Framer: http2.NewFramer(v, v.r), t: t, to: v}
	c.fields = hpack.NewEncoder(&c.block)
	if err := c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		t.Fatal(err)
	}
	return c
}

// request puts the fields of a request into block.
func (c *http2Client) request(method, path string) {
	c.block.Reset()
	for _, field := range []hpack.HeaderField{
		{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: testHost}, {Name: ":path", Value: path},
	} {
		if err := c.fields.WriteField(field); err != nil {
			c.t.Fatal(err)
		}
	}
}

// ask sends a whole request, and returns the error of writing it.
func (c *http2Client) ask(stream uint32, path string) error {
	c.request("GET", path)
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true})
}

// othersAreAnswered checks that other clients are answered meanwhile, by the fast path and
// by HTTP/2.
func othersAreAnswered(t *testing.T, f *Front, client *tls.Config) {
	t.Helper()
	v := dialTLS(t, f, client)
	v.send(get("/"))
	if resp, _ := v.reply(); resp.StatusCode != http.StatusOK {
		t.Errorf("another client gets %s", resp.Status)
	}
	c := dialHTTP2(t, f, client, 1<<20)
	if err := c.ask(1, "/"); err != nil {
		t.Fatal(err)
	}
	c.awaitReply(1)
}

// awaitReply reads until a stream's reply has ended.
func (c *http2Client) awaitReply(stream uint32) {
	c.t.Helper()
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			c.t.Fatal(err)
		}
		if data, ok := frame.(*http2.DataFrame); ok && data.StreamID == stream && data.StreamEnded() {
			return
		}
	}
}

// A client that resets its requests at once (CVE-2023-44487) has no more replies made at
// a time than a client that waits for them.
func TestAFloodOfResetsIsBounded(t *testing.T) {
	var now, most atomic.Int64
	over := make(chan struct{})
	release := sync.OnceFunc(func() { close(over) })
	h := newTestSite(t)
	change, client := withTLS(t)
	f, _, _ := startFront(t, h, change, func(cfg *Config) {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/slow" {
				h.ServeHTTP(w, r)
				return
			}
			n := now.Add(1)
			for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
			}
			<-over // does not notice whether a client waits
			now.Add(-1)
		})
	})
	t.Cleanup(release) // before the listener waits for them
	c := dialHTTP2(t, f, client, 1<<20)
	enough := make(chan error, 1)
	go func() {
		for {
			frame, err := c.ReadFrame()
			if away, ok := frame.(*http2.GoAwayFrame); ok && away.ErrCode != http2.ErrCodeEnhanceYourCalm {
				err = http2.ConnectionError(away.ErrCode)
			}
			if err != nil {
				enough <- err
				return
			}
		}
	}()
	const flood = 5000
	for i := range uint32(flood) {
		if c.ask(2*i+1, "/slow") != nil || c.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
			break // the server has ended the connection
		}
	}
	othersAreAnswered(t, f, client)
	if most.Load() > http2Streams {
		t.Errorf("%d replies were made at once, of %d at most", most.Load(), http2Streams)
	}
	release()
	// The reason may be lost, but not that the connection ends.
	var late net.Error
	err := <-enough
	// On a machine so busy that requests are refused at once, none waits.
	refused := errors.Is(err, http2.ConnectionError(http2.ErrCodeNo)) && f.gate.Shed() > 0
	if errors.As(err, &late) && late.Timeout() || errors.As(err, new(http2.ConnectionError)) && !refused {
		t.Errorf("the connection ends with %v", err)
	}
	until(t, "nothing is being made any more", func() bool { return f.Counts().InFlight == 0 })
}

// A client that requests much and reads nothing is cut off.
func TestASlowHTTP2ReaderIsCutOff(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	big := strings.Repeat("0123456789abcdef", 16<<10)
	h := newTestSite(t)
	change, client := withTLS(t)
	f, _, _ := startFront(t, h, change, func(cfg *Config) {
		cfg.WriteTimeout, cfg.IdleTimeout = 300*time.Millisecond, 300*time.Millisecond
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/big" {
				h.ServeHTTP(w, r)
				return
			}
			_, _ = io.WriteString(w, big)
		})
	})
	c := dialHTTP2(t, f, client, 10)
	for i := range uint32(http2Streams) {
		if err := c.ask(2*i+1, "/big"); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all are being answered", func() bool { return f.Counts().Replies > 0 || f.Counts().InFlight == http2Streams })
	othersAreAnswered(t, f, client)
	until(t, "it is cut off", func() bool { return f.Counts().InFlight == 0 && f.Counts().Open == 0 })
}

// A client that opens no window delays the refusals of net/http itself for a moment only;
// other replies have their full time.
func TestRefusalsDoNotWaitForTheirClient(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for two seconds")
	}
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change, func(cfg *Config) { cfg.WriteTimeout = time.Minute })
	c := dialHTTP2(t, f, client, 0)
	if err := c.ask(1, "/"); err != nil {
		t.Fatal(err)
	}
	const refused = 20
	for i := range uint32(refused) {
		c.request("GET", "/")
		c.block.Write(bytes.Repeat([]byte{0x80 | 32}, maxHeader/32)) // "cookie: ", a byte each (RFC 7541 §6.1)
		err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 3, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	for reset := 0; reset < refused; {
		frame, err := c.ReadFrame()
		if err != nil {
			t.Fatalf("after %d streams were reset: %v", reset, err)
		}
		if frame.Header().Type == http2.FrameRSTStream {
			reset++
			if frame.Header().StreamID == 1 {
				t.Fatal("the page was reset too")
			}
		}
	}
	if err := c.WriteWindowUpdate(1, 1<<20); err != nil {
		t.Fatal(err)
	}
	c.awaitReply(1)
}
