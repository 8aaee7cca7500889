package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	. "bramble/node/console"
	"bramble/node/console/consoletest"
)

// ask sends one request to the console as a client on this machine does; edit
// may change it first.
func ask(t *testing.T, c http.Handler, method, path, body string, edit func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:50000"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// newConsole makes a console that this machine steers without a password, as a lab's.
func newConsole(t *testing.T, cfg Config) *Console {
	t.Helper()
	cfg.LocalSteers = true
	if cfg.Control == nil {
		cfg.Control = consoletest.NewFake(1)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get fetches a page over the wire.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func TestNewRejectsBadConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a console without a source was made")
	}
}

func TestAPI(t *testing.T) {
	long := strings.Repeat("x", MaxBody)
	for _, c := range []struct {
		method, path, body string
		status             int
		has                string // in the reply's body
		call               string // what the rack was asked for
	}{
		{"GET", "/healthz", "", 200, "ok", ""},
		{"GET", "/readyz", "", 200, "ready", ""},
		{"GET", "/api/v1/rack", "", 200, `"name":"board-5"`, ""},
		{"HEAD", "/", "", 200, "", ""},
		{"GET", "/metrics", "", 404, "", ""},
		{"GET", "/nothing", "", 404, "", ""},
		{"GET", "/api/v1/nothing", "", 404, `{"error":`, ""},
		{"POST", "/api/v1/rack", `{}`, 405, `{"error":"use GET here"}`, ""},
		{"GET", "/api/v1/purge", "", 405, `{"error":"use POST here"}`, ""},
		{"PUT", "/api/v1/drain", `{}`, 405, `{"error":`, ""},

		{"POST", "/api/v1/purge", `{"tag":"news"}`, 200, `"applied":["board-1"`, "purge tag news"},
		{"POST", "/api/v1/purge", `{"url":"/a?b=c"}`, 200, `"applied"`, "purge url /a?b=c"},
		{"POST", "/api/v1/purge", `{"url":"https://shop.example/a"}`, 200, `"applied"`, "purge url https://shop.example/a"},
		{"POST", "/api/v1/purge", ` {"all":true} `, 200, `"applied"`, "purge all"},
		{"POST", "/api/v1/purge", `{}`, 400, "exactly one", ""},
		{"POST", "/api/v1/purge", `null`, 400, "exactly one", ""},
		{"POST", "/api/v1/purge", `{"all":true,"tag":"news"}`, 400, "exactly one", ""},
		{"POST", "/api/v1/purge", `{"url":"shop.example/a"}`, 400, "must begin with", ""},
		{"POST", "/api/v1/purge", `{"url":"ftp://shop.example/a"}`, 400, "must begin with", ""},
		{"POST", "/api/v1/purge", `{"url":"//shop.example/a"}`, 400, "must begin with", ""},
		{"POST", "/api/v1/purge", `{"url":"http:///a"}`, 400, "must begin with", ""},
		{"POST", "/api/v1/purge", `{"url":"/%zz"}`, 400, "cannot be parsed", ""},
		{"POST", "/api/v1/purge", `{"url":"/a\nb"}`, 400, "control", ""},
		{"POST", "/api/v1/purge", `{"tag":"a b"}`, 400, "spaces", ""},
		{"POST", "/api/v1/purge", `{"tag":"` + strings.Repeat("x", MaxTag+1) + `"}`, 400, "at most", ""},
		{"POST", "/api/v1/purge", `{"url":"/` + strings.Repeat("x", MaxURL) + `"}`, 400, "at most", ""},
		{"POST", "/api/v1/purge", `{"tag":"` + long + `"}`, 413, "at most", ""},
		{"POST", "/api/v1/purge", `{"tag":"news"}` + long, 400, "after the object", ""},
		{"POST", "/api/v1/purge", `{"tag":"news"}{}`, 400, "more follows", ""},
		{"POST", "/api/v1/purge", `{"tag":"news"`, 400, "JSON", ""},
		{"POST", "/api/v1/purge", `{"tag":7}`, 400, "JSON", ""},
		{"POST", "/api/v1/purge", `{"tags":"news"}`, 400, "unknown field", ""},
		{"POST", "/api/v1/purge", `["news"]`, 400, "JSON", ""},

		{"POST", "/api/v1/drain", `{"board":"board-2"}`, 204, "", "drain board-2"},
		{"POST", "/api/v1/drain", `{"board":"board-2","undo":true}`, 204, "", "undrain board-2"},
		{"POST", "/api/v1/drain", `{"board":"board-9"}`, 404, "board-9", "drain board-9"},
		{"POST", "/api/v1/drain", `{}`, 400, "board is missing", ""},
		{"POST", "/api/v1/drain", `{"board":"` + strings.Repeat("x", MaxBoardName+1) + `"}`, 400, "at most", ""},

		{"POST", "/api/v1/locate", `{"board":"board-2"}`, 204, "", "locate board-2"},
		{"POST", "/api/v1/locate", `{"board":"board-9"}`, 404, "board-9", ""},
		{"POST", "/api/v1/locate", `{}`, 400, "board is missing", ""},

		{"POST", "/api/v1/lab", `{"board":"board-3","action":"kill"}`, 204, "", "kill board-3"},
		{"POST", "/api/v1/lab", `{"board":"board-3","action":"explode"}`, 400, "stop, kill, pause, revive", ""},
		{"POST", "/api/v1/lab", `{"action":"kill"}`, 400, "board is missing", ""},
	} {
		name := c.method + " " + c.path + " " + c.body
		t.Run(name[:min(len(name), 60)], func(t *testing.T) {
			f := consoletest.NewFake(5)
			w := ask(t, newConsole(t, Config{Source: f, Control: f, Lab: f}), c.method, c.path, c.body, nil)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.has) {
				t.Errorf("got %d %s, want %d with %q", w.Code, w.Body, c.status, c.has)
			}
			var calls []string
			if c.call != "" {
				calls = []string{c.call}
			}
			if got := f.Calls(); !slices.Equal(got, calls) {
				t.Errorf("the rack was asked for %q, want %q", got, calls)
			}
			if strings.HasPrefix(c.path, "/api/") {
				if got := w.Header().Get("Cache-Control"); got != "no-store" {
					t.Errorf("Cache-Control of the API is %q", got)
				}
				if w.Code >= 400 {
					var e struct{ Error string }
					if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error == "" {
						t.Errorf("error without a sentence: %s", w.Body)
					}
				}
			}
		})
	}
}

