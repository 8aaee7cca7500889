//go:build unix

package node_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bramble/node/console"
	"bramble/node/sockets/socketstest"
)

// serversFolder contains the programs of .ci/servers/go.mod once they are built.
const serversFolder = "../.ci/servers/bin"

// server is the path of one of them; without it the test is skipped, but not in CI.
func server(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(serversFolder, name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs %s: go build -C .ci/servers -o bin/ tool", name)
	}
	t.Skipf("this test needs %s: go build -C .ci/servers -o bin/ tool", name)
	return ""
}

// running starts a program until the test ends and returns its log file.
func running(t *testing.T, env []string, path string, args ...string) (log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), filepath.Base(path)+".log")
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), f, f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(log); t.Failed() && err == nil {
			t.Logf("log of %s:\n%s", path, text[max(0, len(text)-maxLog):])
		}
	})
	return log
}

// authority is an ACME CA: Pebble, Let's Encrypt's own test server.
type authority struct {
	t         *testing.T
	directory string // URL
	trust     string // PEM file of its root
	log       string
	manage    string // URL of its management API
	client    *http.Client
}

// startAuthority runs an authority that validates names at two ports of 127.0.0.1, and
// whose certificates are valid for validity seconds.
func startAuthority(t *testing.T, httpPort, tlsPort string, validity int) *authority {
	t.Helper()
	pebble, dns := server(t, "pebble"), server(t, "pebble-challtestsrv")
	ports := socketstest.FreePorts(t, 4)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports+i) }
	dir := t.TempDir()
	cert, key, pool := selfSigned(t, dir)
	config := map[string]any{"pebble": map[string]any{
		"listenAddress": at(0), "managementListenAddress": at(1), "certificate": cert, "privateKey": key,
		"httpPort": json.Number(httpPort), "tlsPort": json.Number(tlsPort), "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "of this test", "validityPeriod": validity}},
	}}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	running(t, nil, dns, "-dnsserver", at(2), "-management", at(3), "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "",
		"-defaultIPv4", "127.0.0.1", "-defaultIPv6", "")
	a := &authority{
		t: t, directory: "https://" + at(0) + "/dir", trust: cert, manage: "https://" + at(1),
		client: &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}},
	}
	a.log = running(t, []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0"}, pebble, "-config", file, "-dnsserver", at(2), "-strict")
	eventually(t, "the CA", func() (bool, string) {
		resp, err := a.client.Get(a.directory)
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return true, ""
	})
	return a
}

// selfSigned writes a certificate for 127.0.0.1 with its key.
func selfSigned(t *testing.T, dir string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "a CA's server"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	if err := os.WriteFile(cert, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600); err != nil {
		t.Fatal(err)
	}
	return cert, key, pool
}

// roots returns the roots of its certificates.
func (a *authority) roots() *x509.CertPool {
	a.t.Helper()
	resp, err := a.client.Get(a.manage + "/roots/0")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		a.t.Fatalf("the CA's root is %q, %v", text, err)
	}
	return pool
}

// issued returns the number of certificates that it has issued.
func (a *authority) issued() int {
	text, err := os.ReadFile(a.log)
	if err != nil {
		a.t.Fatal(err)
	}
	return bytes.Count(text, []byte("Issued certificate serial"))
}

const acmeName = "shop.example"

// trusted returns the certificate of a board if the CA issued it.
func trusted(addr string, roots *x509.CertPool) (*x509.Certificate, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, &tls.Config{ServerName: acmeName, RootCAs: roots})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// awaitTrusted waits until all addrs serve the same certificate of the CA, and not
// older.
func awaitTrusted(t *testing.T, addrs []string, roots *x509.CertPool, older *x509.Certificate) *x509.Certificate {
	t.Helper()
	var all *x509.Certificate
	eventually(t, "one certificate on all boards", func() (bool, string) {
		all = nil
		for _, addr := range addrs {
			one, err := trusted(addr, roots)
			switch {
			case err != nil:
				return false, err.Error()
			case older != nil && one.Equal(older):
				return false, "the old one is there"
			case all != nil && !all.Equal(one):
				return false, "there are two"
			}
			all = one
		}
		return true, ""
	})
	return all
}

