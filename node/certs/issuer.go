package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
)

// minOwnership is the time for which a board must have been a name's owner before it orders a
// certificate: boards that start together find each other within it.
const minOwnership = 5 * time.Second

// issuer orders certificates for the names that this board owns.
type issuer struct {
	manager    *Manager
	accountKey *ecdsa.PrivateKey // derived from the rack key, so that all boards share the account at the CA
	http       *http.Client

	mu       sync.Mutex // guards names
	attempts map[string]*issueAttempt
}

// issueAttempt is the state of issuing for one name on this board.
type issueAttempt struct {
	owner     string
	since     time.Time // since when owner has been the owner
	failures  int
	lastErr   error     // of the last attempt, nil if it succeeded
	notBefore time.Time // no attempt before this time
}

func newIssuer(m *Manager) (*issuer, error) {
	key, err := deriveKey(m.cfg.RackKeys[0], "account at a CA")
	if err != nil {
		return nil, err
	}
	ca, err := newCAClient(m.cfg.ACME.CA)
	if err != nil {
		return nil, err
	}
	i := &issuer{manager: m, accountKey: key, http: ca, attempts: map[string]*issueAttempt{}}
	for _, name := range m.cfg.ACME.Names {
		i.attempts[name] = new(issueAttempt)
	}
	return i, nil
}

// run orders certificates when they are due, until ctx ends.
func (i *issuer) run(ctx context.Context) {
	ticker := time.Tick(checkInterval)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker:
		}
		for _, name := range i.manager.cfg.ACME.Names {
			if i.isDue(name, time.Now()) {
				i.renewCertificate(ctx, name)
			}
		}
	}
}

// isDue reports whether this board must order a certificate for a name now.
// Intervals are measured with now, the certificate's age with the wall clock.
func (i *issuer) isDue(name string, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	attempt := i.attempts[name]
	if owner := i.manager.cfg.Rack.Owner("acme:" + name); owner != attempt.owner {
		attempt.owner, attempt.since = owner, now
	}
	if attempt.owner != i.manager.cfg.Self || now.Sub(attempt.since) < minOwnership || now.Before(attempt.notBefore) || !i.manager.cfg.ClockSet() {
		return false
	}
	cert := i.manager.store.get(name)
	return cert == nil || !i.manager.cfg.Now().Before(renewalTime(name, cert.cert.Leaf))
}

// renewCertificate gets a certificate from another board, or else from the CA.
func (i *issuer) renewCertificate(ctx context.Context, name string) {
	// A board that has a certificate may have just joined.
	missed := i.manager.pullMissing(ctx)
	if !i.isDue(name, time.Now()) {
		return
	}
	i.manager.cfg.Logger.Info("ordering a certificate from the CA", "name", name, "ca", i.manager.cfg.ACME.Directory, "boards_unreachable", strings.Join(missed, " "))
	bundle, err := i.issueCertificate(ctx, name)
	if err == nil {
		err = i.manager.installBundle(name, bundle)
	}
	if ctx.Err() != nil {
		return
	}
	i.recordResult(name, err, time.Now())
	if err != nil {
		i.manager.cfg.Logger.Warn("the CA has not issued a certificate", "name", name, "error", err, "next_attempt", i.attemptFor(name).notBefore)
		return
	}
	// Boards that are offline pull it when they are back.
	i.manager.sendToPeers(ctx, http.MethodPut, certPath+name, bundle)
}

func (i *issuer) recordResult(name string, err error, now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	attempt := i.attempts[name]
	attempt.lastErr = err
	if err == nil {
		attempt.failures, attempt.notBefore = 0, time.Time{}
		return
	}
	attempt.failures++
	attempt.notBefore = now.Add(retryDelay(attempt.failures, err))
}

func (i *issuer) attemptFor(name string) issueAttempt {
	i.mu.Lock()
	defer i.mu.Unlock()
	return *i.attempts[name]
}

