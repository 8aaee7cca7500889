//go:build unix

package node_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// recordingOrigin is an origin that keeps the last request for each path, with its trailers and its body.
func recordingOrigin(t *testing.T) (url string, seen *sync.Map) {
	seen = new(sync.Map)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen.Store(r.URL.Path, fmt.Sprintf("%v trailers %v body %q", r.Header, r.Trailer, body))
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Trailer", "X-Late")
		fmt.Fprint(w, "page")
		w.Header().Set("X-Late", "secret")
	}))
	t.Cleanup(s.Close)
	return s.URL, seen
}

// No field gets around the wall towards an origin behind a body, behind a bare LF, or by being listed in Connection.
func TestNoFieldGetsAroundTheWall(t *testing.T) {
	url, seen := recordingOrigin(t)
	ownURL, seenOwn := recordingOrigin(t)
	r, addrs := secureRack(t, 1, fmt.Sprintf("[origin]\nurl = %q\n[[site]]\nhost = \"own.example\"\nurl = %q\ntrusted_proxies = [\"127.0.0.0/8\"]\n", url, ownURL))
	r.startAll()
	b := r.boards[0]
	got := func(path string) string {
		text, _ := seen.Load(path)
		s, _ := text.(string)
		return s
	}
	const chunks = "Transfer-Encoding: chunked\r\nConnection: close\r\n"
	for path, request := range map[string]string{
		"/announced":   "POST /announced HTTP/1.1\r\nHost: open.example\r\nTrailer: Remote-User\r\n" + chunks + "\r\n5\r\nabcde\r\n0\r\nRemote-User: root\r\n\r\n",
		"/unannounced": "POST /unannounced HTTP/1.1\r\nHost: open.example\r\n" + chunks + "\r\n5\r\nabcde\r\n0\r\nHost: z\r\nRemote-User: root\r\n\r\n",
		"/get":         "GET /get HTTP/1.1\r\nHost: open.example\r\nTrailer: Remote-User\r\n" + chunks + "\r\n5\r\nabcde\r\n0\r\nRemote-User: root\r\n\r\n",
		"/lf":          "POST /lf HTTP/1.1\nHost: open.example\r\nX-A: b\nRemote-User: root\nContent-Length: 5\r\nConnection: close\n\r\nabcde",
	} {
		if reply := b.sendRaw(request); reply.status != 200 || reply.body != "page" || reply.header.Get("Trailer") != "" {
			t.Errorf("%s: %d %q %v", path, reply.status, reply.body, reply.header)
		}
		if text := got(path); strings.Contains(text, "root") || strings.Contains(text, "Remote") || !strings.Contains(text, "trailers map[]") || !strings.Contains(text, "abcde") {
			t.Errorf("%s: the origin got %s", path, text)
		}
	}
	pool := x509.NewCertPool()
	pool.AddCert(servedCertificate(t, addrs[0], "localhost"))
	req, err := http.NewRequest("POST", "https://localhost/h2", io.MultiReader(strings.NewReader("abcde")))
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Trailer = "open.example", http.Header{"Remote-User": {"root"}}
	reply, err := send(tlsClient(t, addrs[0], &tls.Config{RootCAs: pool}, true), req)
	if err != nil || reply.status != 200 {
		t.Errorf("HTTP/2: %d, %v", reply.status, err)
	}
	if text := got("/h2"); !strings.Contains(text, "trailers map[]") || !strings.Contains(text, "abcde") || strings.Contains(text, "Remote") {
		t.Errorf("HTTP/2: the origin got %s", text)
	}
	// What the site's own proxy adds stays, although its client lists it. Other listed fields are the connection's.
	b.sendRaw("POST /listed HTTP/1.1\r\nHost: own.example\r\nX-Forwarded-For: 203.0.113.9\r\nVia: 1.1 own\r\nX-Hop: 1\r\n" +
		"Connection: x-forwarded-for, Via, X-Hop, close\r\nContent-Length: 0\r\n\r\n")
	listed, _ := seenOwn.Load("/listed")
	if text := fmt.Sprint(listed); !strings.Contains(text, "203.0.113.9") || !strings.Contains(text, "1.1 own") || strings.Contains(text, "X-Hop") {
		t.Errorf("listed: the origin got %s", text)
	}
}

// A client that names no program stays without one on the way through the page's owner.
func TestNoBoardAddsAUserAgent(t *testing.T) {
	runBeside(t)
	url, seen := recordingOrigin(t)
	r := startRack(t, 3, fmt.Sprintf("[origin]\nurl = %q\n", url))
	for i := range 12 {
		path := fmt.Sprintf("/%d", i)
		if reply := r.boards[i%3].sendRaw("GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); reply.status != 200 {
			t.Fatalf("%d", reply.status)
		}
		if text, _ := seen.Load(path); strings.Contains(fmt.Sprint(text), "User-Agent") {
			t.Errorf("the origin got %v", text)
		}
	}
}

// A site whose origin hangs does not keep the rack from fetching another's pages.
func TestHangingSiteLeavesOthersTheirPages(t *testing.T) {
	runBeside(t)
	const crowd = 150 // more than a board fetches at once
	hang := make(chan struct{})
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer evil.Close()
	defer close(hang)
	honest := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "honest")
	}))
	defer honest.Close()
	r := startRack(t, 2, fmt.Sprintf("[[site]]\nhost = \"evil.example\"\nurl = %q\nmax_concurrent = 256\n[[site]]\nhost = \"honest.example\"\nurl = %q\n", evil.URL, honest.URL))
	for i := range crowd {
		for _, b := range r.boards {
			conn, err := net.Dial("tcp", strings.TrimPrefix(b.http, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET /hang/%d HTTP/1.1\r\nHost: evil.example\r\n\r\n", i)
		}
	}
	time.Sleep(2 * time.Second) // longer than the crowd needs; the result does not depend on it
	for i := range 20 {
		for _, b := range r.boards {
			if got := b.getAs("honest.example", fmt.Sprintf("/%d/%s", i, b.name)); got.status != 200 || got.body != "honest" {
				t.Errorf("%s: %d %q", b.name, got.status, got.body)
			}
		}
	}
}