func portPart(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// One board requests a certificate, the CA validates at another, and all serve it. The
// board that requested it dies, and another renews.
func TestOneBoardGetsTheCertificateForAll(t *testing.T) {
	server(t, "pebble") // skips the test before it prepares boards
	const size = 3
	probe := socketstest.FreePorts(t, 1)
	r, addrs := secureRack(t, size, fmt.Sprintf("acme_domains = [%q]\nacme_email = \"ops@shop.example\"\nredirect_http = true\n", acmeName)+"acme_directory_url = \"DIRECTORY\"\nacme_ca_root = \"TRUST\"\n")
	// The CA validates at a port that is forwarded to a board that did not request.
	looked := fmt.Sprintf("127.0.0.1:%d", probe)
	// Certificates of 24 s are renewed after 16.
	ca := startAuthority(t, portPart(t, strings.TrimPrefix(r.boards[0].http, "http://")), portPart(t, looked), 24)
	r.fill(map[string]string{"DIRECTORY": ca.directory, "TRUST": ca.trust})
	for _, b := range r.boards {
		b.start()
	}
	for _, b := range r.boards {
		b.waitReady()
	}
	asks := ""
	r.boards[0].waitFor("the board that asks the CA", func(s console.RackView) bool {
		for _, notice := range s.Notices {
			if strings.Contains(notice, acmeName) {
				for _, b := range r.boards {
					if strings.Contains(notice, b.name+" is ordering one from the CA") {
						asks = b.name
					}
				}
			}
		}
		return asks != "" && len(s.Boards) == size
	})
	asker := 0
	for i, b := range r.boards {
		if b.name == asks {
			asker = i
		}
	}
	forwardConnections(t, looked, addrs[(asker+1)%size])
	roots := ca.roots()
	first := awaitTrusted(t, addrs, roots, nil)
	if n := ca.issued(); n != 1 {
		t.Errorf("%d certificates were issued, want 1", n)
	}
	if text, err := os.ReadFile(ca.log); err != nil || strings.Contains(string(text), "set INVALID") {
		t.Errorf("a validation by the CA failed, %v", err)
	}
	for i, b := range r.boards {
		info, err := os.Stat(filepath.Join(b.certificates(), acmeName+".pem"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: the stored certificate: %v, %v", b.name, info, err)
		}
		resp, err := tlsClient(t, strings.TrimPrefix(b.http, "http://"), nil, false).Get("http://" + acmeName + "/p/berry?x=1")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		want := "https://" + addrsHost(acmeName, addrs[i]) + "/p/berry?x=1"
		if resp.StatusCode != http.StatusPermanentRedirect || resp.Header.Get("Location") != want {
			t.Errorf("%s sends plain HTTP with %d to %q, want %q", b.name, resp.StatusCode, resp.Header.Get("Location"), want)
		}
	}
	r.boards[asker].kill()
	left := append(append([]string(nil), addrs[:asker]...), addrs[asker+1:]...)
	eventually(t, "another board to ask the CA", func() (bool, string) {
		n := ca.issued()
		return n > 1, fmt.Sprintf("%d certificates were issued", n)
	})
	second := awaitTrusted(t, left, roots, first)
	if !second.NotAfter.After(first.NotAfter) {
		t.Errorf("renewed until %v, was %v", second.NotAfter, first.NotAfter)
	}
	if n := ca.issued(); n != 2 {
		t.Errorf("%d certificates were issued, want 2", n)
	}
	// The dead board comes back and serves the new certificate.
	r.boards[asker].start()
	r.boards[asker].waitReady()
	awaitTrusted(t, addrs, roots, first)
}

// A CA that cannot validate by TLS does so by plain HTTP.
func TestACMEChallengeByPlainHTTP(t *testing.T) {
	server(t, "pebble")
	closed := socketstest.FreePorts(t, 1)
	r, addrs := secureRack(t, 2, fmt.Sprintf("acme_domains = [%q]\n", acmeName)+"acme_directory_url = \"DIRECTORY\"\nacme_ca_root = \"TRUST\"\n")
	ca := startAuthority(t, portPart(t, strings.TrimPrefix(r.boards[1].http, "http://")), fmt.Sprint(closed), 3600)
	r.fill(map[string]string{"DIRECTORY": ca.directory, "TRUST": ca.trust})
	for _, b := range r.boards {
		b.start()
	}
	for _, b := range r.boards {
		b.waitReady()
	}
	awaitTrusted(t, addrs, ca.roots(), nil)
	if n := ca.issued(); n != 1 {
		t.Errorf("%d certificates were issued, want 1", n)
	}
}

// fill replaces words in the boards' files.
func (r *rack) fill(words map[string]string) {
	r.t.Helper()
	for _, b := range r.boards {
		text, err := os.ReadFile(b.file)
		if err != nil {
			r.t.Fatal(err)
		}
		for word, by := range words {
			text = bytes.ReplaceAll(text, []byte(word), []byte(by))
		}
		if err := os.WriteFile(b.file, text, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

// addrsHost is a name with the port of an address.
func addrsHost(name, addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(name, port)
}

// forwardConnections sends connections to one address on to another until the test ends.
func forwardConnections(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.DialTimeout("tcp", to, patience)
			if err != nil {
				in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); out.Close() }()
			go func() { _, _ = io.Copy(in, out); in.Close() }()
		}
	}()
}
