package rackcache

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bramble/cache"
	"bramble/cluster/purge"
	"bramble/node/config"
	"bramble/node/front"
	"bramble/node/orders"
	"bramble/node/orders/draw"
	"bramble/node/origin"
	"bramble/node/shop"
	"bramble/node/shop/shoptest"
)

const forged = "a forged page"

// liar is a board in strange hands that answers each request, and owns what the test says.
type liar struct {
	owners [2]string
	mu     sync.Mutex // guards asked
	asked  []string
}

func (l *liar) Up(string) bool      { return true }
func (l *liar) InFlight(string) int { return 0 }
func (l *liar) Do(_ context.Context, _ string, r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, r.URL.Query().Get("url"))
	return forge(r), nil
}

func (l *liar) Owners(string) (first, second string)           { return l.owners[0], l.owners[1] }
func (l *liar) Pick(_ string, _ func(board string) int) string { return l.owners[0] }

func (l *liar) takeAsked() (asked []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked, l.asked = l.asked, nil
	return asked
}

// forge returns a page that each cache would keep.
func forge(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	w.Header().Set("Cache-Control", "public, max-age=600, stale-while-revalidate=600, stale-if-error=600")
	w.Header().Set("ETag", `"forged"`)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(forged))
	return w.Result()
}

// ballotBook is an order book with one drawn ballot.
type ballotBook struct{ shop.OrderService }

func (ballotBook) Sale(product string) (orders.Sale, bool) {
	at := time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)
	return orders.Sale{Product: product, Mode: orders.Ballot, Stock: 2, Limit: 1, Opens: at, Closes: at.Add(time.Hour),
		Draw: orders.DrawInfo{Version: 3, Commitment: strings.Repeat("c0ffee42", 8), List: strings.Repeat("5196c515", 8), At: at.Add(2 * time.Hour)}}, true
}
func (ballotBook) IsRefused(string) bool { return false }
func (ballotBook) Pause() orders.Pause   { return orders.NotPaused }
func (ballotBook) News() []orders.News   { return nil }
func (ballotBook) Now() time.Time        { return time.Now() }
func (ballotBook) Draw(string) (draw.File, bool) {
	return draw.File{List: strings.Repeat("5196c515", 8)}, true
}

// honestBoard is a board with the built-in shop, its listener and the fast path to its memory, beside a liar.
type honestBoard struct {
	*PageHandler
	liar *liar
	addr string
	fast *countedFastPath
}

// countedFastPath counts the replies that the fast path has made.
type countedFastPath struct {
	*FastPath
	hits atomic.Int64
}

func (f *countedFastPath) AppendHit(dst []byte, q *front.FastRequest) (head []byte, body [][]byte, ok bool) {
	if head, body, ok = f.FastPath.AppendHit(dst, q); ok {
		f.hits.Add(1)
	}
	return head, body, ok
}

