package certs

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"bramble/cluster/durable"
)

// maxBundle bounds a certificate with its key and chain in PEM, in bytes: five
// times what CAs send.
const maxBundle = 64 << 10

// maxChain bounds the certificates in a bundle.
const maxChain = 10

// Kinds of error about stored certificates.
var (
	errBundle  = errors.New("not a certificate with its key")
	errOlder   = errors.New("a newer certificate is there")
	errUnknown = errors.New("a name that is not in [tls] acme_domains")
)

// issuedCert is a certificate that a CA has given, with its private key.
type issuedCert struct {
	name   string
	bundle []byte // PEM: the key, then the chain
	cert   tls.Certificate
}

// parseBundle reads a certificate for a name: one private key and the chain,
// leaf first, and nothing else.
func parseBundle(name string, bundle []byte) (*issuedCert, error) {
	fail := func(why string) (*issuedCert, error) { return nil, fmt.Errorf("%s: %w: %s", name, errBundle, why) }
	if len(bundle) > maxBundle {
		return fail("too long")
	}
	var key, chain []byte
	count := 0
	for rest := bytes.TrimSpace(bundle); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		// pem.Decode would skip what is before a block.
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return fail("something between the blocks")
		}
		block, after := pem.Decode(rest)
		switch {
		case block == nil:
			return fail("a block that is no PEM")
		case block.Type == "CERTIFICATE" && count < maxChain:
			count++
			chain = append(chain, pem.EncodeToMemory(block)...)
		case strings.HasSuffix(block.Type, "PRIVATE KEY") && key == nil:
			key = pem.EncodeToMemory(block)
		default:
			return fail("a block too many")
		}
		rest = after
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return fail(err.Error())
	}
	if err := cert.Leaf.VerifyHostname(name); err != nil {
		return fail(err.Error())
	}
	return &issuedCert{name: name, bundle: bytes.Clone(bundle), cert: cert}, nil
}

// supersedes reports whether a certificate takes the place of another. All boards
// decide alike, in whichever order they hear of them.
func (i *issuedCert) supersedes(than *issuedCert) bool {
	if than == nil {
		return true
	}
	mine, theirs := i.cert.Leaf, than.cert.Leaf
	switch {
	case !mine.NotBefore.Equal(theirs.NotBefore):
		return mine.NotBefore.After(theirs.NotBefore)
	case !mine.NotAfter.Equal(theirs.NotAfter):
		return mine.NotAfter.After(theirs.NotAfter)
	}
	return bytes.Compare(mine.Raw, theirs.Raw) > 0
}

// store keeps certificates from the CA, in memory and in a folder.
type store struct {
	folder string
	names  []string
	log    *slog.Logger

	mu    sync.Mutex // guards items, and the folder's files
	items map[string]*issuedCert
}

// openStore reads a folder. Without names it reads none.
func openStore(folder string, names []string, log *slog.Logger) (*store, error) {
	s := &store{folder: folder, names: names, log: log, items: map[string]*issuedCert{}}
	if len(names) == 0 {
		return s, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("the folder of certificates ([tls] acme_storage): %w", err)
	}
	for _, name := range names {
		bundle, err := os.ReadFile(s.path(name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var one *issuedCert
		if err == nil {
			one, err = parseBundle(name, bundle)
		}
		if err != nil {
			log.Warn("a stored certificate cannot be used and is asked for anew", "file", s.path(name), "error", err)
			continue
		}
		s.items[name] = one
	}
	return s, nil
}

func (s *store) path(name string) string { return filepath.Join(s.folder, name+".pem") }

func (s *store) get(name string) *issuedCert {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items[name]
}

// all gives the items by name.
func (s *store) all() []*issuedCert {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.items), func(a, b *issuedCert) int { return strings.Compare(a.name, b.name) })
}

// put keeps a certificate unless a newer one is there (errOlder, also for the same).
// One that cannot be written is kept in memory: the card may be failing, and the
// rack has other boards.
func (s *store) put(one *issuedCert) error {
	if !slices.Contains(s.names, one.name) {
		return fmt.Errorf("%.80q: %w", one.name, errUnknown)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !one.supersedes(s.items[one.name]) {
		return fmt.Errorf("%s: %w", one.name, errOlder)
	}
	s.items[one.name] = one
	if err := durable.WriteFile(s.path(one.name), one.bundle, 0o600); err != nil {
		s.log.Warn("a certificate could not be written and is kept in memory only", "error", err)
	}
	return nil
}

// challengeLifetime is how long a challenge is answered: CAs ask within a minute.
const challengeLifetime = 15 * time.Minute

// maxChallenges bounds those under way: one board asks for one name at a time.
const maxChallenges = 64

// challenge is what a CA is shown to know that a name is the rack's.
type challenge struct {
	text  string           // for http-01, by its token
	cert  *tls.Certificate // for tls-alpn-01, by the name
	until time.Time
}

// challenges are those under way, on whichever board: the CA asks any.
type challenges struct {
	now func() time.Time

	mu  sync.Mutex // guards all
	all map[string]challenge
}

func newChallenges(now func() time.Time) *challenges {
	return &challenges{now: now, all: map[string]challenge{}}
}

// errFull: the bound of challenges is reached.
var errFull = errors.New("too many challenges are under way")

func (c *challenges) put(key string, one challenge) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	maps.DeleteFunc(c.all, func(_ string, old challenge) bool { return now.After(old.until) })
	if _, there := c.all[key]; !there && len(c.all) >= maxChallenges {
		return errFull
	}
	one.until = now.Add(challengeLifetime)
	c.all[key] = one
	return nil
}

func (c *challenges) get(key string) (challenge, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one, ok := c.all[key]
	return one, ok && !c.now().After(one.until)
}

func (c *challenges) remove(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, key)
}

// alpnPrefix tells the names of tls-alpn-01 from the tokens of http-01, which
// have no ":".
const alpnPrefix = "alpn:"

func alpnKey(name string) string { return alpnPrefix + name }

func (c *challenges) certificateFor(name string) *tls.Certificate {
	one, _ := c.get(alpnKey(name))
	return one.cert
}
