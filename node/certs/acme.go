package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"golang.org/x/crypto/acme"
)

// alpnProto is agreed on by a CA that wants to know whose name it is (RFC 8737).
const alpnProto = acme.ALPNProto

const (
	// caTimeout bounds one request to the CA.
	caTimeout = 30 * time.Second
	// issueTimeout bounds all that it takes to get one certificate.
	issueTimeout = 5 * time.Minute
)

// ACME says which CA is asked for what (RFC 8555).
type ACME struct {
	Names     []string // host names in small letters; a certificate each. None: no CA is asked
	Directory string   // URL
	Email     string   // "" for none
	CA        string   // PEM file that the CA's server is trusted by; "" for the system's
}

// acmeAccount is one rack's account at a CA. The account's key comes from the rack key, so
// that whichever board asks is the same customer.
type acmeAccount struct {
	key  *ecdsa.PrivateKey
	cfg  ACME
	http *http.Client
}

func newACMEAccount(cfg ACME, rackKey []byte) (*acmeAccount, error) {
	key, err := deriveKey(rackKey, "account at a CA")
	if err != nil {
		return nil, err
	}
	roots := (*x509.CertPool)(nil)
	if cfg.CA != "" {
		text, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("[tls] acme_ca_root: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("[tls] acme_ca_root: %s holds no certificate; give the PEM file of the CA's root", cfg.CA)
		}
	}
	return &acmeAccount{key: key, cfg: cfg, http: &http.Client{
		Timeout: caTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots}, MaxConnsPerHost: 2,
			MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: caTimeout,
		},
	}}, nil
}

// challengePublisher has a challenge answered on all boards, and takes it back.
type challengePublisher interface {
	publishChallenge(ctx context.Context, key string, one challenge, wire []byte)
	withdrawChallenge(ctx context.Context, key string)
}

// issueCertificate gets a certificate for a name: it proves by the TLS listener that the
// name is the rack's, or, if that fails, by the plain one.
func (c *acmeAccount) issueCertificate(ctx context.Context, name string, rack challengePublisher) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	defer c.http.CloseIdleConnections()
	client := &acme.Client{Key: c.key, DirectoryURL: c.cfg.Directory, HTTPClient: c.http, UserAgent: "bramble"}
	account := &acme.Account{}
	if c.cfg.Email != "" {
		account.Contact = []string{"mailto:" + c.cfg.Email}
	}
	if _, err := client.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, fmt.Errorf("opening an account: %w", err)
	}
	var failed error
	for _, kind := range [...]string{"tls-alpn-01", "http-01"} {
		order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(name))
		if err != nil {
			return nil, fmt.Errorf("placing an order: %w", err)
		}
		err = c.authorizeOrder(ctx, client, order, name, kind, rack)
		var refused *acme.AuthorizationError
		switch {
		case err == nil:
			return c.finalizeOrder(ctx, client, order, name)
		case !errors.As(err, &refused) && !errors.Is(err, errNotOffered):
			return nil, err
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", kind, err))
	}
	return nil, failed
}

// errNotOffered: the CA does not offer a kind of challenge.
var errNotOffered = errors.New("the CA does not offer it")

// authorizeOrder answers an order's challenges of one kind.
func (c *acmeAccount) authorizeOrder(ctx context.Context, client *acme.Client, order *acme.Order, name, kind string, rack challengePublisher) error {
	for _, url := range order.AuthzURLs {
		authz, err := client.GetAuthorization(ctx, url)
		if err != nil {
			return fmt.Errorf("asking what to prove: %w", err)
		}
		if authz.Status == acme.StatusValid {
			continue // from an order before
		}
		at := slices.IndexFunc(authz.Challenges, func(one *acme.Challenge) bool { return one.Type == kind })
		if at < 0 {
			return errNotOffered
		}
		offered := authz.Challenges[at]
		key, shown, wire, err := prepareChallenge(client, name, offered)
		if err != nil {
			return fmt.Errorf("making the proof: %w", err)
		}
		rack.publishChallenge(ctx, key, shown, wire)
		err = func() error {
			if _, err := client.Accept(ctx, offered); err != nil {
				return fmt.Errorf("offering the proof: %w", err)
			}
			if _, err := client.WaitAuthorization(ctx, authz.URI); err != nil {
				return fmt.Errorf("waiting for the CA to look: %w", err)
			}
			return nil
		}()
		// Also when there is no more time.
		rack.withdrawChallenge(context.WithoutCancel(ctx), key)
		if err != nil {
			return err
		}
	}
	return nil
}

// prepareChallenge makes what the CA is to be shown, and its form between boards.
func prepareChallenge(client *acme.Client, name string, offered *acme.Challenge) (key string, one challenge, wire []byte, err error) {
	if offered.Type == "http-01" {
		text, err := client.HTTP01ChallengeResponse(offered.Token)
		return offered.Token, challenge{text: text}, []byte(text), err
	}
	cert, err := client.TLSALPN01ChallengeCert(offered.Token, name)
	if err != nil {
		return "", challenge{}, nil, err
	}
	if wire, err = encodeBundle(cert.PrivateKey, cert.Certificate); err != nil {
		return "", challenge{}, nil, err
	}
	key = alpnKey(name)
	one, err = parseChallenge(key, wire) // as the other boards do
	return key, one, wire, err
}

// finalizeOrder has the CA sign a new key.
func (c *acmeAccount) finalizeOrder(ctx context.Context, client *acme.Client, order *acme.Order, name string) ([]byte, error) {
	if _, err := client.WaitOrder(ctx, order.URI); err != nil {
		return nil, fmt.Errorf("waiting for the order: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	chain, _, err := client.CreateOrderCert(ctx, order.FinalizeURL, request, true)
	if err != nil {
		// A CA that takes its time need not say again where the order is (RFC 8555
		// §7.4), and the library has forgotten.
		done, again := client.WaitOrder(ctx, order.URI)
		if again != nil {
			return nil, fmt.Errorf("waiting for the certificate: %w: %w", err, again)
		}
		if chain, err = client.FetchCert(ctx, done.CertURL, true); err != nil {
			return nil, fmt.Errorf("fetching the certificate: %w", err)
		}
	}
	return encodeBundle(key, chain)
}

// encodeBundle writes what parseBundle reads.
func encodeBundle(key any, chain [][]byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	var b bytes.Buffer
	blocks := []*pem.Block{{Type: "PRIVATE KEY", Bytes: der}}
	for _, one := range chain {
		blocks = append(blocks, &pem.Block{Type: "CERTIFICATE", Bytes: one})
	}
	for _, block := range blocks {
		if err := pem.Encode(&b, block); err != nil {
			return nil, fmt.Errorf("encoding a certificate: %w", err)
		}
	}
	return b.Bytes(), nil
}
