package certs

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func newTestCA(t *testing.T, rackKey byte) (*ConsoleCA, *x509.CertPool) {
	t.Helper()
	ca, err := NewConsoleCA(bytes.Repeat([]byte{rackKey}, 32))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	ca.AddTo(pool)
	return ca, pool
}

// All boards of a rack have one CA, to the byte, and another rack another.
func TestConsoleCAFollowsFromTheRackKey(t *testing.T) {
	one, _ := newTestCA(t, 1)
	same, _ := newTestCA(t, 1)
	other, _ := newTestCA(t, 2)
	if !bytes.Equal(one.PEM(), same.PEM()) || bytes.Equal(one.PEM(), other.PEM()) {
		t.Error("the CA does not follow from the rack key")
	}
}

// A board's console is recognised by all names that people use for it, and by no other rack's CA.
func TestConsoleCertificate(t *testing.T) {
	ca, pool := newTestCA(t, 1)
	_, foreign := newTestCA(t, 2)
	c := &ConsoleCerts{CA: ca, Boards: []string{"Board-1", "machine"}}
	leaf, err := c.certificateFor(&tls.ClientHelloInfo{ServerName: "shop.example"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{RackHost, "board-1.local", "machine.local", "localhost", "127.0.0.1"} {
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: foreign, DNSName: name}); err == nil {
			t.Errorf("%s is proven to another rack", name)
		}
	}
	if life := leaf.Leaf.NotAfter.Sub(leaf.Leaf.NotBefore); life > 825*24*time.Hour {
		t.Errorf("a life of %v, which some browsers do not accept", life)
	}
	if again, err := c.certificateFor(&tls.ClientHelloInfo{}); err != nil || again != leaf {
		t.Errorf("the next client gets another certificate, or %v", err)
	}
	unset, err := c.makeLeaf(time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unset.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: RackHost}); err != nil {
		t.Errorf("a board without a clock is not recognised: %v", err)
	}
}

// Who has a stolen card can certify nothing but .local names and private addresses.
func TestConsoleCAIsConstrained(t *testing.T) {
	ca, pool := newTestCA(t, 1)
	for _, c := range []struct {
		names   []string
		address string
		allowed bool
	}{
		{[]string{"x.local"}, "192.168.1.5", true},
		{[]string{"x.local", "shop.example"}, "192.168.1.5", false},
		{[]string{"x.local"}, "203.0.113.5", false},
		{[]string{"x.local"}, "2001:db8::1", false},
		{[]string{"x.local"}, "fd00::1", true},
	} {
		key, err := deriveKey(bytes.Repeat([]byte{3}, 32), "test")
		if err != nil {
			t.Fatal(err)
		}
		template, err := newTemplate(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		template.DNSNames, template.IPAddresses = c.names, []net.IP{net.ParseIP(c.address)}
		cert, err := signTemplate(template, ca.cert, &key.PublicKey, ca.key, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "x.local"}); (err == nil) != c.allowed {
			t.Errorf("%v %s: %v", c.names, c.address, err)
		}
		if _, wrong := errors.AsType[x509.CertificateInvalidError](err); !c.allowed && !wrong {
			t.Errorf("%v %s: %v", c.names, c.address, err)
		}
	}
	if !slices.Equal(ca.cert.PermittedDNSDomains, []string{"local", "localhost"}) || !ca.cert.PermittedDNSDomainsCritical {
		t.Error("a client that does not know the constraints would ignore them")
	}
}

// A client that asks for one of the owner's host names gets the owner's certificate; all others, and one
// that names no host, get the rack's own, in a real handshake.
func TestConsoleHasTheOwnersCertificateForTheOwnersNames(t *testing.T) {
	ca, pool := newTestCA(t, 1)
	file := filepath.Join(t.TempDir(), "shop.pem")
	if err := os.WriteFile(file, bundleFor(t, time.Now(), time.Hour, "shop.example"), 0o600); err != nil {
		t.Fatal(err)
	}
	owner := new(fakeRack).newManager(t, "board-1", func(c *Config) { c.Files = []Pair{{file, file}} })
	c := &ConsoleCerts{CA: ca, Boards: []string{"board-1"}, Owner: owner}
	for name, want := range map[string]string{
		"shop.example": "shop.example", "SHOP.example": "shop.example",
		RackHost: RackHost, "board-1.local": RackHost, "other.example": RackHost, "": RackHost,
	} {
		here, there := net.Pipe()
		server := tls.Server(there, c.TLSConfig())
		done := make(chan error, 1)
		go func() { done <- server.Handshake(); there.Close() }()
		client := tls.Client(here, &tls.Config{ServerName: name, InsecureSkipVerify: true}) // the test looks itself
		if err := client.Handshake(); err != nil {
			t.Errorf("%q: %v", name, err)
		} else {
			leaf := client.ConnectionState().PeerCertificates[0]
			if leaf.DNSNames[0] != want {
				t.Errorf("%q gets the certificate of %v", name, leaf.DNSNames)
			}
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: RackHost}); (err == nil) != (want == RackHost) {
				t.Errorf("%q: %v", name, err)
			}
		}
		here.Close()
		if err := <-done; err != nil {
			t.Errorf("%q: the console: %v", name, err)
		}
	}
}
