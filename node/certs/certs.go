// Package certs holds what the boards of a rack show their clients in TLS:
// certificates from files, from a CA that one board asks for all of them, or one
// that each derives from the rack key; and the keys of session tickets. It knows
// boards by name and nothing of listeners. DESIGN.md has the reasons.
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

// RackPeers is what the certificates need of the other boards.
type RackPeers interface {
	// Peers are the live boards without this one.
	Peers() []string
	// Owner is the board that cares for a key; "" while this board cannot know,
	// because it is not in service or cut off from most of the rack.
	Owner(key string) string
	// Call sends a request to a board; its URL's path counts. Both sides of the
	// connection have proved that they hold the rack key, for keys travel on it.
	Call(ctx context.Context, board string, r *http.Request) (*http.Response, error)
}

// Pair is a certificate in two PEM files.
type Pair struct{ Certificate, Key string }

// Config sets a Keeper up.
type Config struct {
	Self     string   // this board's name
	RackKeys [][]byte // the one in use first
	Names    []string // host names of the rack's sites, for the shared certificate
	Files    []Pair
	ACME     ACME
	Folder   string // where certificates from the CA are kept; not used without one
	Rack     RackPeers
	// SetTicketKeys is given the keys of session tickets whenever there are others.
	SetTicketKeys func([][32]byte)
	// ClockSet reports whether the clock is believed: without it nothing is renewed.
	ClockSet func() bool
	Now      func() time.Time
	Logger   *slog.Logger
}

// Manager gives certificates. It is safe for concurrent use.
type Manager struct {
	cfg        Config
	shared     *tls.Certificate
	files      []*certFile
	store      *store
	challenges *challenges
	issuer     *issuer // nil: no CA is asked
	// index is all that can be shown, by name; never changed once it is there.
	index atomic.Pointer[certIndex]

	mu            sync.Mutex // guards period and the making of known
	ticketPeriod  int64
	hasTicketKeys bool // period counts
}

// certIndex is what is shown to whom.
type certIndex struct {
	byName   map[string][]*tls.Certificate // "*.shop.example" among the names
	fallback *tls.Certificate              // who asks for another name, or none
}

// ErrNoChallenge: a CA asked for what no board has told this one of.
var ErrNoChallenge = errors.New("no such challenge is under way")

// New reads what is there. What is wrong with a file is an error; what is wrong
// with a stored certificate is logged, and it is asked for anew.
func New(cfg Config) (*Manager, error) {
	k := &Manager{cfg: cfg, challenges: newChallenges(cfg.Now)}
	var err error
	if k.shared, err = makeSharedCertificate(cfg.RackKeys[0], cfg.Names); err != nil {
		return nil, err
	}
	for _, pair := range cfg.Files {
		one := &certFile{pair: pair}
		if err := one.load(); err != nil {
			return nil, err
		}
		k.files = append(k.files, one)
	}
	if k.store, err = openStore(cfg.Folder, cfg.ACME.Names, cfg.Logger); err != nil {
		return nil, err
	}
	if len(cfg.ACME.Names) > 0 {
		if k.issuer, err = newIssuer(k); err != nil {
			return nil, err
		}
	}
	k.rebuildIndex()
	return k, nil
}

// rebuildIndex makes known anew after something has changed.
func (k *Manager) rebuildIndex() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := &certIndex{byName: map[string][]*tls.Certificate{}, fallback: k.shared}
	for i, one := range k.files {
		cert := one.cert.Load()
		if i == 0 {
			now.fallback = cert
		}
		for _, name := range cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			now.byName[name] = append(now.byName[name], cert)
		}
	}
	for _, item := range k.store.all() {
		now.byName[item.name] = append(now.byName[item.name], &item.cert)
	}
	k.index.Store(now)
}

// Certificate gives the certificate for a client: one of the name that it asks for,
// or else one that it has to be told to trust. It asks nobody.
func (k *Manager) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == alpnProto {
		cert := k.challenges.certificateFor(canonicalName(hello.ServerName))
		if cert == nil {
			return nil, fmt.Errorf("%.80q: %w", hello.ServerName, ErrNoChallenge)
		}
		return cert, nil
	}
	known := k.index.Load()
	list := known.certificatesFor(hello.ServerName)
	for _, cert := range list[:max(len(list)-1, 0)] {
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	if len(list) > 0 {
		return list[len(list)-1], nil
	}
	return known.fallback, nil
}

// HasCertificate reports whether there is a certificate from a file or a CA for a host,
// which may have a port.
func (k *Manager) HasCertificate(host string) bool {
	if at := strings.LastIndexByte(host, ':'); at >= 0 && strings.IndexByte(host[at:], ']') < 0 {
		host = host[:at]
	}
	return len(k.index.Load().certificatesFor(host)) > 0
}

// certificatesFor gives the certificates for a name.
func (s *certIndex) certificatesFor(name string) []*tls.Certificate {
	name = canonicalName(name)
	if list := s.byName[name]; list != nil {
		return list
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return s.byName["*."+parent]
	}
	return nil
}

func canonicalName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

const (
	// checkInterval is how often it is looked whether something is to be done.
	checkInterval = time.Second
	// fileCheckInterval is how often files are looked at: soon enough for who has just
	// copied them, and nothing to a card.
	fileCheckInterval = 5 * time.Second
	// pullInterval is how often other boards are asked for what this one has missed;
	// a change of the rack's boards is a reason at once.
	pullInterval = time.Minute
)

// Run keeps all of it fresh until ctx ends.
func (k *Manager) Run(ctx context.Context) {
	var issuing sync.WaitGroup
	defer issuing.Wait()
	if k.issuer != nil {
		issuing.Go(func() { k.issuer.run(ctx) })
	}
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	var filesAt, pulledAt time.Time
	peers := ""
	for {
		now := time.Now() // the pace is no matter of what the clock says
		k.RenewTicketKeys()
		if now.Sub(filesAt) >= fileCheckInterval {
			filesAt = now
			k.reloadFiles()
		}
		if k.issuer != nil {
			if is := strings.Join(k.cfg.Rack.Peers(), " "); is != peers || now.Sub(pulledAt) >= pullInterval {
				peers, pulledAt = is, now
				_ = k.pullMissing(ctx) // boards that do not answer are asked again
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// reloadFiles looks for files that have changed.
func (k *Manager) reloadFiles() {
	changed := false
	for _, one := range k.files {
		switch did, err := one.reloadIfChanged(); {
		case err != nil:
			k.cfg.Logger.Warn("the changed certificate is not taken, the old one stays: put it right and it will be read again", "error", err)
		case did:
			k.cfg.Logger.Info("a certificate was read again", "file", one.pair.Certificate, "good_until", one.cert.Load().Leaf.NotAfter)
			changed = true
		}
	}
	if changed {
		k.rebuildIndex()
	}
}

// expiryWarning is how long before its end a file's certificate is spoken of: two weekends.
const expiryWarning = 14 * 24 * time.Hour

// Notices are what a person must know, one sentence each.
func (k *Manager) Notices() []string {
	var all []string
	if k.cfg.ClockSet() {
		for _, one := range k.files {
			if end := one.cert.Load().Leaf.NotAfter; k.cfg.Now().Add(expiryWarning).After(end) {
				all = append(all, fmt.Sprintf("The certificate in %s ends at %s: put a new one there.", one.pair.Certificate, end.UTC().Format(time.RFC1123)))
			}
		}
	}
	if k.issuer != nil {
		all = append(all, k.issuer.notices()...)
	}
	return all
}
