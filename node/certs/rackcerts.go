package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxKeyAttempts limits the search for a number that is a private key of P-256: one
// attempt in 2³² fails.
const maxKeyAttempts = 8

// deriveKey derives a private key from a rack key, the same on every board.
func deriveKey(rackKey []byte, purpose string) (*ecdsa.PrivateKey, error) {
	for try := range maxKeyAttempts {
		scalar, err := hkdf.Key(sha256.New, rackKey, nil, fmt.Sprintf("bramble %s v1 %d", purpose, try), 32)
		if err != nil {
			return nil, fmt.Errorf("deriving the key of the %s: %w", purpose, err)
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("no key of the %s can be derived from this rack key: create another with \"bramble key\"", purpose)
}

// makeSharedCertificate makes the certificate for names that have no other. It is the
// same to the byte on each board with the same sites, so that a browser that trusts it
// trusts all boards. It is self-signed and cannot sign another, so
// trust in it covers these names only.
func makeSharedCertificate(rackKey []byte, names []string) (*tls.Certificate, error) {
	key, err := deriveKey(rackKey, "shared certificate")
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	names = append(slices.Clone(names), "localhost", "*.local")
	slices.Sort(names)
	template.DNSNames = slices.Compact(names)
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback}
	// Without a source of randomness the signature depends on key and text alone (RFC 6979).
	return signTemplate(template, template, &key.PublicKey, key, nil)
}

// newTemplate returns a template of the rack's certificate for a key, without names.
func newTemplate(public *ecdsa.PublicKey) (*x509.Certificate, error) {
	raw, err := public.Bytes()
	if err != nil {
		return nil, fmt.Errorf("the key of a certificate: %w", err)
	}
	sum := sha256.Sum256(raw)
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(sum[:16]),
		Subject:      pkix.Name{CommonName: "bramble rack " + hex.EncodeToString(sum[:8])},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// A board may not know the date. A new rack key ends the certificate.
		NotBefore:             time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		BasicConstraintsValid: true,
	}, nil
}

// signTemplate signs a certificate, and returns it with the signer's key.
func signTemplate(template, parent *x509.Certificate, public *ecdsa.PublicKey, signer *ecdsa.PrivateKey, random io.Reader) (*tls.Certificate, error) {
	der, err := x509.CreateCertificate(random, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate of the rack: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading a certificate of the rack: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer, Leaf: leaf}, nil
}

// ticketPeriod is the time for which tickets are made with one key: a client that returns
// on the same day resumes its session.
const ticketPeriod = 12 * time.Hour

func ticketPeriodAt(now time.Time) int64 { return now.Unix() / int64(ticketPeriod/time.Second) }

// deriveTicketKeys returns the keys of session tickets in a period: for each rack key
// those of this period, the previous one, and the next one, for a board whose clock is
// ahead. The first key is for new tickets. All boards of a rack derive the same keys.
func deriveTicketKeys(rackKeys [][]byte, period int64) ([][32]byte, error) {
	var keys [][32]byte
	for _, rackKey := range rackKeys {
		for _, p := range [...]int64{period, period - 1, period + 1} {
			key, err := hkdf.Key(sha256.New, rackKey, nil, fmt.Sprintf("bramble session tickets v1 %d", p), 32)
			if err != nil {
				return nil, fmt.Errorf("deriving the keys of session tickets: %w", err)
			}
			keys = append(keys, [32]byte(key))
		}
	}
	return keys, nil
}

// RenewTicketKeys sets the keys of session tickets if a new period has begun. Run calls it.
func (m *Manager) RenewTicketKeys() {
	period := ticketPeriodAt(m.cfg.Now())
	m.mu.Lock()
	current := m.hasTicketKeys && m.ticketPeriod == period
	m.ticketPeriod, m.hasTicketKeys = period, true
	m.mu.Unlock()
	if current {
		return
	}
	keys, err := deriveTicketKeys(m.cfg.RackKeys, period)
	if err != nil {
		m.cfg.Logger.Error("the keys of session tickets cannot be renewed", "error", err)
		return
	}
	m.cfg.SetTicketKeys(keys)
}

// RackHost is the host name that every board's console has in its certificate.
const RackHost = "bramble.local"

