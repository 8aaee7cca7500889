package front

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// Whoever sends frames that ask for nothing is cut off, whichever they are. A flood of
// PING is too, but as often by net/http's own bound on answers that wait to be sent.
func TestFloodsOfSmallFramesEndTheirConnection(t *testing.T) {
	for name, flood := range map[string]func(c *framed, n uint32) error{
		"settings": func(c *framed, _ uint32) error { return c.WriteSettings() },
		"window":   func(c *framed, n uint32) error { return c.WriteWindowUpdate(0, 1) },
		"priority": func(c *framed, n uint32) error {
			return c.WritePriority(2*n+1, http2.PriorityParam{StreamDep: 0, Weight: 1})
		},
		"resets": func(c *framed, n uint32) error {
			if err := c.ask(2*n+1, "/slow"); err != nil {
				return err
			}
			return c.WriteRSTStream(2*n+1, http2.ErrCodeCancel)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			change, client := withTLS(t)
			f, _, _ := open(t, h, change, func(cfg *Config) {
				cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/slow" {
						h.ServeHTTP(w, r)
						return
					}
					<-r.Context().Done()
				})
			})
			c := visitH2(t, f, client, 1<<20)
			go func() { // it takes all that it is told
				for {
					if _, err := c.ReadFrame(); err != nil {
						return
					}
				}
			}()
			const most = 8 * h2Advance / 9 // no frame has less than nine bytes: a flood without end
			ended := false
			for n := uint32(0); n < most && !ended; n++ {
				ended = flood(c, n) != nil
			}
			if shed := f.gate.shed.Load(); !ended || shed == 0 {
				t.Errorf("%d of them ended the connection: %v; %d was counted as too much", most, ended, shed)
			}
			othersAreAnswered(t, f, client)
		})
	}
}

// Who asks a lot, with cookies that no two requests share, and sends a large body, is
// not taken for one of them.
func TestABusyHTTP2ClientIsNoFlood(t *testing.T) {
	h := newHouse(t)
	change, client := withTLS(t)
	f, _, _ := open(t, h, change, func(cfg *Config) {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d %v", n, err)
		})
	})
	agent := &http.Client{Transport: &http.Transport{
		TLSClientConfig: client.Clone(), ForceAttemptHTTP2: true, MaxConnsPerHost: 1,
	}}
	defer agent.CloseIdleConnections()
	at := "https://" + f.SecureAddr().String() + "/take"
	ask := func(body io.Reader, cookie string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = testHost
		r.Header.Set("Cookie", cookie)
		resp, err := agent.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.ProtoMajor != 2 {
			t.Fatalf("%s: %v", resp.Proto, err)
		}
		return string(text)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		cookie := make([]byte, 4000)
		for i := range cookie {
			cookie[i] = 'a' + byte(random.IntN(26))
		}
		if got := ask(nil, string(cookie)); got != "0 <nil>" {
			t.Fatalf("got %q", got)
		}
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	if got := ask(bytes.NewReader(large), "a=b"); got != fmt.Sprintf("%d <nil>", len(large)) {
		t.Errorf("of %d bytes there came %s", len(large), got)
	}
	if shaken := f.Counts().TLS.Handshakes; shaken != 1 {
		t.Errorf("%d connections were needed", shaken)
	}
}
