package link

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"
)

// fixedTime is the time by which the rack link verifies certificates. A board
// without a clock starts in 1970 and must still reach its peers, so no certificate
// of the link has a meaningful date: a new rack key retires it.
func fixedTime() time.Time { return time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC) }

// certificateValidity returns the validity period of every certificate of the link.
func certificateValidity() (notBefore, notAfter time.Time) {
	return time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
}

// linkIdentity holds a board's certificate, and the roots that verify other boards'. Each rack
// key yields one certificate authority, the same on every board. A board proves
// that it holds the key by a certificate that this authority has signed.
type linkIdentity struct {
	knockKeys [][]byte // an HMAC key for each rack key, the primary first
	leaf      tls.Certificate
	roots     *x509.CertPool
}

func newIdentity(name string, keys [][]byte) (*linkIdentity, error) {
	id := &linkIdentity{roots: x509.NewCertPool()}
	for i, key := range keys {
		knock, err := hkdf.Key(sha256.New, key, nil, "bramble link knock v1", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("rack link: deriving the knock: %w", err)
		}
		id.knockKeys = append(id.knockKeys, knock)
		authority, signer, err := rackAuthority(key)
		if err != nil {
			return nil, err
		}
		id.roots.AddCert(authority)
		if i == 0 {
			if id.leaf, err = boardCertificate(name, authority, signer); err != nil {
				return nil, err
			}
		}
	}
	return id, nil
}

// rackAuthority derives the certificate authority of a rack key. Ed25519
// signatures are deterministic, so all boards derive the same certificate.
func rackAuthority(key []byte) (*x509.Certificate, ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, key, nil, "bramble link authority v1", ed25519.SeedSize)
	if err != nil {
		return nil, nil, fmt.Errorf("rack link: deriving the authority: %w", err)
	}
	signer := ed25519.NewKeyFromSeed(seed)
	fingerprint := sha256.Sum256(signer.Public().(ed25519.PublicKey))
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "bramble rack " + hex.EncodeToString(fingerprint[:8])},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	template.NotBefore, template.NotAfter = certificateValidity()
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("rack link: making the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("rack link: reading the authority's certificate: %w", err)
	}
	return cert, signer, nil
}

// boardCertificate makes this process's certificate. Its key never leaves the
// process and is new at each start.
func boardCertificate(name string, authority *x509.Certificate, signer ed25519.PrivateKey) (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("rack link: making the board's key: %w", err)
	}
	template := &x509.Certificate{ // the serial number is random
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    []string{boardHost(name)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	template.NotBefore, template.NotAfter = certificateValidity()
	der, err := x509.CreateCertificate(rand.Reader, template, authority, public, signer)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("rack link: signing the board's certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}

// boardHost returns the DNS name in a board's certificate. It is a hash, because a
// board's own name may contain characters that a DNS label may not.
func boardHost(board string) string {
	sum := sha256.Sum256([]byte(board))
	return hex.EncodeToString(sum[:16]) + ".board"
}

// serverConfig requires a certificate of this rack. It offers only X25519 and no
// session tickets: connections are few and live long, so there is little to
// resume, and a post-quantum key share would cost an ARM11 more than it protects.
func (id *linkIdentity) serverConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{id.leaf},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              id.roots,
		CurvePreferences:       []tls.CurveID{tls.X25519},
		SessionTicketsDisabled: true,
		Time:                   fixedTime,
		NextProtos:             []string{"http/1.1"},
	}
}

// clientConfig requires that the peer is the named board.
func (id *linkIdentity) clientConfig(board string) *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		Certificates:     []tls.Certificate{id.leaf},
		RootCAs:          id.roots,
		ServerName:       boardHost(board),
		CurvePreferences: []tls.CurveID{tls.X25519},
		Time:             fixedTime,
		NextProtos:       []string{"http/1.1"},
	}
}
