package origin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/node/config"
)

// newSet returns the sites of a configuration, with all permits at once.
func newSet(t *testing.T, change func(*config.Config)) *Sites {
	t.Helper()
	cfg := config.Default()
	cfg.Origin.ReplyTimeout = config.Duration(5 * time.Second)
	change(cfg)
	s, err := New(cfg, Options{
		Via: "bramble-test", Logger: slog.New(slog.DiscardHandler),
		Shop: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the shop") }),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.SharePermits("a", []RackMember{{"a", true}}, true, time.Now())
	return s
}

// echo is an origin that records the head of each request as it arrives.
type echo struct {
	addr string
	mu   sync.Mutex // guards head
	head []string
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	e := &echo{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go e.serve(conn)
		}
	}()
	return e
}

func (e *echo) serve(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	var head []string
	for lines.Scan() && lines.Text() != "" {
		head = append(head, lines.Text())
	}
	e.mu.Lock()
	e.head = head
	e.mu.Unlock()
	io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

func (e *echo) got() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.head
}

// through starts a server that forwards requests as a board does, and puts the
// cache key into its reply.
func through(t *testing.T, s *Sites) string {
	t.Helper()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := s.RewriteForSite(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
			return
		}
		// As the cache does.
		w.Header().Set("Key", out.URL.Scheme+"://"+out.URL.Host+out.URL.RequestURI())
		resp, err := s.Fetch(r.Context(), out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	}))
	t.Cleanup(front.Close)
	return front.Listener.Addr().String()
}

// raw sends bytes and reads one reply.
func raw(t *testing.T, addr, text string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, text)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return resp
}

// The cache key is what the origin gets: byte for byte what the client sent,
// except for bytes that are invalid in a path.
func TestTheTargetStaysUnchanged(t *testing.T) {
	origin := newEcho(t)
	addr := through(t, newSet(t, func(c *config.Config) { c.Origin.URL = "http://" + origin.addr }))
	tests := []struct{ sent, want string }{ // want "" = refused
		{"/", "/"},
		{"/a%2Fb/../c/./d//e", "/a%2Fb/../c/./d//e"},
		{"//a/b", "//a/b"},
		{"///", "///"},
		{"/a%2fb", "/a%2fb"},
		{"/%41", "/%41"},
		{"/a;b=c,d", "/a;b=c,d"},
		{"/a?", "/a?"},
		{"/a??b?c", "/a??b?c"},
		{"/a?b=%2F&c=/d;e|f", "/a?b=%2F&c=/d;e|f"},
		{"/a?http://b/c", "/a?http://b/c"},
		{"/%00", "/%00"},
		{"/%0d%0aX:%20y", "/%0d%0aX:%20y"},
		{"/a%2Fb|c", "/a%2Fb%7Cc"},
		{"/\xc3\xa9%2f", "/%C3%A9%2f"},
		{"/a\\b", "/a%5Cb"},
		{"/[a]", "/[a]"},
		{"/:80/x@y", "/:80/x@y"},
		{"http://elsewhere/a%2Fb?c", "/a%2Fb?c"},
		{"http://elsewhere", "/"},
		{"http://elsewhere?x", "/?x"},
		{"https://elsewhere/a", "/a"},
		{"/a#b", ""},
		{"/a?b#c", ""},
		{"http://user@elsewhere/a", ""},
		{"ftp://elsewhere/a", ""},
		{"*", ""},
	}
	for _, tt := range tests {
		resp := raw(t, addr, "GET "+tt.sent+" HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
		if tt.want == "" {
			if resp.StatusCode != http.StatusTeapot && resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%q was forwarded: %v", tt.sent, origin.got())
			}
			continue
		}
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%q: %s", tt.sent, resp.Status)
			continue
		}
		if got := origin.got()[0]; got != "GET "+tt.want+" HTTP/1.1" {
			t.Errorf("%q: the origin got %q, want %q", tt.sent, got, tt.want)
		}
		if key := resp.Header.Get("Key"); key != "http://"+origin.addr+tt.want {
			t.Errorf("%q has the key %q, and the origin got %q", tt.sent, key, tt.want)
		}
	}
}

