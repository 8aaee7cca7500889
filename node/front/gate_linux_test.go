package front

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// held is a handler that answers /held after a value from goOn, and /size with the size of
// the body.
type held struct {
	*testSite
	began, goOn chan struct{}
}

func (h held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/size" {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, n)
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/held") {
		h.testSite.ServeHTTP(w, r)
		return
	}
	h.began <- struct{}{}
	<-h.goOn
	io.WriteString(w, "let go")
}

func TestBeyondMaxRequestsOnlyPagesInMemoryAreServed(t *testing.T) {
	h := held{newTestSite(t), make(chan struct{}, 100), make(chan struct{})}
	f, _, _ := startFront(t, h.testSite, func(cfg *Config) { cfg.Handler, cfg.MaxRequests = h, 1 })
	var all []*testClient
	for i := range 1 + 4 {
		v := dialFront(t, f)
		v.send(get("/held"))
		all = append(all, v)
		if i == 0 {
			<-h.began
		} else {
			until(t, "it waits", func() bool { return f.gate.Usage().Waiting == int64(i) })
		}
	}
	v := dialFront(t, f)
	for range 2 { // refused, and the connection stays
		v.send(get("/held"))
		if resp, body := v.reply(); resp.StatusCode != 503 || resp.Close || resp.Header.Get("Retry-After") == "" || !strings.HasSuffix(body, "</html>") {
			t.Fatalf("one too many got %v %q", resp, body)
		}
		v.send(lines("HEAD /held HTTP/1.1", hostLine) + get("/"))
		resp, err := http.ReadResponse(v.r, &http.Request{Method: "HEAD"})
		if err != nil || resp.StatusCode != 503 || resp.Close {
			t.Fatalf("HEAD got %v, %v", resp, err)
		}
		if resp, _ := v.reply(); resp.StatusCode != 200 {
			t.Fatalf("a page in memory got %s", resp.Status)
		}
	}
	v.send(get("/held", "Connection: close"))
	if resp, _ := v.reply(); resp.StatusCode != 503 || !resp.Close {
		t.Fatalf("the last request of a connection got %s, last: %v", resp.Status, resp.Close)
	}
	v.ends()
	post := dialFront(t, f)
	post.send(lines("POST /held HTTP/1.1", hostLine, "Content-Length: 1") + "x")
	if resp, _ := post.reply(); resp.StatusCode != 503 || !resp.Close {
		t.Fatalf("a form got %s, last: %v", resp.Status, resp.Close)
	}
	close(h.goOn)
	for i, v := range all {
		if resp, body := v.reply(); resp.StatusCode != 200 || body != "let go" {
			t.Errorf("number %d of those that waited got %v %q", i, resp, body)
		}
		v.send(get("/"))
		if resp, _ := v.reply(); resp.StatusCode != 200 {
			t.Errorf("then a page got %s", resp.Status)
		}
	}
	until(t, "all are counted", func() bool { // a permit is given back after the reply
		held := f.gate.Usage()
		return f.Counts().InFlight == 0 && held.Permits == 0 && held.Waiting == 0
	})
	if got := f.Counts(); got.Shed != 6 {
		t.Errorf("counts are %+v", got)
	}
}

// A request whose page was stored while it waited costs no more than a page in memory.
func TestAfterAWaitMemoryIsCheckedAgain(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a second")
	}
	h := held{newTestSite(t), make(chan struct{}, 1), make(chan struct{})}
	f, _, _ := startFront(t, h.testSite, func(cfg *Config) { cfg.Handler, cfg.MaxRequests = h, 1 })
	first := dialFront(t, f)
	first.send(get("/held"))
	<-h.began
	var waiting []*testClient
	for i := range 3 {
		v := dialFront(t, f)
		v.send(get("/fresh", []string{"X: 1", "Accept: */*", "Connection: close"}[i]))
		waiting = append(waiting, v)
		until(t, "it waits", func() bool { return f.gate.Usage().Waiting == int64(i+1) })
	}
	h.viaNetHTTP([]byte(get("/fresh", "Connection: close")))
	until(t, "the page is in memory", func() bool {
		_, _, ok := h.AppendHit(nil, requestFor("/fresh"))
		return ok
	})
	close(h.goOn)
	for i, v := range waiting {
		if resp, body := v.reply(); resp.StatusCode != 200 || body != "<p>/fresh" {
			t.Errorf("%d got %v %q", i, resp, body)
		}
	}
	waiting[2].ends()
	first.reply()
	until(t, "the last is gone", func() bool { return f.Counts().Open == 3 })
	if got := f.Counts(); got.Fast != 2 || got.Lent != 2 {
		t.Errorf("counts are %+v, want two from memory and two lent", got)
	}
}

