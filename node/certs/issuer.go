package certs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
)

// minOwnership is for how long a board must have been a name's owner before it asks the
// CA: boards that start together find each other within it.
const minOwnership = 5 * time.Second

// issuer gets certificates for the names that this board owns.
type issuer struct {
	manager *Manager
	account *acmeAccount

	mu       sync.Mutex // guards names
	attempts map[string]*issueAttempt
}

// issueAttempt is what has been done for a name here.
type issueAttempt struct {
	owner     string
	since     time.Time // owner is what it is
	failures  int
	lastErr   error     // the last time, nil if it went well
	notBefore time.Time // not before
}

func newIssuer(k *Manager) (*issuer, error) {
	ca, err := newACMEAccount(k.cfg.ACME, k.cfg.RackKeys[0])
	if err != nil {
		return nil, err
	}
	i := &issuer{manager: k, account: ca, attempts: map[string]*issueAttempt{}}
	for _, name := range k.cfg.ACME.Names {
		i.attempts[name] = new(issueAttempt)
	}
	return i, nil
}

// run looks again and again what is to be asked for, until ctx ends.
func (i *issuer) run(ctx context.Context) {
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, name := range i.manager.cfg.ACME.Names {
			if i.isDue(name, time.Now()) {
				i.renew(ctx, name)
			}
		}
	}
}

// isDue reports whether this board is to ask the CA for a name now. The pace goes
// by now, the certificate's age by the clock on the wall.
func (i *issuer) isDue(name string, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.attempts[name]
	if owner := i.manager.cfg.Rack.Owner("acme:" + name); owner != e.owner {
		e.owner, e.since = owner, now
	}
	if e.owner != i.manager.cfg.Self || now.Sub(e.since) < minOwnership || now.Before(e.notBefore) || !i.manager.cfg.ClockSet() {
		return false
	}
	have := i.manager.store.get(name)
	return have == nil || !i.manager.cfg.Now().Before(renewalTime(name, have.cert.Leaf))
}

// renew asks the other boards, then the CA.
func (i *issuer) renew(ctx context.Context, name string) {
	// A board that has it may have come just now.
	missed := i.manager.pullMissing(ctx)
	if !i.isDue(name, time.Now()) {
		return
	}
	i.manager.cfg.Logger.Info("asking the CA for a certificate", "name", name, "ca", i.manager.cfg.ACME.Directory, "boards_not_asked", strings.Join(missed, " "))
	bundle, err := i.account.issueCertificate(ctx, name, i)
	if err == nil {
		err = i.manager.installBundle(name, bundle)
	}
	if ctx.Err() != nil {
		return
	}
	i.recordResult(name, err, time.Now())
	if err != nil {
		i.manager.cfg.Logger.Warn("no certificate from the CA", "name", name, "error", err, "next", i.attemptFor(name).notBefore)
		return
	}
	// Boards that are not there now ask for it when they are.
	i.manager.sendToPeers(ctx, http.MethodPut, bundlePath+name, bundle)
}

// recordResult remembers how it went.
func (i *issuer) recordResult(name string, err error, now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.attempts[name]
	e.lastErr = err
	if err == nil {
		e.failures, e.notBefore = 0, time.Time{}
		return
	}
	e.failures++
	e.notBefore = now.Add(retryDelay(e.failures, err))
}

func (i *issuer) attemptFor(name string) issueAttempt {
	i.mu.Lock()
	defer i.mu.Unlock()
	return *i.attempts[name]
}

// publishChallenge is shows: it returns when every live board can answer, or has had its time.
func (i *issuer) publishChallenge(ctx context.Context, key string, one challenge, wire []byte) {
	if err := i.manager.challenges.put(key, one); err != nil {
		i.manager.cfg.Logger.Warn("a challenge cannot be answered here", "error", err)
	}
	if missed := i.manager.sendToPeers(ctx, http.MethodPut, challengePath+key, wire); len(missed) > 0 {
		i.manager.cfg.Logger.Warn("boards that did not take a challenge: if the CA asks one of them it fails", "boards", strings.Join(missed, " "))
	}
}

func (i *issuer) withdrawChallenge(ctx context.Context, key string) {
	i.manager.challenges.remove(key)
	i.manager.sendToPeers(ctx, http.MethodDelete, challengePath+key, nil)
}

// notices are what a person must know, one sentence a name.
func (i *issuer) notices() []string {
	var all []string
	for _, name := range i.manager.cfg.ACME.Names {
		have, e := i.manager.store.get(name), i.attemptFor(name)
		state := "has no certificate yet"
		if have != nil {
			state = "has a certificate that ends at " + have.cert.Leaf.NotAfter.UTC().Format(time.RFC1123)
		}
		switch {
		case e.lastErr != nil && e.owner == i.manager.cfg.Self:
			all = append(all, fmt.Sprintf("%s %s: %s. It is tried again at %s.", name, state, adviceFor(e.lastErr), e.notBefore.UTC().Format(time.RFC1123)))
		case have == nil && e.owner != "":
			all = append(all, fmt.Sprintf("%s %s: %s asks the CA.", name, state, e.owner))
		}
	}
	return all
}

// adviceFor says why a certificate could not be had, and what to do.
func adviceFor(err error) string {
	var refused *acme.AuthorizationError
	var said *acme.Error
	switch _, limited := acme.RateLimit(err); {
	case limited:
		return "the CA has been asked too often (" + err.Error() + "); it goes on by itself"
	case errors.As(err, &refused):
		return "the CA cannot reach this rack by that name (" + refused.Error() +
			"); see that its DNS entry leads to the boards, and that port 443 or 80 does"
	case errors.As(err, &said):
		return "the CA refuses (" + said.Error() + "); see [tls] acme_domains and acme_email"
	}
	return "the CA cannot be asked (" + err.Error() + "); see that the board reaches the internet, and [tls] acme_directory_url"
}