const (
	// leafLife is the life of a console's certificate: Apple's limit for CAs that a user
	// added is 825 days.
	leafLife = 800 * 24 * time.Hour
	// leafRenewal is the age at which it is replaced, by one with the board's addresses of then.
	leafRenewal = 10 * time.Minute
)

// ConsoleCA is the certificate authority of a rack's consoles. It derives from the rack
// key, so each board has the same one to the byte. By its name constraints it can certify only
// .local names and private addresses: a thief of a card can imitate nothing
// else towards a computer that trusts it.
type ConsoleCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// privateNetworks are the addresses that a ConsoleCA can certify.
func privateNetworks() (list []*net.IPNet) {
	for _, text := range []string{"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10"} {
		p := netip.MustParsePrefix(text)
		list = append(list, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return list
}

// NewConsoleCA derives the CA of a rack key.
func NewConsoleCA(rackKey []byte) (*ConsoleCA, error) {
	key, err := deriveKey(rackKey, "console authority")
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	template.Subject.CommonName = "bramble consoles " + strings.TrimPrefix(template.Subject.CommonName, "bramble rack ")
	template.IsCA, template.MaxPathLenZero, template.KeyUsage = true, true, x509.KeyUsageCertSign
	template.PermittedDNSDomainsCritical, template.PermittedDNSDomains = true, []string{"local", "localhost"}
	template.PermittedIPRanges = privateNetworks()
	template.ExtKeyUsage = nil
	cert, err := signTemplate(template, template, &key.PublicKey, key, nil)
	if err != nil {
		return nil, err
	}
	return &ConsoleCA{cert.Leaf, key}, nil
}

// PEM returns the certificate for a computer that shall trust the rack's consoles; it is no secret.
func (c *ConsoleCA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// Name returns the name under which a computer lists the certificate.
func (c *ConsoleCA) Name() string { return c.cert.Subject.CommonName }

// AddTo makes a pool trust the CA.
func (c *ConsoleCA) AddTo(pool *x509.CertPool) { pool.AddCert(c.cert) }

// ConsoleCerts are the certificates of one board's console. It is safe for concurrent use.
type ConsoleCerts struct {
	CA     *ConsoleCA
	Boards []string // names of the board, without ".local"
	Owner  *Manager // certificates for the owner's host names; nil: none
	mu     sync.Mutex
	leaf   *tls.Certificate // guarded by mu, as is madeAt
	madeAt time.Time
}

// TLSConfig returns the configuration of the console's listener: TLS 1.3, so that what is
// recorded stays secret also if the rack key is stolen later.
func (c *ConsoleCerts) TLSConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, GetCertificate: c.certificateFor}
}

// certificateFor returns the owner's certificate for the name that a client sends, else the
// rack's own.
func (c *ConsoleCerts) certificateFor(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.Owner != nil && c.Owner.HasCertificate(hello.ServerName) {
		return c.Owner.Certificate(hello)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().Round(0) // without the monotonic clock: a card's clock is set later
	if c.leaf == nil || now.Sub(c.madeAt).Abs() > leafRenewal {
		leaf, err := c.makeLeaf(now)
		if err != nil {
			return nil, err
		}
		c.leaf, c.madeAt = leaf, now
	}
	return c.leaf, nil
}

// makeLeaf makes a certificate for the board's names and its addresses now. Its key never
// leaves the process.
func (c *ConsoleCerts) makeLeaf(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("the console's certificate: %w", err)
	}
	template, err := newTemplate(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	template.DNSNames = []string{RackHost, "localhost"}
	for _, name := range c.Boards {
		template.DNSNames = append(template.DNSNames, strings.ToLower(name)+".local")
	}
	found, _ := net.InterfaceAddrs() // without them, names are enough
	for _, one := range found {
		network, ok := one.(*net.IPNet)
		if ok && slices.ContainsFunc(privateNetworks(), func(n *net.IPNet) bool { return n.Contains(network.IP) }) {
			template.IPAddresses = append(template.IPAddresses, network.IP)
		}
	}
	if now.After(template.NotBefore.AddDate(10, 0, 0)) { // else the clock is not set, and any date would be wrong
		template.NotBefore = now.Add(-48 * time.Hour)
		template.NotAfter = now.Add(leafLife)
	}
	cert, err := signTemplate(template, c.CA.cert, &key.PublicKey, c.CA.key, rand.Reader)
	if err != nil {
		return nil, err
	}
	cert.PrivateKey = key
	return cert, nil
}
