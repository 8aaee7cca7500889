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
	"sync/atomic"
	"time"

	"bramble/cluster/durable"
)

// maxBundle limits a certificate with its key and chain in PEM, in bytes: five times
// what CAs send.
const maxBundle = 64 << 10

const maxChain = 10

// Errors of stored certificates.
var (
	errBundle  = errors.New("not a certificate with its key")
	errOlder   = errors.New("a newer certificate exists")
	errUnknown = errors.New("a name that is not in [tls] acme_domains")
)

// issuedCert is a certificate from a CA, with its private key.
type issuedCert struct {
	name   string
	bundle []byte // PEM: the key, then the chain
	cert   tls.Certificate
}

// parseBundle parses a certificate for a name: one private key and the chain, leaf
// first, and nothing else.
func parseBundle(name string, bundle []byte) (*issuedCert, error) {
	fail := func(why string) (*issuedCert, error) { return nil, fmt.Errorf("%s: %w: %s", name, errBundle, why) }
	if len(bundle) > maxBundle {
		return fail("too long")
	}
	var key, chain []byte
	count := 0
	for rest := bytes.TrimSpace(bundle); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		// pem.Decode would skip anything before a block.
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return fail("text between the blocks")
		}
		block, after := pem.Decode(rest)
		switch {
		case block == nil:
			return fail("a block that is not PEM")
		case block.Type == "CERTIFICATE" && count < maxChain:
			count++
			chain = append(chain, pem.EncodeToMemory(block)...)
		case strings.HasSuffix(block.Type, "PRIVATE KEY") && key == nil:
			key = pem.EncodeToMemory(block)
		default:
			return fail("an unexpected block")
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

// supersedes reports whether a certificate replaces another. All boards make the same
// decision, in whatever order they get the certificates.
func (c *issuedCert) supersedes(than *issuedCert) bool {
	if than == nil {
		return true
	}
	own, other := c.cert.Leaf, than.cert.Leaf
	switch {
	case !own.NotBefore.Equal(other.NotBefore):
		return own.NotBefore.After(other.NotBefore)
	case !own.NotAfter.Equal(other.NotAfter):
		return own.NotAfter.After(other.NotAfter)
	}
	return bytes.Compare(own.Raw, other.Raw) > 0
}

// store holds certificates from the CA, in memory and in a folder.
type store struct {
	folder string
	names  []string
	log    *slog.Logger

	mu    sync.Mutex // guards certs, and the folder's files
	certs map[string]*issuedCert
}

// openStore reads a folder. Without names it reads nothing.
func openStore(folder string, names []string, log *slog.Logger) (*store, error) {
	s := &store{folder: folder, names: names, log: log, certs: map[string]*issuedCert{}}
	if len(names) == 0 {
		return s, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("the folder of certificates ([tls] acme_storage): %w", err)
	}
	for _, name := range names {
		bundle, err := os.ReadFile(s.bundlePath(name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var cert *issuedCert
		if err == nil {
			cert, err = parseBundle(name, bundle)
		}
		if err != nil {
			log.Warn("a stored certificate cannot be used: a new one will be ordered", "file", s.bundlePath(name), "error", err)
			continue
		}
		s.certs[name] = cert
	}
	return s, nil
}

func (s *store) bundlePath(name string) string { return filepath.Join(s.folder, name+".pem") }

func (s *store) get(name string) *issuedCert {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.certs[name]
}

// all returns the certificates, sorted by name.
func (s *store) all() []*issuedCert {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.certs), func(a, b *issuedCert) int { return strings.Compare(a.name, b.name) })
}

// put stores a certificate unless there is a newer one (errOlder, also for the same).
// If it cannot be written it is in memory only: the card may be failing, and the rack
// has other boards.
func (s *store) put(cert *issuedCert) error {
	if !slices.Contains(s.names, cert.name) {
		return fmt.Errorf("%.80q: %w", cert.name, errUnknown)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !cert.supersedes(s.certs[cert.name]) {
		return fmt.Errorf("%s: %w", cert.name, errOlder)
	}
	s.certs[cert.name] = cert
	if err := durable.WriteFile(s.bundlePath(cert.name), cert.bundle, 0o600); err != nil {
		s.log.Warn("a certificate cannot be written to disk and is in memory only", "error", err)
	}
	return nil
}

const challengeLifetime = 15 * time.Minute // CAs validate within a minute

const maxChallenges = 64 // pending; a board orders one name at a time

// challenge is the response to a CA's challenge, which proves control of a name.
type challenge struct {
	text  string           // for http-01, by its token
	cert  *tls.Certificate // for tls-alpn-01, by the name
	until time.Time
}

// challenges holds the pending challenges of all boards, because the CA can connect to
// any board.
type challenges struct {
	now func() time.Time

	mu    sync.Mutex // guards byKey
	byKey map[string]challenge
}

func newChallenges(now func() time.Time) *challenges {
	return &challenges{now: now, byKey: map[string]challenge{}}
}

var errFull = errors.New("too many pending challenges")

func (c *challenges) put(key string, response challenge) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	maps.DeleteFunc(c.byKey, func(_ string, old challenge) bool { return now.After(old.until) })
	if _, there := c.byKey[key]; !there && len(c.byKey) >= maxChallenges {
		return errFull
	}
	response.until = now.Add(challengeLifetime)
	c.byKey[key] = response
	return nil
}

func (c *challenges) get(key string) (challenge, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	response, ok := c.byKey[key]
	return response, ok && !c.now().After(response.until)
}

func (c *challenges) remove(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byKey, key)
}

// alpnPrefix distinguishes the names of tls-alpn-01 from the tokens of http-01,
// which have no ":".
const alpnPrefix = "alpn:"

func alpnKey(name string) string { return alpnPrefix + name }

// certFile is a certificate in files that another program renews.
type certFile struct {
	pair   Pair
	cert   atomic.Pointer[tls.Certificate]
	loaded [2]fileStamp // as of the last read, successful or not; only the reader uses it
}

type fileStamp struct {
	at   time.Time
	size int64
}

func (f *certFile) statFiles() (now [2]fileStamp, err error) {
	for i, path := range [...]string{f.pair.Certificate, f.pair.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return now, fmt.Errorf("certificate: %w; [tls] certificate_files and key_files name the files", err)
		}
		now[i] = fileStamp{info.ModTime(), info.Size()}
	}
	return now, nil
}

func (f *certFile) load() error {
	now, err := f.statFiles()
	f.loaded = now
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(f.pair.Certificate, f.pair.Key)
	switch {
	case err != nil:
		return fmt.Errorf("certificate %s with key %s: %w", f.pair.Certificate, f.pair.Key, err)
	case len(cert.Leaf.DNSNames) == 0:
		return fmt.Errorf("certificate %s names no host (subject alternative name): browsers reject it, get another", f.pair.Certificate)
	}
	f.cert.Store(&cert)
	return nil
}

// reloadIfChanged reads files that have changed since the last read. After an error
// the old certificate stays.
func (f *certFile) reloadIfChanged() (reloaded bool, err error) {
	if now, err := f.statFiles(); now == f.loaded {
		return false, nil // an error was reported when the files disappeared
	} else if err != nil {
		f.loaded = now
		return false, err
	}
	if err := f.load(); err != nil {
		return false, err
	}
	return true, nil
}
