// Package certs manages the certificates and session ticket keys of a rack.
// Certificates come from files, from a CA by ACME (one board orders for all), or from
// the rack key, from which each board derives the same one. The package knows boards by
// name and nothing about listeners. DESIGN.md has the reasons.
package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// RackPeers is the connection to the other boards of the rack.
type RackPeers interface {
	// Peers returns the live boards except this one.
	Peers() []string
	// Owner returns the board that is responsible for a key; "" while this board
	// cannot know, because it is not in service or cut off from most of the rack.
	Owner(key string) string
	// Call sends a request to a board by the path of its URL. Private keys travel on
	// the connection, so both sides must have proved that they hold the rack key.
	Call(ctx context.Context, board string, r *http.Request) (*http.Response, error)
}

// Pair is a certificate in two PEM files.
type Pair struct{ Certificate, Key string }

// Config is the configuration of a Manager.
type Config struct {
	Self          string   // this board's name
	RackKeys      [][]byte // the one in use first
	Names         []string // host names of the rack's sites, for the shared certificate
	Files         []Pair
	ACME          ACME
	Folder        string // for certificates from the CA; unused without one
	Rack          RackPeers
	SetTicketKeys func([][32]byte) // receives the keys of session tickets whenever they change
	// ClockSet reports whether the clock is right. Until then nothing is renewed.
	ClockSet func() bool
	Now      func() time.Time
	Logger   *slog.Logger
}

// Manager holds and renews certificates. It is safe for concurrent use.
type Manager struct {
	cfg        Config
	shared     *tls.Certificate
	files      []*certFile
	store      *store
	challenges *challenges
	issuer     *issuer // nil: there is no CA
	// index has all certificates by name. It is replaced and never changed.
	index atomic.Pointer[certIndex]

	mu            sync.Mutex // guards what follows, and the rebuilding of index
	ticketPeriod  int64
	hasTicketKeys bool // ticketPeriod is set
}

type certIndex struct {
	byName   map[string][]*tls.Certificate // names may be wildcards: "*.shop.example"
	fallback *tls.Certificate              // for clients that send another name, or none
}

// ErrNoChallenge: a CA asked for a challenge that no board has published.
var ErrNoChallenge = errors.New("no such challenge is pending")

// New reads all certificates. A mistake in a file is an error. A mistake in a
// stored certificate is logged, and a new one is ordered.
func New(cfg Config) (*Manager, error) {
	m := &Manager{cfg: cfg, challenges: newChallenges(cfg.Now)}
	var err error
	if m.shared, err = makeSharedCertificate(cfg.RackKeys[0], cfg.Names); err != nil {
		return nil, err
	}
	for _, pair := range cfg.Files {
		file := &certFile{pair: pair}
		if err := file.load(); err != nil {
			return nil, err
		}
		m.files = append(m.files, file)
	}
	if m.store, err = openStore(cfg.Folder, cfg.ACME.Names, cfg.Logger); err != nil {
		return nil, err
	}
	if len(cfg.ACME.Names) > 0 {
		if m.issuer, err = newIssuer(m); err != nil {
			return nil, err
		}
	}
	m.rebuildIndex()
	return m, nil
}

func (m *Manager) rebuildIndex() {
	m.mu.Lock()
	defer m.mu.Unlock()
	index := &certIndex{byName: map[string][]*tls.Certificate{}, fallback: m.shared}
	for i, file := range m.files {
		cert := file.cert.Load()
		if i == 0 {
			index.fallback = cert
		}
		for _, name := range cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			index.byName[name] = append(index.byName[name], cert)
		}
	}
	for _, issued := range m.store.all() {
		index.byName[issued.name] = append(index.byName[issued.name], &issued.cert)
	}
	m.index.Store(index)
}

// Certificate returns the certificate for a client: one for the name that it sends,
// or else the fallback, which the client's owner must choose to trust. It never waits.
func (m *Manager) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == alpnProto {
		response, _ := m.challenges.get(alpnKey(canonicalName(hello.ServerName)))
		if response.cert == nil {
			return nil, fmt.Errorf("%.80q: %w", hello.ServerName, ErrNoChallenge)
		}
		return response.cert, nil
	}
	index := m.index.Load()
	list := index.certificatesFor(hello.ServerName)
	for _, cert := range list[:max(len(list)-1, 0)] {
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	if len(list) > 0 {
		return list[len(list)-1], nil
	}
	return index.fallback, nil
}

// HasCertificate reports whether there is a certificate from a file or a CA for a
// host, which may have a port.
func (m *Manager) HasCertificate(host string) bool {
	if at := strings.LastIndexByte(host, ':'); at >= 0 && strings.IndexByte(host[at:], ']') < 0 {
		host = host[:at]
	}
	return len(m.index.Load().certificatesFor(host)) > 0
}

func (c *certIndex) certificatesFor(name string) []*tls.Certificate {
	name = canonicalName(name)
	if list := c.byName[name]; list != nil {
		return list
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return c.byName["*."+parent]
	}
	return nil
}

// canonicalName returns a host name in lower case without a final dot.
func canonicalName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

const (
	checkInterval     = time.Second     // between two checks for work
	fileCheckInterval = 5 * time.Second // a copied file is in use soon, and the checks are no load for a card
	pullInterval      = time.Minute     // for missed certificates; a change of the rack's boards triggers a pull at once
)

// Run renews and reloads until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	var issuing sync.WaitGroup
	defer issuing.Wait()
	if m.issuer != nil {
		issuing.Go(func() { m.issuer.run(ctx) })
	}
	ticker := time.Tick(checkInterval)
	var filesAt, pulledAt time.Time
	peers := ""
	for {
		now := time.Now() // intervals do not depend on ClockSet
		m.RenewTicketKeys()
		if now.Sub(filesAt) >= fileCheckInterval {
			filesAt = now
			m.reloadFiles()
		}
		if m.issuer != nil {
			if is := strings.Join(m.cfg.Rack.Peers(), " "); is != peers || now.Sub(pulledAt) >= pullInterval {
				peers, pulledAt = is, now
				_ = m.pullMissing(ctx) // boards that did not answer are called again later
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker:
		}
	}
}

func (m *Manager) reloadFiles() {
	changed := false
	for _, file := range m.files {
		switch reloaded, err := file.reloadIfChanged(); {
		case err != nil:
			m.cfg.Logger.Warn("a changed certificate file cannot be used and the old certificate stays in use: correct the file and it is read again", "error", err)
		case reloaded:
			m.cfg.Logger.Info("a certificate file was reloaded", "file", file.pair.Certificate, "valid_until", file.cert.Load().Leaf.NotAfter)
			changed = true
		}
	}
	if changed {
		m.rebuildIndex()
	}
}

const expiryWarning = 14 * 24 * time.Hour // time left at which a file's certificate gets a notice: two weekends

// Notices returns what an operator must know, one sentence each.
func (m *Manager) Notices() []string {
	var all []string
	if m.cfg.ClockSet() {
		for _, file := range m.files {
			if end := file.cert.Load().Leaf.NotAfter; m.cfg.Now().Add(expiryWarning).After(end) {
				all = append(all, fmt.Sprintf("The certificate in %s expires at %s: replace the file.", file.pair.Certificate, end.UTC().Format(time.RFC1123)))
			}
		}
	}
	if m.issuer != nil {
		all = append(all, m.issuer.certificateNotices()...)
	}
	return all
}
