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

const alpnProto = acme.ALPNProto // protocol of a CA that validates by tls-alpn-01 (RFC 8737)

const (
	caTimeout    = 30 * time.Second // of one request to the CA
	issueTimeout = 5 * time.Minute  // of the complete issuing of one certificate
)

// ACME is the configuration of issuing by a CA (RFC 8555).
type ACME struct {
	Names     []string // host names in lower case, with one certificate each; none: there is no CA
	Directory string   // URL
	Email     string   // "" for none
	CA        string   // PEM file of the root that the CA's server is verified with; "" for the system's roots
}

// newCAClient returns a client of the CA's server; rootFile is as in ACME.CA.
func newCAClient(rootFile string) (*http.Client, error) {
	roots := (*x509.CertPool)(nil)
	if rootFile != "" {
		text, err := os.ReadFile(rootFile)
		if err != nil {
			return nil, fmt.Errorf("[tls] acme_ca_root: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("[tls] acme_ca_root: %s holds no certificate; give the PEM file of the CA's root", rootFile)
		}
	}
	return &http.Client{
		Timeout: caTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots}, MaxConnsPerHost: 2,
			MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: caTimeout,
		},
	}, nil
}

// issueCertificate orders a certificate for a name. It authorizes the order by
// tls-alpn-01 or, if that fails, by http-01.
func (i *issuer) issueCertificate(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	defer i.http.CloseIdleConnections()
	cfg := i.manager.cfg.ACME
	client := &acme.Client{Key: i.accountKey, DirectoryURL: cfg.Directory, HTTPClient: i.http, UserAgent: "bramble"}
	account := &acme.Account{}
	if cfg.Email != "" {
		account.Contact = []string{"mailto:" + cfg.Email}
	}
	if _, err := client.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, fmt.Errorf("registering an account: %w", err)
	}
	var failed error
	for _, challengeType := range [...]string{"tls-alpn-01", "http-01"} {
		order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(name))
		if err != nil {
			return nil, fmt.Errorf("placing an order: %w", err)
		}
		err = i.authorizeOrder(ctx, client, order, name, challengeType)
		switch {
		case err == nil:
			return finalizeOrder(ctx, client, order, name)
		case !errors.As(err, new(*acme.AuthorizationError)) && !errors.Is(err, errNotOffered):
			return nil, err
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", challengeType, err))
	}
	return nil, failed
}

var errNotOffered = errors.New("the CA does not offer this type of challenge")

// authorizeOrder completes an order's authorizations with challenges of one type.
func (i *issuer) authorizeOrder(ctx context.Context, client *acme.Client, order *acme.Order, name, challengeType string) error {
	for _, url := range order.AuthzURLs {
		authz, err := client.GetAuthorization(ctx, url)
		if err != nil {
			return fmt.Errorf("fetching an authorization: %w", err)
		}
		if authz.Status == acme.StatusValid {
			continue // from an earlier order
		}
		at := slices.IndexFunc(authz.Challenges, func(offer *acme.Challenge) bool { return offer.Type == challengeType })
		if at < 0 {
			return errNotOffered
		}
		offered := authz.Challenges[at]
		key, response, wire, err := prepareChallenge(client, name, offered)
		if err != nil {
			return fmt.Errorf("preparing the challenge: %w", err)
		}
		i.publishChallenge(ctx, key, response, wire)
		err = func() error {
			if _, err := client.Accept(ctx, offered); err != nil {
				return fmt.Errorf("accepting the challenge: %w", err)
			}
			if _, err := client.WaitAuthorization(ctx, authz.URI); err != nil {
				return fmt.Errorf("waiting for the authorization: %w", err)
			}
			return nil
		}()
		// Even if ctx has ended.
		i.withdrawChallenge(context.WithoutCancel(ctx), key)
		if err != nil {
			return err
		}
	}
	return nil
}

// prepareChallenge returns a challenge's response, and its encoding for other boards.
func prepareChallenge(client *acme.Client, name string, offered *acme.Challenge) (key string, response challenge, wire []byte, err error) {
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
	response, err = parseChallenge(key, wire) // as the other boards do
	return key, response, wire, err
}

// finalizeOrder finalizes an authorized order with a new key, and returns the bundle.
func finalizeOrder(ctx context.Context, client *acme.Client, order *acme.Order, name string) ([]byte, error) {
	if _, err := client.WaitOrder(ctx, order.URI); err != nil {
		return nil, fmt.Errorf("waiting for the order: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating a key: %w", err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		return nil, fmt.Errorf("creating the certificate request: %w", err)
	}
	chain, _, err := client.CreateOrderCert(ctx, order.FinalizeURL, request, true)
	if err != nil {
		// A slow CA need not repeat the order's URL (RFC 8555 §7.4), and the library
		// does not store it.
		done, waitErr := client.WaitOrder(ctx, order.URI)
		if waitErr != nil {
			return nil, fmt.Errorf("waiting for the certificate: %w: %w", err, waitErr)
		}
		if chain, err = client.FetchCert(ctx, done.CertURL, true); err != nil {
			return nil, fmt.Errorf("fetching the certificate: %w", err)
		}
	}
	return encodeBundle(key, chain)
}

// encodeBundle returns a key and its chain in the form for parseBundle.
func encodeBundle(key any, chain [][]byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	var b bytes.Buffer
	blocks := []*pem.Block{{Type: "PRIVATE KEY", Bytes: der}}
	for _, der := range chain {
		blocks = append(blocks, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	for _, block := range blocks {
		if err := pem.Encode(&b, block); err != nil {
			return nil, fmt.Errorf("encoding a certificate: %w", err)
		}
	}
	return b.Bytes(), nil
}