func TestFieldsThatAnOriginMustNotSee(t *testing.T) {
	origin := newEcho(t)
	addr := through(t, newSet(t, func(c *config.Config) { c.Origin.URL = "http://" + origin.addr }))
	var fields strings.Builder
	hostile := []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Anything", "x_forwarded_host",
		"X-Real-IP", "True-Client-IP", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Host",
		"X-Original-URL", "X-Rewrite-URL", "X-Host", "Front-End-Https", "Proxy", "X_Original-Url", "X-Sendfile-Type",
		"X-Middleware-Subrequest", "X-Envoy-Original-Path", "X-MS-Original-URL", "HTTP_HOST", "Request-URI", "X-Script-Name",
	}
	for _, name := range hostile {
		fmt.Fprintf(&fields, "%s: evil\r\n", name)
	}
	resp := raw(t, addr, "GET /p HTTP/1.1\r\nHost: evil.example\r\n"+fields.String()+"Accept: a/b\r\nX-Requested-With: c\r\nConnection: close\r\n\r\n")
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	head := origin.got()
	if text := strings.Join(head, "\n"); strings.Contains(text, "evil") {
		t.Errorf("the origin got\n%s", text)
	}
	for _, want := range []string{"Host: " + origin.addr, "Accept: a/b", "X-Requested-With: c", "Via: 1.1 bramble-test"} {
		if !slices.Contains(head, want) {
			t.Errorf("the origin did not get %q but\n%s", want, strings.Join(head, "\n"))
		}
	}
}

