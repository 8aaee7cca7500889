//go:build unix

package node_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bramble/node/sockets/socketstest"
)

// secureRack prepares a rack whose boards speak TLS too; more is TOML for [tls].
// It returns the addresses.
func secureRack(t *testing.T, size int, more string) (r *rack, addrs []string) {
	t.Helper()
	r = newRack(t, size, "")
	first := socketstest.FreePorts(t, size)
	for i, b := range r.boards {
		addr := fmt.Sprintf("127.0.0.1:%d", first+i)
		addrs = append(addrs, addr)
		f, err := os.OpenFile(b.file, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(f, "\n[tls]\nlisten = %q\nacme_storage = %q\n%s", addr, b.certificates(), more)
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	return r, addrs
}

// certificates returns the board's folder of certificates.
func (p *process) certificates() string { return p.orders() + "-certs" }

// servedCertificate returns the certificate that a board serves for a name.
func servedCertificate(t *testing.T, addr, name string) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{ServerName: name, InsecureSkipVerify: true}) // the test examines it itself
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// tlsClient returns a client that connects to addr and uses the URL's host name.
func tlsClient(t *testing.T, addr string, cfg *tls.Config, h2 bool) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	tr := &http.Transport{
		TLSClientConfig: cfg, Protocols: &protocols,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport: tr, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func TestBoardsShareCertificateAndSessionTickets(t *testing.T) {
	r, addrs := secureRack(t, 2, "redirect_http = true\nhsts_max_age = \"1h\"\n")
	for _, b := range r.boards {
		b.start()
	}
	for _, b := range r.boards {
		b.waitReady()
	}
	one := servedCertificate(t, addrs[0], "localhost")
	if other := servedCertificate(t, addrs[1], "anything.example"); !one.Equal(other) {
		t.Error("two boards of a rack serve two certificates")
	}
	pool := x509.NewCertPool()
	pool.AddCert(one)
	for _, h2 := range []bool{false, true} {
		cfg := &tls.Config{RootCAs: pool, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		for i, addr := range addrs {
			resp, err := tlsClient(t, addr, cfg, h2).Get("https://localhost/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "<html") {
				t.Errorf("HTTP/2: %v, board %d: %s, %v", h2, i+1, resp.Status, err)
			}
			if resp.TLS.DidResume != (i > 0) || resp.ProtoMajor == 2 != h2 || resp.Header.Get("Strict-Transport-Security") != "max-age=3600" {
				t.Errorf("HTTP/2: %v, board %d: resumed %v, %s, %v", h2, i+1, resp.TLS.DidResume, resp.Proto, resp.Header)
			}
		}
	}
	if got := r.boards[1].metric("bramble_tls_handshakes_resumed_total"); got != 2 {
		t.Errorf("the second board counts %v resumed handshakes, want 2", got)
	}
	// No name of this rack has a trusted certificate, so there is no redirect to https.
	if got := r.boards[0].get("/"); got.status != http.StatusOK {
		t.Errorf("plain HTTP answers %d", got.status)
	}
	for _, b := range r.boards {
		b.stop()
	}
}

// writeCertificate writes a new certificate and its key into two files.
func writeCertificate(t *testing.T, cert, key, name string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificateFilesAreReloadedAndPlainHTTPRedirects(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "shop.pem"), filepath.Join(dir, "shop.key")
	writeCertificate(t, cert, key, "shop.example")
	r, addrs := secureRack(t, 1, fmt.Sprintf("redirect_http = true\ncertificate_files = [%q]\nkey_files = [%q]\n", cert, key))
	b := r.boards[0]
	b.start()
	b.waitReady()
	plain := tlsClient(t, strings.TrimPrefix(b.http, "http://"), nil, false)
	for range 3 { // the page is in memory after the first of each
		for url, want := range map[string]string{
			"http://shop.example/?x=1":                           "https://" + addrsHost("shop.example", addrs[0]) + "/?x=1",
			"http://shop.example//other.example/%2e%2e":          "https://" + addrsHost("shop.example", addrs[0]) + "//other.example/%2e%2e",
			"http://other.example/":                              "",
			"http://shop.example/.well-known/acme-challenge/abc": "",
		} {
			resp, err := plain.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := resp.Header.Get("Location"); got != want || (resp.StatusCode == http.StatusPermanentRedirect) != (want != "") {
				t.Errorf("%s: %s to %q, want %q", url, resp.Status, got, want)
			}
		}
	}
	first := servedCertificate(t, addrs[0], "shop.example")
	writeCertificate(t, cert, key, "shop.example")
	eventually(t, "the new certificate", func() (bool, string) {
		now := servedCertificate(t, addrs[0], "shop.example")
		return !now.Equal(first), now.NotAfter.String()
	})
}