func newHonestBoard(t *testing.T, owners [2]string) *honestBoard {
	t.Helper()
	file := filepath.Join(t.TempDir(), "shop.toml")
	if err := os.WriteFile(file, []byte(shoptest.Catalogue(`stock = 2
limit_per_person = 1
mode = "ballot"
opens = 2012-02-29T06:00:00Z
closes = 2012-03-29T06:00:00Z
`)), 0o600); err != nil {
		t.Fatal(err)
	}
	catalogue, err := shop.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := shop.New(catalogue, shop.Options{Orders: ballotBook{}})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	sites, err := origin.New(config.Default(), origin.Options{Shop: pages, Via: "rack", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{Self: "self", Logger: quiet, Cache: cache.Config{Logger: quiet}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.cache.Close() })
	l := &liar{owners: owners}
	purges := purge.NewSyncer(purge.NewLog(nil), nil, noPeers{}, purge.DefaultTiming(), quiet)
	h.Connect(Backends{Ring: func() OwnerRing { return l }, Link: l, Purges: purges, Sites: sites, Shop: pages})
	fast := &countedFastPath{FastPath: NewFastPath(h)}
	f, err := front.New(front.Config{
		Listen: "127.0.0.1:0", Handler: h, FastHandler: fast, MaxConnections: 100, MaxRequests: 64,
		HeaderTimeout: time.Minute, IdleTimeout: time.Minute, WriteTimeout: time.Minute, DrainTimeout: time.Second,
		BodyTimeout: time.Minute, BodyRate: 1000, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	go purges.Run(ctx)
	t.Cleanup(func() { stop(); <-served })
	return &honestBoard{h, l, f.Addr().String(), fast}
}

// send sends a request exactly as it is spelt.
func (b *honestBoard) send(t *testing.T, method, target string, fields ...string) (resp *http.Response, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: a.example", "Connection: close"}, fields...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err = http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return resp, string(all)
}

// linkRequest is the liar's own request to the board.
func (b *honestBoard) linkRequest(method, path string, query url.Values, body []byte) *httptest.ResponseRecorder {
	mux := http.NewServeMux()
	b.RegisterRoutes(mux)
	query.Set("purges", strconv.FormatUint(b.Purges.Digest(), 16))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, path+"?"+query.Encode(), bytes.NewReader(body)))
	return w
}

// forgeReplicas returns the forged page under a key, spelt as it is, and a part of it under the key of its parts, in
// their wire form.
func forgeReplicas(t *testing.T, key string) map[string][]byte {
	t.Helper()
	c, err := cache.New(cache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := httptest.NewRequest("GET", "/", nil)
	r.URL = &url.URL{Scheme: "http", Host: strings.TrimPrefix(key, "http://")}
	wire := map[string][]byte{}
	for _, name := range []string{key + "\x00parts", key} {
		r.Header.Set("Range", "bytes=0-3")
		if name == key {
			r.Header.Del("Range")
		}
		c.Serve(httptest.NewRecorder(), r, cache.Route{Upstream: upstreamFunc(forge)})
		for _, o := range c.Peek(name) {
			wire[name] = c.AppendWire(nil, o)
		}
	}
	if len(wire) != 2 {
		t.Fatalf("%s: nothing to send", key)
	}
	return wire
}

// What a buyer trusts is made by the board that shows it, whichever boards the ring names for it, in whatever
// spelling a client asks for it, and whatever another board sends. Only a product's page is shared: there the lie shows.
func TestNoOtherBoardMakesWhatABuyerTrusts(t *testing.T) {
	own := []string{
		"/p/berry/draw", "/p/berry/draw.json", "/p/berry/verify", "/p/berry/order", "/p/berry/order?country=GB", "/p/berry/order?country=gb",
		"/p/berry/place", "/r/ABCD-EFGH-JKM/x", "/r/ABCD-EFGH-JKM/x/confirm", "/status", "/status.json", "/robots.txt", "/favicon.svg",
		"/p/berry/draw/", "/p/berry/draw?", "/p/berry/draw?x=1", "/p/berry/DRAW", "/P/berry/draw", "/p/berry//draw", "//p/berry/draw",
		"/p/./berry/draw", "/p/x/../berry/draw", "/p/berry/%64raw", "/p/berry%2Fdraw", "/p/berry/draw%2Ejson", "/p/b%65rry/draw",
		"/%70/berry/draw", "/p/berry/verify?", "/p/berry/draw;x", "/p/berry/draw.json?x", "/p/berry/draw.json/", "/p/none/draw", "/none",
		"/pictures/../p/berry/draw", "/pictures/none", "/p/berry/", "/p/berry?", "/p/berry?x", "/p/b%65rry", "/?", "/?x", "//", "/index.html",
		"/p/berry/draw[1]", "/p/berry/draw|", "/p/berry/draw%zz", "/p/berry/draw#x", "/p/berry/%c3%a4", "http://a.example/p/berry/draw", "http://shop.bramble/p/berry/draw",
	}
	for _, owners := range [][2]string{{"liar", "liar-2"}, {"self", "liar"}, {"liar", "self"}} {
		t.Run(strings.Join(owners[:], " and "), func(t *testing.T) {
			b := newHonestBoard(t, owners)
			for _, target := range own {
				path := strings.TrimPrefix(strings.TrimPrefix(target, "http://a.example"), "http://shop.bramble")
				key := "http://shop.bramble" + path
				replicas := forgeReplicas(t, key)
				if u, err := url.Parse(key); err == nil {
					maps.Copy(replicas, forgeReplicas(t, cache.KeyOf(u)))
				}
				for name, wire := range replicas {
					if w := b.linkRequest("PUT", objectPath, url.Values{"key": {name}}, wire); w.Code == http.StatusNoContent {
						t.Errorf("%q: a replica was stored", name)
					}
				}
				for _, relay := range []string{objectPath, originRelayPath} {
					if w := b.linkRequest("GET", relay, url.Values{"url": {key}, "relayed": {"1"}}, nil); w.Header().Get(headerRefused) == "" {
						t.Errorf("%s: made for another board over %s: %d", key, relay, w.Code)
					}
				}
				for _, fields := range [][]string{nil, nil, {"Range: bytes=0-3"}, {`If-None-Match: "forged"`}, {"Cache-Control: no-cache"},
					{"Cache-Control: only-if-cached"}, {"Cache-Control: max-stale"}, {"Authorization: Basic x"}, {"Accept-Encoding: gzip"}, {"Content-Length: 0"}} {
					for _, method := range []string{"GET", "HEAD"} {
						resp, body := b.send(t, method, target, fields...)
						if strings.Contains(body, forged[:4]) && resp.StatusCode < 300 || strings.Contains(resp.Header.Get("ETag"), "forged") || resp.StatusCode == http.StatusNotModified {
							t.Errorf("%s %s %v: %d %v %.80s", method, target, fields, resp.StatusCode, resp.Header, body)
						}
						if status := strings.Join(resp.Header["Cache-Status"], ", "); strings.Contains(status, ",") || status != "" && !strings.HasPrefix(status, "self;") {
							t.Errorf("%s %s: Cache-Status %s", method, target, status)
						}
					}
				}
			}
			// The fast path has what is hot, and it is the board's own.
			before := b.fast.hits.Load()
			for _, target := range own[:5] {
				resp, body := b.send(t, "GET", target)
				if status := resp.Header.Get("Cache-Status"); !strings.Contains(status, "self; hit") || strings.Contains(body, forged) {
					t.Errorf("%s: Cache-Status %q", target, status)
				}
			}
			if hits := b.fast.hits.Load() - before; runtime.GOOS == "linux" && hits != 5 {
				t.Errorf("the fast path answered %d of 5", hits)
			}
			// When the ring changes, or a page is stored, no other board gets a replica.
			for key := range b.cache.Keys {
				b.replicator.sendReplicas(t.Context(), key)
			}
			if asked := b.liar.takeAsked(); len(asked) > 0 {
				t.Errorf("another board was asked for %v", asked)
			}
			const key = "http://shop.bramble/p/berry"
			if w := b.linkRequest("PUT", objectPath, url.Values{"key": {key}}, forgeReplicas(t, key)[key]); w.Code != http.StatusNoContent {
				t.Errorf("a product's page was not stored: %d %s", w.Code, w.Body)
			}
			if _, body := b.send(t, "GET", "/p/berry"); body != forged {
				t.Errorf("a product's page is not shared: %.80s", body)
			}
		})
	}
}