func TestRejectedRequests(t *testing.T) {
	s := newSet(t, func(c *config.Config) { c.Origin.URL = "http://192.0.2.1" })
	many := http.Header{}
	for range maxRequestFields + 1 {
		many.Add("X", "y")
	}
	tests := []struct {
		name, method, host, target string
		header                     http.Header
		want                       error
	}{
		{"good", "GET", "a", "/", nil, nil},
		{"without host", "GET", "", "/", nil, nil},
		{"another rack before", "GET", "a", "/", http.Header{"Via": {"1.1 bramble-other, 1.0 fred (bramble-test)"}}, nil},
		{"options", "OPTIONS", "a", "*", nil, nil},
		{"connect", "CONNECT", "a", "a:443", nil, ErrMethod},
		{"trace", "TRACE", "a", "/", nil, ErrMethod},
		{"loop", "GET", "a", "/", http.Header{"Via": {"1.0 fred", "1.1 nurse, 1.1 bramble-test (x)"}}, ErrLoop},
		{"many fields", "GET", "a", "/", many, ErrFields},
		{"strange host", "GET", "a/b", "/", nil, ErrTarget},
		{"host with a user", "GET", "a@b", "/", nil, ErrTarget},
		{"star", "GET", "a", "*", nil, ErrTarget},
	}
	for _, tt := range tests {
		u, err := url.Parse(tt.target)
		if tt.method == http.MethodConnect {
			u, err = &url.URL{Host: tt.target}, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.RewriteForSite(&http.Request{Method: tt.method, Host: tt.host, URL: u, Header: tt.header})
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// A path of HTTP/2 is no URL (RFC 9113 §8.3.1); in HTTP/1.1 the target may be one.
func TestURLAsPath(t *testing.T) {
	s := newSet(t, func(c *config.Config) { c.Origin.URL = "http://192.0.2.1" })
	for _, target := range []string{"http://a/x", "https://b/x", "http:///x", "/x"} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		for major := 1; major <= 2; major++ {
			_, err := s.RewriteForSite(&http.Request{Method: "GET", Host: "a", URL: u, ProtoMajor: major})
			if refused := errors.Is(err, ErrTarget); refused != (major == 2 && target != "/x") {
				t.Errorf("%s in HTTP/%d: %v", target, major, err)
			}
		}
	}
}

func TestMaxForwardsCountsDown(t *testing.T) {
	s := newSet(t, func(c *config.Config) { c.Origin.URL = "http://192.0.2.1" })
	for sent, want := range map[string]string{"5": "4", "1": "0", "0": "", "x": ""} {
		r := httptest.NewRequest(http.MethodOptions, "/", nil)
		r.Header.Set("Max-Forwards", sent)
		out, err := s.RewriteForSite(r)
		if err != nil || out.Header.Get("Max-Forwards") != want || r.Header.Get("Max-Forwards") != sent {
			t.Errorf("Max-Forwards %s became %q, %v; want %q", sent, out.Header.Get("Max-Forwards"), err, want)
		}
	}
}

func TestHosts(t *testing.T) {
	tests := []struct{ host, name, full string }{
		{"Shop.Example", "shop.example", "shop.example"},
		{"shop.example.", "shop.example", "shop.example"},
		{"shop.example:80", "shop.example", "shop.example"},
		{"shop.example:", "shop.example", "shop.example"},
		{"shop.example.:0080", "shop.example", "shop.example"},
		{"shop.example:8080", "shop.example", "shop.example:8080"},
		{"xn--caf-dma.example", "xn--caf-dma.example", "xn--caf-dma.example"},
		{"192.0.2.1:81", "192.0.2.1", "192.0.2.1:81"},
		{"[2001:DB8::0:1]:81", "[2001:db8::1]", "[2001:db8::1]:81"},
		{"[::1]", "[::1]", "[::1]"},
		{"", "", ""}, {".", "", ""}, {"..", "", ""}, {"a..", "", ""}, {"a..b", "", ""}, {".a", "", ""}, {"a b", "", ""}, {"a/b", "", ""}, {"a@b", "", ""},
		{"a:x", "", ""}, {"a:0", "", ""}, {"a:65536", "", ""}, {"a:-1", "", ""}, {"a:1:2", "", ""}, {"[::1", "", ""}, {"[a]", "", ""},
		{"[fe80::1%25eth0]", "", ""}, {"a\x00", "", ""}, {"caf\xc3\xa9", "", ""}, {strings.Repeat("a", 254), "", ""},
	}
	for _, tt := range tests {
		name, full, err := hostName(tt.host)
		if name != tt.name || full != tt.full || (err == nil) != (tt.name != "") {
			t.Errorf("%q is %q, %q, %v; want %q, %q", tt.host, name, full, err, tt.name, tt.full)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, seed := range []string{"shop.example:80", "[::1]:8", "A.", "AA..", "a:b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		_, full, err := hostName(host)
		if err != nil {
			return
		}
		if _, again, err := hostName(full); err != nil || again != full {
			t.Fatalf("%q is %q, and that is %q, %v", host, full, again, err)
		}
	})
}

func TestSites(t *testing.T) {
	s := newSet(t, func(c *config.Config) {
		c.Origin.URL = "http://192.0.2.1:80"
		other := c.Origin
		other.URL = "https://192.0.2.2"
		mine := c.Origin
		mine.URL = ""
		c.Sites = []config.SiteSettings{
			{Host: "shop.example", Aliases: []string{"www.shop.example", "*.cdn.example", "b.cdn.example:81"}, Origin: other},
			{Host: "deep.cdn.example", Aliases: []string{"*.deep.cdn.example"}, Origin: c.Origin},
			{Host: "built.in:81", Origin: mine},
		}
	})
	for host, want := range map[string]string{
		"":                   "http://192.0.2.1/p",
		"anything":           "http://192.0.2.1/p",
		"SHOP.example.:80":   "https://shop.example/p",
		"shop.example:9999":  "https://shop.example/p",
		"www.shop.example":   "https://shop.example/p",
		"cdn.example":        "http://192.0.2.1/p",
		"a.cdn.example":      "https://shop.example/p",
		"a.b.cdn.example:80": "https://shop.example/p",
		"deep.cdn.example":   "http://deep.cdn.example/p",
		"a.deep.cdn.example": "http://deep.cdn.example/p",
		"built.in:81":        "http://built.in:81/p",
		"built.in":           "http://192.0.2.1/p",
	} {
		out, err := s.RewriteForSite(&http.Request{Method: "GET", Host: host, URL: &url.URL{Path: "/p"}})
		if err != nil || out.URL.String() != want || out.Host != out.URL.Host || !s.Knows(out.URL) {
			t.Errorf("%q is %v, %v; want %s", host, out.URL, err, want)
		}
	}
	if s.Knows(&url.URL{Scheme: "http", Host: "shop.example"}) {
		t.Error("another scheme's pages are known")
	}
	for text, want := range map[string]string{
		"/p?q":                          "[http://192.0.2.1/p?q https://shop.example/p?q http://deep.cdn.example/p?q http://built.in:81/p?q]",
		"http://www.shop.example/a%2fb": "[https://shop.example/a%2fb]",
		"https://shop.example":          "[https://shop.example/]",
		"http://else.where/x#y":         "[http://192.0.2.1/x]",
		"//a/b":                         "[http://192.0.2.1//a/b https://shop.example//a/b http://deep.cdn.example//a/b http://built.in:81//a/b]",
		"p":                             "[]",
		"http:///p":                     "[]",
	} {
		keys, err := s.PurgeKeys(text)
		if fmt.Sprint(keys) != want || (err == nil) != (want != "[]") {
			t.Errorf("purging %q purges %v, %v; want %s", text, keys, err, want)
		}
	}
}
