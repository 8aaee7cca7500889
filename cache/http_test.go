package cache

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// transport is an Upstream over real connections.
type transport struct {
	*http.Transport
	origin string
}

func (t transport) Fetch(ctx context.Context, r *http.Request) (*http.Response, error) {
	q := r.Clone(ctx)
	q.URL.Host, q.RequestURI = t.origin, ""
	return t.RoundTrip(q)
}

// startRig starts a cache between a real client and a real origin server.
func startRig(t *testing.T, origin http.HandlerFunc) (url string, client *http.Client, c *Cache) {
	t.Helper()
	back := httptest.NewServer(origin)
	t.Cleanup(back.Close)
	c, err := New(Config{Name: "board-1", Budget: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	up := transport{&http.Transport{DisableCompression: true}, strings.TrimPrefix(back.URL, "http://")}
	t.Cleanup(up.CloseIdleConnections)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host = "http", "shop.example"
		c.Serve(w, r, Route{Level: "origin", Upstream: up})
	}))
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	front.Start()
	t.Cleanup(front.Close)
	t.Cleanup(func() { c.Close() })
	return front.URL, front.Client(), c
}

func fetch(client *http.Client, url string) (*http.Response, string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func TestOverHTTP(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]int{}
	url, client, c := startRig(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		mu.Unlock()
		switch r.URL.Path {
		case "/page":
			w.Header().Set("Cache-Control", "max-age=60")
			io.WriteString(w, strings.Repeat("page ", 1000))
		case "/chunked":
			w.Header().Set("Cache-Control", "max-age=60")
			for i := range 100 {
				fmt.Fprintf(w, "%0100d", i)
				http.NewResponseController(w).Flush()
			}
		case "/short":
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "short")
		case "/cut":
			w.Header().Set("Cache-Control", "max-age=60")
			io.WriteString(w, "cut")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	var clients sync.WaitGroup
	for range 100 {
		clients.Go(func() {
			for path, size := range map[string]int{"/page": 5000, "/chunked": 10000} {
				resp, body, err := fetch(client, url+path)
				if err != nil || resp.StatusCode != 200 || len(body) != size {
					t.Errorf("%s: %d bytes, %v", path, len(body), err)
				}
			}
		})
	}
	clients.Wait()
	for _, path := range []string{"/short", "/cut"} {
		// Of /short nothing has been sent when it breaks off, so there is room for an error page.
		if resp, body, err := fetch(client, url+path); (err == nil) != (path == "/short") || err == nil && resp.StatusCode != 502 {
			t.Errorf("%s: %q, %v", path, body, err)
		}
	}
	c.flights.done.Wait()
	mu.Lock()
	defer mu.Unlock()
	if asked["/page"] != 1 || asked["/chunked"] != 1 {
		t.Errorf("origin was asked %v", asked)
	}
	if n := c.Stats().Objects; n != 2 {
		t.Errorf("%d objects stored", n)
	}
}

func BenchmarkServeHit(b *testing.B) {
	bench := newBench(b, always(200, strings.Repeat("x", 4096), "Cache-Control: max-age=60", "Content-Type: text/html", `Etag: "v1"`))
	bench.get()
	r := request("GET", pageURL)
	b.ReportAllocs()
	for b.Loop() {
		w := &nullWriter{h: make(http.Header, 8)}
		bench.Serve(w, r, bench.route)
		if w.code != 200 {
			b.Fatal(w.code)
		}
	}
}

type nullWriter struct {
	h    http.Header
	code int
}

func (w *nullWriter) Header() http.Header         { return w.h }
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *nullWriter) WriteHeader(code int)        { w.code = code }
