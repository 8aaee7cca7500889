package front

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"bramble/node/front/admission"
)

// newRequester returns a function that sends requests, on one connection or more, as its protocol
// needs.
func newRequester(t *testing.T, f *Front, client *tls.Config, h2 bool) func(path string) (*http.Response, string) {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	tr := &http.Transport{TLSClientConfig: client.Clone(), Protocols: &protocols}
	t.Cleanup(tr.CloseIdleConnections)
	c := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	return func(path string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "https://"+f.https.listener.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = testHost
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if h2 != (resp.ProtoMajor == 2) {
			t.Fatalf("the protocol is %s", resp.Proto)
		}
		return resp, string(body)
	}
}

// wantRefusal checks that a refusal says when to come back, to people and to programs.
func wantRefusal(t *testing.T, resp *http.Response, body string) {
	t.Helper()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "5" || body != refusalPage {
		t.Errorf("%s: %s, Retry-After %q, %q", resp.Proto, resp.Status, resp.Header.Get("Retry-After"), body)
	}
}

func TestOverTLSAClientIsRefusedToo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	for name, h2 := range map[string]bool{"http/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Run("permits", func(t *testing.T) {
				h := held{newTestSite(t), make(chan struct{}, 100), make(chan struct{})}
				change, client := withTLS(t)
				f, _, _ := startFront(t, h.testSite, change, func(cfg *Config) { cfg.Handler, cfg.MaxRequests = h, 1 })
				for i := range 1 + 4 {
					v := dialTLS(t, f, client)
					v.send(get("/held"))
					until(t, "it has a permit or waits for one", func() bool {
						return f.gate.Usage().Permits == 1 && f.gate.Usage().Waiting == int64(i)
					})
				}
				ask := newRequester(t, f, client, h2)
				resp, body := ask("/held")
				wantRefusal(t, resp, body)
				close(h.goOn)
				until(t, "all have gone", func() bool { return f.gate.Usage().Permits == 0 })
				if resp, _ := ask("/never"); resp.StatusCode != http.StatusOK {
					t.Errorf("then it gets %s", resp.Status)
				}
			})
			t.Run("pressure", func(t *testing.T) {
				change, client := withTLS(t)
				f, _, _ := startFront(t, newTestSite(t), change, func(cfg *Config) { cfg.Pressure = func() float64 { return 1 } })
				until(t, "it is measured", func() bool { return f.Counts().Pressure == 1 })
				resp, body := newRequester(t, f, client, h2)("/never")
				wantRefusal(t, resp, body)
			})
			for kind, limit := range map[string]func(*Config){
				"client": func(cfg *Config) { cfg.ClientRequests = 1 }, "network": func(cfg *Config) { cfg.NetworkRequests = 1 },
			} {
				t.Run(kind, func(t *testing.T) {
					change, client := withTLS(t)
					f, _, _ := startFront(t, newTestSite(t), change, limit)
					ask := newRequester(t, f, client, h2)
					for range 2 {
						if resp, _ := ask("/"); resp.StatusCode != http.StatusOK {
							t.Errorf("within the limit: %s", resp.Status)
						}
					}
					resp, body := ask("/")
					wantRefusal(t, resp, body)
					if f.Counts().Limited != 1 {
						t.Errorf("counts are %+v", f.Counts())
					}
				})
			}
		})
	}
}

// A refusal over TLS would take a handshake, so the connection is closed without one.
func TestOverTLSBeyondMaxConnectionsAClientIsClosed(t *testing.T) {
	for name, limit := range map[string]func(*Config){
		"table":   func(cfg *Config) { cfg.MaxConnections = 2 },
		"client":  func(cfg *Config) { cfg.ClientConnections = 1 },
		"network": func(cfg *Config) { cfg.NetworkConnections = 1 },
	} {
		change, client := withTLS(t)
		f, _, _ := startFront(t, newTestSite(t), change, limit)
		for range 2 {
			dialTLS(t, f, client)
		}
		v := dialAddr(t, f.https.listener.Addr())
		if n, err := v.r.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		if got := f.Counts(); got.Open != 2 || got.Refused != 1 {
			t.Errorf("%s: counts are %+v", name, got)
		}
	}
}

// large has a page that is larger than a slow reader's window.
type large struct{ *testSite }

func (l large) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/large" {
		l.testSite.ServeHTTP(w, r)
		return
	}
	_, _ = io.WriteString(w, strings.Repeat("0123456789abcdef", 4<<10))
}

// Two clients that open no window hold no permits.
func TestHTTP2ClientsThatReadNothingHoldNoSlots(t *testing.T) {
	t.Parallel()
	h := large{newTestSite(t)}
	change, client := withTLS(t)
	f, _, _ := startFront(t, h.testSite, change, func(cfg *Config) { cfg.Handler, cfg.MaxRequests, cfg.WriteTimeout = h, 4, time.Minute })
	ask := func(c *http2Client, requests uint32) {
		for i := range requests {
			if c.ask(2*i+1, "/large") != nil {
				return // it has been cut off
			}
		}
	}
	ask(dialHTTP2(t, f, client, 0), 4)
	until(t, "they are parked", func() bool { return f.gate.Usage().Parked == 4 && f.gate.Usage().Permits == 0 })
	othersAreAnswered(t, f, client)
	greedy := dialHTTP2(t, f, client, 0)
	ask(greedy, http2Streams)
	until(t, "the client with most is evicted", func() bool {
		_, err := greedy.ReadFrame()
		return err != nil
	})
	othersAreAnswered(t, f, client)
	until(t, "there is room", func() bool { return f.gate.Usage().Streams <= 4 && f.gate.Usage().Permits == 0 })
}

// A client that begins many forms and ends none is evicted.
func TestHTTP2ClientsThatSendNothingAreEvicted(t *testing.T) {
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change, func(cfg *Config) {
		cfg.MaxRequests, cfg.BodyRate, cfg.BodyTimeout = 4, 1000, time.Minute
		cfg.WriteTimeout = time.Minute
	})
	const most = 4 * admission.StreamsPerPermit
	c := dialHTTP2(t, f, client, 1<<20)
	for i := range uint32(most) {
		if err := c.WriteHeaders(c.form(2*i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all are awaited", func() bool { return f.gate.Usage().Streams == most })
	othersAreAnswered(t, f, client)
	until(t, "it is cut off", func() bool { return f.gate.Usage().Streams == 0 })
}

// form begins a request whose body follows.
func (c *http2Client) form(stream uint32) http2.HeadersFrameParam {
	c.request("POST", "/form")
	return http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.block.Bytes(), EndHeaders: true}
}