// A page of another site can send a browser's "simple" requests without asking first: none of their types
// reaches any path of the API.
func TestAPIRequiresJSON(t *testing.T) {
	f := consoletest.NewFake(1)
	calls := 0
	below := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ })
	c := newConsole(t, Config{Source: f, Control: f, Lab: f, Shop: below, Card: below})
	for _, path := range []string{"/api/v1/purge", "/api/v1/drain", "/api/v1/locate", "/api/v1/lab",
		ShopPath + "commands", ShopPath + "fulfilment", ShopPath + "ledger/found", CardPath + "commit"} {
		for _, kinds := range [][]string{nil, {""}, {"text/plain"}, {"text/plain; application/json"}, {"application/x-www-form-urlencoded"},
			{"multipart/form-data; boundary=x"}, {"text/plain", "application/json"}, {"application/json", "text/plain"}} {
			w := ask(t, c, "POST", path, `{"all":true}`, func(r *http.Request) { r.Header["Content-Type"] = kinds })
			if w.Code != http.StatusUnsupportedMediaType || !strings.Contains(w.Body.String(), "application/json") || len(f.Calls())+calls > 0 {
				t.Errorf("%s as %q: %d %s, and the rack got %q", path, kinds, w.Code, w.Body, f.Calls())
			}
		}
	}
	for _, kind := range []string{"application/json", "Application/JSON; charset=utf-8"} {
		ask(t, c, "POST", ShopPath+"commands", `{}`, func(r *http.Request) { r.Header.Set("Content-Type", kind) })
	}
	if calls != 2 {
		t.Errorf("%d requests with JSON passed, want 2", calls)
	}
}

// stubborn is a rack that answers everything with one error.
type stubborn struct{ err error }

func (s stubborn) Purge(context.Context, PurgeRequest) (PurgeResult, error) {
	return PurgeResult{}, s.err
}
func (s stubborn) Drain(context.Context, string, bool) error  { return s.err }
func (s stubborn) Locate(context.Context, string, bool) error { return s.err }
func (s stubborn) Do(context.Context, string, string) error   { return s.err }

func TestErrorsOfControlAndLab(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		has    string
	}{
		{fmt.Errorf("%w: it is paused: revive it first", ErrUnavailable), 503, "revive it first"},
		{fmt.Errorf("asking: %w", ErrUnknownBoard), 404, "unknown board"},
		{ErrBadRequest, 400, "bad request"},
		{context.DeadlineExceeded, 504, "did not finish within"},
		{errors.New("open /secret/path: no such file"), 500, "the board's log"},
	} {
		con := newConsole(t, Config{Source: consoletest.NewFake(1), Control: stubborn{c.err}, Lab: stubborn{c.err}})
		for path, body := range map[string]string{
			"/api/v1/purge": `{"all":true}`, "/api/v1/drain": `{"board":"b"}`, "/api/v1/lab": `{"board":"b","action":"stop"}`,
		} {
			w := ask(t, con, "POST", path, body, nil)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.has) || strings.Contains(w.Body.String(), "secret") {
				t.Errorf("%s with %v: %d %s, want %d with %q", path, c.err, w.Code, w.Body, c.status, c.has)
			}
		}
	}
}