func TestUnderPressurePagesInMemoryStay(t *testing.T) {
	f, _, _ := startFront(t, newTestSite(t), func(cfg *Config) { cfg.Pressure = func() float64 { return 1 } })
	until(t, "it is felt", func() bool { return f.Counts().Pressure == 1 })
	v := dialFront(t, f)
	for range 50 {
		v.send(get("/") + get("/never"))
		for _, want := range []int{200, 503} {
			if resp, _ := v.reply(); resp.StatusCode != want {
				t.Fatalf("got %s, want %d", resp.Status, want)
			}
		}
	}
	v.send(lines("POST / HTTP/1.1", hostLine, "Content-Length: 1") + "x")
	if resp, _ := v.reply(); resp.StatusCode != 503 {
		t.Errorf("a form got %s", resp.Status)
	}
	v.ends()
}

func TestABodyThatTricklesIsRefused(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	h := held{newTestSite(t), make(chan struct{}, 1), make(chan struct{})}
	f, _, _ := startFront(t, h.testSite, func(cfg *Config) {
		cfg.Handler, cfg.MaxRequests, cfg.BodyRate, cfg.BodyTimeout = h, 4, 1000, 300*time.Millisecond
	})
	for name, fields := range map[string]string{"length": "Content-Length: 5000", "chunks": "Transfer-Encoding: chunked"} {
		v := dialFront(t, f)
		v.send(lines("POST /held HTTP/1.1", hostLine, fields) + "1\r\n")
		if resp, body := v.reply(); resp.StatusCode != http.StatusRequestTimeout || !resp.Close || !strings.HasSuffix(body, "</html>") {
			t.Errorf("%s: %v %q", name, resp, body)
		}
		v.ends()
	}
	if len(h.began) != 0 || f.gate.Usage().Permits != 0 {
		t.Error("a request whose body did not arrive took a permit")
	}
	close(h.goOn)
	// No body of a client that sends is late, however busy the machine is.
	f, _, _ = startFront(t, h.testSite, func(cfg *Config) {
		cfg.Handler, cfg.MaxRequests, cfg.BodyRate, cfg.BodyTimeout = h, 4, 1000, time.Hour
	})
	v := dialFront(t, f)
	for _, size := range []int{0, 1, maxBodyPrefix - 1, maxBodyPrefix, maxBodyPrefix + 1, 20 * maxBodyPrefix} {
		body := strings.Repeat("x", size)
		v.send(lines("POST /size HTTP/1.1", hostLine, fmt.Sprintf("Content-Length: %d", size)) + body)
		if resp, got := v.reply(); resp.StatusCode != 200 || resp.Close || got != fmt.Sprint(size) {
			t.Errorf("a body of %d: %s %q", size, resp.Status, got)
		}
		chunked := dialFront(t, f)
		chunked.send(lines("POST /size HTTP/1.1", hostLine, "Transfer-Encoding: chunked"))
		if size > 0 {
			chunked.send(fmt.Sprintf("%x\r\n%s\r\n", size, body))
		}
		chunked.send("0\r\n\r\n")
		if resp, got := chunked.reply(); resp.StatusCode != 200 || !resp.Close || got != fmt.Sprint(size) {
			t.Errorf("a body of %d in chunks: %s %q", size, resp.Status, got)
		}
	}
	until(t, "the permits are released", func() bool { return f.gate.Usage().Permits == 0 && f.gate.Usage().Uploads == 0 })
}
