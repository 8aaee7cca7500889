package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// UserName is the only user of a console with a password.
const UserName = "bramble"

// The limit on wrong passwords, a token bucket per client: maxFailureBurst at once,
// then one each failureDecay. maxFailedClients clients are remembered; beyond that, the
// one with the oldest failure is forgotten. An IPv6 client is its /64, which is what
// one subscriber has.
const (
	maxFailureBurst  = 5
	failureDecay     = 10 * time.Second
	maxFailedClients = 256
)

// authResult is the result of checking a request.
type authResult int

const (
	authOK authResult = iota
	authWrongHost
	authNoPassword
	authWrongPassword
	authTooManyTries
)

// auth decides which requests may read and which may steer.
type auth struct {
	passwordless bool // the console has no password
	passwordHash [sha256.Size]byte
	hosts        map[string]bool // lower case
	isBoard      func(name string) bool
	hasProxy     bool // see Config.BehindProxy
	now          func() time.Time

	mu       sync.Mutex
	failures map[netip.Prefix]*failedClient // guarded by mu; at most maxTriers
}

// failedClient is a client that sent a wrong password. Its debt grows by one with each
// failure and shrinks by one each failureDecay.
type failedClient struct {
	debt float64
	last time.Time
}

func newAuth(password string, hosts []string, isBoard func(string) bool, now func() time.Time) *auth {
	a := &auth{
		passwordless: password == "",
		passwordHash: sha256.Sum256([]byte(password)),
		hosts:        make(map[string]bool),
		isBoard:      isBoard,
		now:          now,
		failures:     make(map[netip.Prefix]*failedClient),
	}
	for _, h := range hosts {
		a.hosts[strings.ToLower(h)] = true
	}
	return a
}

// checkRequest authenticates a request. With authTooManyTries it returns how long the
// client must wait.
func (a *auth) checkRequest(r *http.Request) (authResult, time.Duration) {
	// A page of another site could point its own name at the console (DNS rebinding) and would
	// then have the same origin.
	if !a.isOwnHost(r.Host) {
		return authWrongHost, 0
	}
	if a.passwordless {
		return authOK, 0
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return authNoPassword, 0
	}
	client := clientOfRequest(r)
	if wait := a.lockoutTime(client); wait > 0 {
		return authTooManyTries, wait
	}
	got := sha256.Sum256([]byte(password)) // hashed, so that the time does not reveal its length
	match := subtle.ConstantTimeCompare(got[:], a.passwordHash[:]) & subtle.ConstantTimeCompare([]byte(user), []byte(UserName))
	if match != 1 {
		a.recordFailure(client)
		return authWrongPassword, 0
	}
	return authOK, 0
}

// maySteer reports whether a request that checkRequest accepts may change things.
func (a *auth) maySteer(r *http.Request) bool {
	return !a.passwordless || !a.hasProxy && isFromHere(r)
}

// isFromHere reports whether a program on this machine sends a request for itself. A proxy here
// sends those of others: it adds a field, or speaks HTTP/1.0 as nginx does.
func isFromHere(r *http.Request) bool {
	if !clientOfRequest(r).Addr().IsLoopback() || !r.ProtoAtLeast(1, 1) {
		return false
	}
	for name := range r.Header {
		name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		if name == "via" || name == "forwarded" || strings.HasPrefix(name, "x-forwarded") || strings.HasPrefix(name, "x-original") ||
			strings.HasPrefix(name, "cf-") || strings.HasSuffix(name, "-ip") {
			return false
		}
	}
	return true
}

// isOwnHost reports whether a Host header names this console: an IP address,
// localhost, a name of the machine, or bramble.local or a board's .local name. A console
// with a password answers to other names too, which its owner's DNS has.
func (a *auth) isOwnHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	if name, ok := strings.CutSuffix(host, ".local"); ok {
		return name == UserName || a.hosts[name] || a.isBoard(name)
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || a.hosts[host] || host != "" && !a.passwordless
}

// lockoutTime returns how long a client must wait before it may try again.
func (a *auth) lockoutTime(client netip.Prefix) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.failures[client]
	if t == nil {
		return 0
	}
	if excess := t.debtAt(a.now()) - (maxFailureBurst - 1); excess > 0 {
		return time.Duration(excess * float64(failureDecay))
	}
	return 0
}

func (a *auth) recordFailure(client netip.Prefix) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	t := a.failures[client]
	if t == nil {
		if len(a.failures) >= maxFailedClients {
			a.forgetOldest()
		}
		t = &failedClient{last: now}
		a.failures[client] = t
	}
	t.debt, t.last = t.debtAt(now)+1, now
}

// forgetOldest forgets the client with the oldest failure; mu is held.
func (a *auth) forgetOldest() {
	var oldest netip.Prefix
	var since time.Time
	for p, t := range a.failures {
		if since.IsZero() || t.last.Before(since) {
			oldest, since = p, t.last
		}
	}
	delete(a.failures, oldest)
}

func (f *failedClient) debtAt(now time.Time) float64 {
	return max(0, f.debt-now.Sub(f.last).Seconds()/failureDecay.Seconds())
}

// clientOfRequest returns the client of a request. It does not trust header fields
// about clients behind a proxy.
func clientOfRequest(r *http.Request) netip.Prefix {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	return clientPrefix(at.Addr())
}

// clientPrefix returns what counts as one client: an address, or the /64 of an IPv6
// address, which is what one subscriber has.
func clientPrefix(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() && !addr.IsLoopback() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// formatRetryAfter formats a wait in whole seconds, at least one (RFC 9110 §10.2.3).
func formatRetryAfter(wait time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}
