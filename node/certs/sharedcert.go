package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
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
