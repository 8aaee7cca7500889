package front

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"bramble/node/front/admission"
)

// A client that sends frames that request nothing is cut off, whichever they are. PING,
// and requests that are reset, are not here: net/http's own limits on pending replies end
// these as often.
func TestFloodsOfSmallFramesEndTheirConnection(t *testing.T) {
	for name, one := range map[string]func(c *http2.Framer, n uint32) error{
		"settings": func(c *http2.Framer, _ uint32) error { return c.WriteSettings() },
		"window":   func(c *http2.Framer, _ uint32) error { return c.WriteWindowUpdate(0, 1) },
		"priority": func(c *http2.Framer, n uint32) error {
			return c.WritePriority(2*n+1, http2.PriorityParam{Weight: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			change, client := withTLS(t)
			f, _, _ := startFront(t, newTestSite(t), change)
			c := dialHTTP2(t, f, client, 1<<20)
			if err := c.to.SetDeadline(time.Now().Add(time.Minute)); err != nil { // an emulated board takes its time
				t.Fatal(err)
			}
			go func() { // it reads everything
				for {
					if _, err := c.ReadFrame(); err != nil {
						return
					}
				}
			}()
			const atOnce, most = 1000, 4 * admission.Advance
			var pile bytes.Buffer
			flood := http2.NewFramer(&pile, nil)
			sent, err := 0, error(nil)
			for n := uint32(0); sent < most && err == nil; {
				for range atOnce {
					if err := one(flood, n); err != nil {
						t.Fatal(err)
					}
					n++
				}
				sent += pile.Len()
				_, err = pile.WriteTo(c.to)
			}
			until(t, "it was too much", func() bool { return f.gate.Shed() > 0 })
			until(t, "it is closed", func() bool { return f.Counts().Open == 0 })
			othersAreAnswered(t, f, client)
		})
	}
}

// A client that resets its requests again and again is cut off, but not before it could
// have left a page with all its pictures.
func TestManyResetRequestsEndTheirConnection(t *testing.T) {
	change, client := withTLS(t)
	f, _, _ := startFront(t, newTestSite(t), change, func(cfg *Config) {
		cfg.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	})
	c := dialHTTP2(t, f, client, 1<<20)
	go func() {
		for {
			if _, err := c.ReadFrame(); err != nil {
				return
			}
		}
	}()
	const most = 2 * admission.Advance / admission.PerReset
	taken := 0
	for ; taken < most; taken++ {
		stream := uint32(2*taken + 1)
		if c.ask(stream, "/never") != nil {
			break
		}
		until(t, "it is being answered, or too much", func() bool { return f.Counts().InFlight == 1 || f.Counts().Open == 0 })
		if c.WriteRSTStream(stream, http2.ErrCodeCancel) != nil {
			break
		}
		until(t, "it is reset", func() bool { return f.Counts().InFlight == 0 })
	}
	if taken <= http2Streams || taken == most {
		t.Errorf("after %d reset requests the connection is there: %v", taken, taken == most)
	}
	until(t, "it is closed", func() bool { return f.Counts().Open == 0 })
}

// A client that sends many requests, with cookies that no two of them share, and a large
// body, does not count as a flood.
func TestABusyHTTP2ClientIsNoFlood(t *testing.T) {
	h := newTestSite(t)
	change, client := withTLS(t)
	f, _, _ := startFront(t, h, change, func(cfg *Config) {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d %v", n, err)
		})
	})
	agent := &http.Client{Transport: &http.Transport{
		TLSClientConfig: client.Clone(), ForceAttemptHTTP2: true, MaxConnsPerHost: 1,
	}}
	defer agent.CloseIdleConnections()
	at := "https://" + f.https.listener.Addr().String() + "/take"
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
