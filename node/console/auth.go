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
	triesBurst = 5
	tryEvery   = 10 * time.Second
	maxTriers  = 256
)

// verdict is what the door makes of a request.
type verdict int

const (
	welcome verdict = iota
	wrongHost
	noPassword
	wrongPassword
	tooManyTries
)

// door decides who may come in and who may steer.
type door struct {
	open  bool // there is no password
	want  [sha256.Size]byte
	hosts map[string]bool // lower case
	now   func() time.Time

	mu     sync.Mutex
	triers map[netip.Prefix]*trier // guarded by mu; at most maxTriers
}

// trier is a client that gave a wrong password. Its debt grows by one a wrong
// try and shrinks by one each tryEvery.
type trier struct {
	debt float64
	last time.Time
}

func newDoor(password string, hosts []string, now func() time.Time) *door {
	d := &door{
		open:   password == "",
		want:   sha256.Sum256([]byte(password)),
		hosts:  make(map[string]bool),
		now:    now,
		triers: make(map[netip.Prefix]*trier),
	}
	for _, h := range hosts {
		d.hosts[strings.ToLower(h)] = true
	}
	return d
}

// check judges a request; with tooManyTries it says how long to wait.
func (d *door) check(r *http.Request) (verdict, time.Duration) {
	if d.open {
		// Without a password a page of another site could have its own name point
		// at the console (DNS rebinding) and would then be of the same origin.
		if !d.ours(r.Host) {
			return wrongHost, 0
		}
		return welcome, 0
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return noPassword, 0
	}
	client := clientOf(r)
	if wait := d.wait(client); wait > 0 {
		return tooManyTries, wait
	}
	got := sha256.Sum256([]byte(password)) // hashed, so that its length does not show in the time
	right := subtle.ConstantTimeCompare(got[:], d.want[:]) & subtle.ConstantTimeCompare([]byte(user), []byte(UserName))
	if right != 1 {
		d.blame(client)
		return wrongPassword, 0
	}
	return welcome, 0
}

// maySteer reports whether a request that check has let in may change things.
func (d *door) maySteer(r *http.Request) bool {
	return !d.open || clientOf(r).Addr().IsLoopback()
}

// ours reports whether a Host header names this console: an IP address,
// localhost, a .local name, which DNS does not serve, or a name of the machine.
func (d *door) ours(host string) bool {
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

// wait says how long a client must wait before its next try.
func (d *door) wait(client netip.Prefix) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.triers[client]
	if t == nil {
		return 0
	}
	if over := t.debtAt(d.now()) - (triesBurst - 1); over > 0 {
		return time.Duration(over * float64(tryEvery))
	}
	return 0
}

// blame notes a wrong password.
func (d *door) blame(client netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	t := d.triers[client]
	if t == nil {
		if len(d.triers) >= maxTriers {
			d.forgetOldest()
		}
		t = &trier{last: now}
		d.triers[client] = t
	}
	t.debt, t.last = t.debtAt(now)+1, now
}

// forgetOldest drops the client that has been quiet for longest; mu is held.
func (d *door) forgetOldest() {
	var oldest netip.Prefix
	var since time.Time
	for p, t := range d.triers {
		if since.IsZero() || t.last.Before(since) {
			oldest, since = p, t.last
		}
	}
	delete(d.triers, oldest)
}

// debtAt is the debt that is left at a time.
func (t *trier) debtAt(now time.Time) float64 {
	return max(0, t.debt-now.Sub(t.last).Seconds()/tryEvery.Seconds())
}

// clientOf gives the client that a request comes from. Headers about clients behind
// a proxy are not believed.
func clientOf(r *http.Request) netip.Prefix {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	return clientAt(at.Addr())
}

// clientAt gives what counts as one client: an address, or the /64 of an IPv6
// address, which is what one subscriber has.
func clientAt(addr netip.Addr) netip.Prefix {
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

// retryAfter gives a wait in whole seconds, at least one (RFC 9110, 10.2.3).
func retryAfter(wait time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}