func TestWithoutLab(t *testing.T) {
	c := newConsole(t, Config{Source: consoletest.NewFake(1)})
	if w := ask(t, c, "POST", "/api/v1/lab", `{"board":"board-1"}`, nil); w.Code != 404 {
		t.Errorf("%d, want 404", w.Code)
	}
}

// Orders contain names and addresses, so reading them needs the right to steer.
func TestShopRequiresRightToSteer(t *testing.T) {
	shop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, bounded := r.Context().Deadline(); !bounded {
			t.Error("a question about orders may take for ever")
		}
		fmt.Fprint(w, r.Method+" "+r.URL.RequestURI())
	})
	const path = ShopPath + "orders?after=7"
	away := func(r *http.Request) { r.RemoteAddr = "192.168.1.9:9" }
	for _, tt := range []struct {
		name   string
		cfg    Config
		method string
		edit   func(*http.Request)
		status int
		body   string
	}{
		{"this machine", Config{Shop: shop}, "GET", nil, 200, "GET " + path},
		{"a change", Config{Shop: shop}, "POST", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 200, "POST " + path},
		{"another machine", Config{Shop: shop}, "GET", away, 403, ""},
		{"another machine with the password", Config{Shop: shop, Password: secret}, "GET",
			func(r *http.Request) { away(r); signed("bramble", secret)(r) }, 200, "GET " + path},
		{"no orders here", Config{}, "GET", nil, 404, ""},
	} {
		tt.cfg.Source = consoletest.NewFake(1)
		w := ask(t, newConsole(t, tt.cfg), tt.method, path, "", tt.edit)
		if w.Code != tt.status || tt.body != "" && w.Body.String() != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.name, w.Code, w.Body, tt.status, tt.body)
		}
	}
}

func TestReadyAndMetrics(t *testing.T) {
	ready := false
	c := newConsole(t, Config{
		Source:       consoletest.NewFake(1),
		Ready:        func() (bool, string) { return ready, "joining: no peer has answered yet" },
		WriteMetrics: func(w io.Writer) { io.WriteString(w, "bramble_hits_total 7\n") },
	})
	if w := ask(t, c, "GET", "/readyz", "", nil); w.Code != 503 || w.Body.String() != "joining: no peer has answered yet\n" {
		t.Errorf("not ready: %d %q", w.Code, w.Body)
	}
	ready = true
	if w := ask(t, c, "GET", "/readyz", "", nil); w.Code != 200 {
		t.Errorf("ready: %d %q", w.Code, w.Body)
	}
	w := ask(t, c, "GET", "/metrics", "", nil)
	if w.Code != 200 || w.Body.String() != "bramble_hits_total 7\n" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("metrics: %d %q as %q", w.Code, w.Body, w.Header().Get("Content-Type"))
	}
}

// The same rack, seen from this machine and from another.
func TestSnapshotHasTheClientsRights(t *testing.T) {
	f := consoletest.NewFake(1)
	c := newConsole(t, Config{Source: f, Control: f, Lab: f})
	for from, may := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "192.168.1.7:1": false} {
		w := ask(t, c, "GET", "/api/v1/rack", "", func(r *http.Request) { r.RemoteAddr = from })
		var s RackView
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		if s.CanSteer != may || s.CanLab != may {
			t.Errorf("from %s: steer %v, lab %v, want %v", from, s.CanSteer, s.CanLab, may)
		}
	}
}

// FuzzBodies sends any bytes to every path that reads a body: no panic, no 5xx, and
// what reaches the rack has passed its checks.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{"url":"/a"}`, `{"tag":"t"}`, `{"all":true}`, `{"board":"board-1","undo":true}`, `{"board":"board-1","action":"kill"}`,
		``, `null`, `{}`, `[]`, `{"all":true}x`, `{"all":1e999}`, "{\"tag\":\"\x00\"}", `{"url":"http://[::1"}`, `{"url":"/\u202e"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		rack := consoletest.NewFake(1)
		c := newConsole(t, Config{Source: rack, Control: rack, Lab: rack})
		for _, path := range []string{"/api/v1/purge", "/api/v1/drain", "/api/v1/lab"} {
			w := ask(t, c, "POST", path, body, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
			if w.Code >= 500 {
				t.Errorf("%s with %q: %d %s", path, body, w.Code, w.Body)
			}
			if w.Code >= 400 && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s with %q: an error that is not JSON: %s", path, body, w.Body)
			}
		}
		for _, call := range rack.Calls() {
			if len(call) > MaxBody || strings.ContainsAny(call, "\n\r\x00") && strings.HasPrefix(call, "purge") {
				t.Errorf("the rack was asked for %q", call)
			}
		}
	})
}
