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

// UserName is the one user that a console with a password knows.
const UserName = "bramble"

// The limit on wrong passwords: triesBurst at once, then one each tryEvery, per
// client. maxTriers clients are remembered; of more, the longest quiet is
// forgotten. An IPv6 client counts by its /64, which is what one subscriber has.
const (
	maxFailureBurst  = 5
	failureDecay     = 10 * time.Second
	maxFailedClients = 256
)

// authResult is what the door makes of a request.
type authResult int

const (
	authOK authResult = iota
	authWrongHost
	authNoPassword
	authWrongPassword
	authTooManyTries
)

// auth decides who may come in and who may steer.
type auth struct {
	passwordless bool // there is no password
	passwordHash [sha256.Size]byte
	hosts        map[string]bool // lower case
	now          func() time.Time

	mu       sync.Mutex
	failures map[netip.Prefix]*failedClient // guarded by mu; at most maxTriers
}

// failedClient is a client that gave a wrong password. Its debt grows by one a wrong
// try and shrinks by one each tryEvery.
type failedClient struct {
	debt float64
	last time.Time
}

func newAuth(password string, hosts []string, now func() time.Time) *auth {
	d := &auth{
		passwordless: password == "",
		passwordHash: sha256.Sum256([]byte(password)),
		hosts:        make(map[string]bool),
		now:          now,
		failures:     make(map[netip.Prefix]*failedClient),
	}
	for _, h := range hosts {
		d.hosts[strings.ToLower(h)] = true
	}
	return d
}

// checkRequest judges a request; with tooManyTries it says how long to wait.
func (d *auth) checkRequest(r *http.Request) (authResult, time.Duration) {
	if d.passwordless {
		// Without a password a page of another site could have its own name point
		// at the console (DNS rebinding) and would then be of the same origin.
		if !d.isOwnHost(r.Host) {
			return authWrongHost, 0
		}
		return authOK, 0
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return authNoPassword, 0
	}
	client := clientOfRequest(r)
	if wait := d.lockoutTime(client); wait > 0 {
		return authTooManyTries, wait
	}
	got := sha256.Sum256([]byte(password)) // hashed, so that its length does not show in the time
	right := subtle.ConstantTimeCompare(got[:], d.passwordHash[:]) & subtle.ConstantTimeCompare([]byte(user), []byte(UserName))
	if right != 1 {
		d.recordFailure(client)
		return authWrongPassword, 0
	}
	return authOK, 0
}

// maySteer reports whether a request that check has let in may change things.
func (d *auth) maySteer(r *http.Request) bool {
	return !d.passwordless || clientOfRequest(r).Addr().IsLoopback()
}

// isOwnHost reports whether a Host header names this console: an IP address,
// localhost, a .local name, which DNS does not serve, or a name of the machine.
func (d *auth) isOwnHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		strings.HasSuffix(host, ".local") || d.hosts[host]
}

// lockoutTime says how long a client must wait before its next try.
func (d *auth) lockoutTime(client netip.Prefix) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.failures[client]
	if t == nil {
		return 0
	}
	if over := t.debtAt(d.now()) - (maxFailureBurst - 1); over > 0 {
		return time.Duration(over * float64(failureDecay))
	}
	return 0
}

// recordFailure notes a wrong password.
func (d *auth) recordFailure(client netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	t := d.failures[client]
	if t == nil {
		if len(d.failures) >= maxFailedClients {
			d.forgetOldest()
		}
		t = &failedClient{last: now}
		d.failures[client] = t
	}
	t.debt, t.last = t.debtAt(now)+1, now
}

// forgetOldest drops the client that has been quiet for longest; mu is held.
func (d *auth) forgetOldest() {
	var oldest netip.Prefix
	var since time.Time
	for p, t := range d.failures {
		if since.IsZero() || t.last.Before(since) {
			oldest, since = p, t.last
		}
	}
	delete(d.failures, oldest)
}

// debtAt is the debt that is left at a time.
func (t *failedClient) debtAt(now time.Time) float64 {
	return max(0, t.debt-now.Sub(t.last).Seconds()/failureDecay.Seconds())
}

// clientOfRequest gives the client that a request comes from. Headers about clients behind
// a proxy are not believed.
func clientOfRequest(r *http.Request) netip.Prefix {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	return clientPrefix(at.Addr())
}

// clientPrefix gives what counts as one client: an address, or the /64 of an IPv6
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

// formatRetryAfter gives a wait in whole seconds, at least one (RFC 9110, 10.2.3).
func formatRetryAfter(wait time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}