// publishChallenge makes all boards able to answer a challenge. It returns when every
// live board has accepted it or has timed out.
func (i *issuer) publishChallenge(ctx context.Context, key string, response challenge, wire []byte) {
	if err := i.manager.challenges.put(key, response); err != nil {
		i.manager.cfg.Logger.Warn("this board cannot answer an ACME challenge", "error", err)
	}
	if missed := i.manager.sendToPeers(ctx, http.MethodPut, challengePath+key, wire); len(missed) > 0 {
		i.manager.cfg.Logger.Warn("some boards did not accept an ACME challenge: validation fails if the CA connects to one of them", "boards", strings.Join(missed, " "))
	}
}

func (i *issuer) withdrawChallenge(ctx context.Context, key string) {
	i.manager.challenges.remove(key)
	i.manager.sendToPeers(ctx, http.MethodDelete, challengePath+key, nil)
}

// certificateNotices returns what an operator must know, one sentence per name.
func (i *issuer) certificateNotices() []string {
	var all []string
	for _, name := range i.manager.cfg.ACME.Names {
		cert, attempt := i.manager.store.get(name), i.attemptFor(name)
		state := "has no certificate yet"
		if cert != nil {
			state = "has a certificate that expires at " + cert.cert.Leaf.NotAfter.UTC().Format(time.RFC1123)
		}
		switch {
		case attempt.lastErr != nil && attempt.owner == i.manager.cfg.Self:
			all = append(all, fmt.Sprintf("%s %s: %s. The next attempt is at %s.", name, state, adviceFor(attempt.lastErr), attempt.notBefore.UTC().Format(time.RFC1123)))
		case cert == nil && attempt.owner != "":
			all = append(all, fmt.Sprintf("%s %s: %s is ordering one from the CA.", name, state, attempt.owner))
		}
	}
	return all
}

// adviceFor returns why a certificate was not issued, and what to do.
func adviceFor(err error) string {
	var refused *acme.AuthorizationError
	var problem *acme.Error
	switch _, limited := acme.RateLimit(err); {
	case limited:
		return "the CA limits the rate of requests (" + err.Error() + "); it continues by itself"
	case errors.As(err, &refused):
		return "the CA cannot reach this rack by that name (" + refused.Error() +
			"); check that its DNS entry points to the boards, and that they are reachable on port 443 or 80"
	case errors.As(err, &problem):
		return "the CA rejects the order (" + problem.Error() + "); check [tls] acme_domains and acme_email"
	}
	return "the CA cannot be reached (" + err.Error() + "); check the board's internet connection and [tls] acme_directory_url"
}

// renewBefore is the time left at which a certificate is renewed, as Let's Encrypt
// advises for 90 days. Certificates with a shorter life are renewed in its last third.
const renewBefore = 30 * 24 * time.Hour

// renewalTime returns when to renew a name's certificate. Times are spread over a
// tenth of the remaining life, so that many names are not due at once.
func renewalTime(name string, leaf *x509.Certificate) time.Time {
	before := min(renewBefore, leaf.NotAfter.Sub(leaf.NotBefore)/3)
	hash := fnv.New32a()
	hash.Write([]byte(name))
	spread := time.Duration(float64(before) / 10 * float64(hash.Sum32()) / (1 << 32))
	return leaf.NotAfter.Add(spread - before)
}

const (
	// minRefusedDelay and maxRefusedDelay bound the backoff after a failed validation.
	// Let's Encrypt allows five of these per name and hour, and an attempt can make
	// two: so the next attempt is after ten minutes, and then after hours.
	minRefusedDelay = 10 * time.Minute
	maxRefusedDelay = 6 * time.Hour
	// minErrorDelay and maxErrorDelay are the same for errors without a validation,
	// such as a CA that does not answer.
	minErrorDelay = time.Minute
	maxErrorDelay = time.Hour
)

// retryDelay returns the backoff after a number of consecutive failures, the last of
// which is err.
func retryDelay(failures int, err error) time.Duration {
	first, most, factor := minErrorDelay, maxErrorDelay, time.Duration(2)
	if errors.As(err, new(*acme.AuthorizationError)) || errors.As(err, new(*acme.OrderError)) {
		first, most, factor = minRefusedDelay, maxRefusedDelay, 6
	}
	pause := first
	for range failures - 1 {
		pause = min(pause*factor, most)
	}
	if asked, limited := acme.RateLimit(err); limited {
		pause = max(pause, asked)
	}
	return pause
}
