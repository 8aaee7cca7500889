package console_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"bramble/gpio"

	. "bramble/node/console"
	"bramble/node/console/consoletest"
)

// within polls until a condition holds, or a time has passed.
func within(bound time.Duration, holds func() bool) bool {
	for end := time.Now().Add(bound); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	return false
}

// serve runs a console of the fake on a loopback port, by https if secure is set, until the test ends.
func serve(t *testing.T, f *consoletest.Fake, secure ...*tls.Config) *httptest.Server {
	t.Helper()
	c, err := New(Config{Source: f, Control: f, Lab: f, LocalSteers: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(ctx)
	}()
	if !within(patience, c.HasSample) {
		t.Fatal("the console took no sample")
	}
	s := httptest.NewUnstartedServer(c)
	if len(secure) > 0 {
		s.Listener = tls.NewListener(s.Listener, secure[0])
	}
	s.Start()
	if len(secure) > 0 {
		s.URL = "https" + strings.TrimPrefix(s.URL, "http")
	}
	t.Cleanup(func() {
		cancel()
		<-ended
		s.Close()
	})
	return s
}

// TestPageWithoutScript asks for the page as a browser without JavaScript does.
func TestPageWithoutScript(t *testing.T) {
	f := consoletest.NewFake(3)
	f.Set("board-2", "serving", gpio.OriginDown)
	s := serve(t, f)
	status, body := get(t, s.URL+"/")
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	for _, want := range []string{"board-1", "board-2", "board-3", "serving; origin down", "short flash every three seconds"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %q", want)
		}
	}
}

func TestPageEscapes(t *testing.T) {
	f := consoletest.NewFake(1)
	f.Rename("board-1", `<script>alert(1)</script>`)
	w := ask(t, newConsole(t, Config{Source: f}), "GET", "/", "", nil)
	if strings.Contains(w.Body.String(), "<script>alert") {
		t.Error("a board's name reaches the page as markup")
	}
}

func TestPageWithoutBoards(t *testing.T) {
	w := ask(t, newConsole(t, Config{Source: consoletest.NewFake(0)}), "GET", "/", "", nil)
	if w.Code != 200 || !strings.Contains(w.Body.String(), "No board yet") {
		t.Errorf("%d: the page does not say that the rack is empty", w.Code)
	}
}

// TestAssets: every file of the page comes with its type, its
// policy and an entity tag that saves the second journey; all are small.
func TestAssets(t *testing.T) {
	const most = 40 << 10
	c := newConsole(t, Config{Source: consoletest.NewFake(0)})
	total := 0
	for path, kind := range map[string]string{
		"/": "text/html", "/console.css": "text/css", "/console.js": "text/javascript", "/lamp.js": "text/javascript",
		"/ring.js": "text/javascript", "/favicon.svg": "image/svg+xml",
	} {
		w := ask(t, c, "GET", path, "", nil)
		total += w.Body.Len()
		h := w.Header()
		if w.Code != 200 || !strings.HasPrefix(h.Get("Content-Type"), kind) || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d as %q", path, w.Code, h.Get("Content-Type"))
		}
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if path == "/" {
			continue
		}
		if h.Get("Cache-Control") != "no-cache" || h.Get("ETag") == "" {
			t.Errorf("%s: Cache-Control %q, ETag %q", path, h.Get("Cache-Control"), h.Get("ETag"))
		}
		again := ask(t, c, "GET", path, "", func(r *http.Request) { r.Header.Set("If-None-Match", `"other", W/`+h.Get("ETag")) })
		if again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s: asked again: %d", path, again.Code)
		}
	}
	if total > most {
		t.Errorf("the page has %d bytes, want at most %d", total, most)
	}
}

// TestContrast checks what WCAG 2.2 (1.4.3) requires of text, 4.5 to 1, with the
// colours in the style sheet, light and dark.
func TestContrast(t *testing.T) {
	css, err := os.ReadFile("page/console.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, ok := strings.Cut(string(css), "prefers-color-scheme: dark")
	if !ok {
		t.Fatal("no dark colours")
	}
	pairs := [][2]string{{"ink", "bg"}, {"ink", "card"}, {"ink", "well"}, {"soft", "bg"}, {"soft", "card"}, {"berry", "card"},
		{"leaf", "card"}, {"warn", "card"}, {"on-c", "berry"}}
	for i := range 8 {
		pairs = append(pairs, [2]string{"on-c", "c" + strconv.Itoa(i)})
	}
	for scheme, part := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z0-9-]+): (#[0-9a-f]{3,6});`).FindAllStringSubmatch(part, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		for _, p := range pairs {
			a, inA := colours[p[0]]
			b, inB := colours[p[1]]
			if !inA || !inB {
				t.Errorf("%s: no colour %s or %s", scheme, p[0], p[1])
				continue
			}
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
				t.Errorf("%s: %s on %s has %.2f to 1", scheme, p[0], p[1], ratio)
			}
		}
	}
}

// luminance is WCAG's relative luminance of a colour "#rgb" or "#rrggbb".
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	hex := colour[1:]
	if len(hex) == 3 {
		hex = fmt.Sprintf("%c%c%c%c%c%c", hex[0], hex[0], hex[1], hex[1], hex[2], hex[2])
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || len(hex) != 6 {
		t.Fatalf("colour %q: %v", colour, err)
	}
	linear := func(c uint64) float64 {
		v := float64(c&255) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n>>16) + 0.7152*linear(n>>8) + 0.0722*linear(n)
}
