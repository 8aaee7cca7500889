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

// settle is for how long a board must have been a name's owner before it asks the
// CA: boards that start together find each other within it.
const settle = 5 * time.Second

// issuer gets certificates for the names that this board owns.
type issuer struct {
	k  *Keeper
	ca *ca

	mu    sync.Mutex // guards names
	names map[string]*effort
}

// effort is what has been done for a name here.
type effort struct {
	owner    string
	since    time.Time // owner is what it is
	failures int
	failed   error     // the last time, nil if it went well
	next     time.Time // not before
}

func newIssuer(k *Keeper) (*issuer, error) {
	ca, err := newCA(k.cfg.ACME, k.cfg.RackKeys[0])
	if err != nil {
		return nil, err
	}
	i := &issuer{k: k, ca: ca, names: map[string]*effort{}}
	for _, name := range k.cfg.ACME.Names {
		i.names[name] = new(effort)
	}
	return i, nil
}

// run looks again and again what is to be asked for, until ctx ends.
func (i *issuer) run(ctx context.Context) {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, name := range i.k.cfg.ACME.Names {
			if i.wanted(name, time.Now()) {
				i.get(ctx, name)
			}
		}
	}
}

// wanted reports whether this board is to ask the CA for a name now. The pace goes
// by now, the certificate's age by the clock on the wall.
func (i *issuer) wanted(name string, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.names[name]
	if owner := i.k.cfg.Rack.Owner("acme:" + name); owner != e.owner {
		e.owner, e.since = owner, now
	}
	if e.owner != i.k.cfg.Self || now.Sub(e.since) < settle || now.Before(e.next) || !i.k.cfg.ClockSet() {
		return false
	}
	have := i.k.store.get(name)
	return have == nil || !i.k.cfg.Now().Before(renewAt(name, have.cert.Leaf))
}

// get asks the other boards, then the CA.
func (i *issuer) get(ctx context.Context, name string) {
	// A board that has it may have come just now.
	missed := i.k.pull(ctx)
	if !i.wanted(name, time.Now()) {
		return
	}
	i.k.cfg.Logger.Info("asking the CA for a certificate", "name", name, "ca", i.k.cfg.ACME.Directory, "boards_not_asked", strings.Join(missed, " "))
	bundle, err := i.ca.obtain(ctx, name, i)
	if err == nil {
		err = i.k.take(name, bundle)
	}
	if ctx.Err() != nil {
		return
	}
	i.note(name, err, time.Now())
	if err != nil {
		i.k.cfg.Logger.Warn("no certificate from the CA", "name", name, "error", err, "next", i.effort(name).next)
		return
	}
	// Boards that are not there now ask for it when they are.
	i.k.tell(ctx, http.MethodPut, itemPath+name, bundle)
}

// note remembers how it went.
func (i *issuer) note(name string, err error, now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.names[name]
	e.failed = err
	if err == nil {
		e.failures, e.next = 0, time.Time{}
		return
	}
	e.failures++
	e.next = now.Add(pauseAfter(e.failures, err))
}

func (i *issuer) effort(name string) effort {
	i.mu.Lock()
	defer i.mu.Unlock()
	return *i.names[name]
}

// show is shows: it returns when every live board can answer, or has had its time.
func (i *issuer) show(ctx context.Context, key string, one challenge, wire []byte) {
	if err := i.k.challenges.put(key, one); err != nil {
		i.k.cfg.Logger.Warn("a challenge cannot be answered here", "error", err)
	}
	if missed := i.k.tell(ctx, http.MethodPut, challengePath+key, wire); len(missed) > 0 {
		i.k.cfg.Logger.Warn("boards that did not take a challenge: if the CA asks one of them it fails", "boards", strings.Join(missed, " "))
	}
}

func (i *issuer) unshow(ctx context.Context, key string) {
	i.k.challenges.remove(key)
	i.k.tell(ctx, http.MethodDelete, challengePath+key, nil)
}

// notices are what a person must know, one sentence a name.
func (i *issuer) notices() []string {
	var all []string
	for _, name := range i.k.cfg.ACME.Names {
		have, e := i.k.store.get(name), i.effort(name)
		state := "has no certificate yet"
		if have != nil {
			state = "has a certificate that ends at " + have.cert.Leaf.NotAfter.UTC().Format(time.RFC1123)
		}
		switch {
		case e.failed != nil && e.owner == i.k.cfg.Self:
			all = append(all, fmt.Sprintf("%s %s: %s. It is tried again at %s.", name, state, advice(e.failed), e.next.UTC().Format(time.RFC1123)))
		case have == nil && e.owner != "":
			all = append(all, fmt.Sprintf("%s %s: %s asks the CA.", name, state, e.owner))
		}
	}
	return all
}

// advice says why a certificate could not be had, and what to do.
func advice(err error) string {
	var refused *acme.AuthorizationError
	var said *acme.Error
	switch _, limited := acme.RateLimit(err); {
	case limited:
		return "the CA has been asked too often (" + err.Error() + "); it goes on by itself"
	case errors.As(err, &refused):
		return "the CA cannot reach this rack by that name (" + refused.Error() +
			"); see that its DNS entry leads to the boards, and that port 443 or 80 does"
	case errors.As(err, &said):
		return "the CA refuses (" + said.Error() + "); see [tls] acme and acme_email"
	}
	return "the CA cannot be asked (" + err.Error() + "); see that the board reaches the internet, and [tls] acme_directory"
}
