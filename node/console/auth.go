package console

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"bramble/node/proxyfields"
)

// UserName is the account of Config.Password, which may steer.
const UserName = "bramble"

// The limit on wrong passwords, a token bucket per client and rack: maxFailureBurst at once,
// then one each failureDecay. maxFailedClients clients are remembered; beyond that, the
// one with the least debt is forgotten. A browser with a device cookie is a client by itself.
// All addresses together have strangerShare times as much, because a guesser can have many; an
// address that has sent a right password does not wait for the others.
const (
	maxFailureBurst  = 5
	failureDecay     = 10 * time.Second
	strangerShare    = 5
	strangers        = "" // the name of all addresses together
	maxFailedClients = 256
	maxClientName    = 64               // bytes
	maxDebt          = 10 * time.Minute // boards tell each other failures, and a rack has many
)

// localName is the name of a client of the unix socket or, at a console without accounts, on this
// machine.
const localName = "local"

// maxVerified bounds the passwords that are known to be right without their slow hash, and the
// addresses that have sent one.
const maxVerified = 64

type authResult int

const (
	authOK authResult = iota
	authWrongHost
	authNoPassword
	authWrongPassword
	authTooManyTries
)

// viewer is who sends a request; its name is "" for a stranger at a console without accounts.
type viewer struct {
	name   string
	role   Role
	device string // a new device cookie for it, or ""
}

// viewerKey and socketKey are the keys of a request's viewer, and of the mark of a connection over the
// unix socket, in its context.
type (
	viewerKey struct{}
	socketKey struct{}
)

// AccountOf returns the name of the account that sends a request: the audit trail's.
func AccountOf(ctx context.Context) string {
	v, _ := ctx.Value(viewerKey{}).(viewer)
	return v.name
}

// ConnContext is the ConnContext of a server that also listens at the unix socket.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	if _, ok := conn.(*net.UnixConn); ok {
		return context.WithValue(ctx, socketKey{}, true)
	}
	return ctx
}

// auth decides who sends a request.
type auth struct {
	accounts    []Account
	localSteers bool
	fields      proxyfields.Table
	host        string // the machine's name, in lower case
	isBoard     func(name string) bool
	isOnLink    func(netip.Addr) bool
	deviceKey   []byte
	shareFailed func(client string)
	now         func() time.Time

	verifying sync.Mutex // held for one slow hash at a time: more would take a first Pi's processor
	mu        sync.Mutex
	failures  map[string]time.Time // guarded by mu; when a client has no debt any more; at most maxFailedClients
	verified  map[string]bool      // guarded by mu; MACs of name and password, and addresses; at most 2*maxVerified
}

// newAuth makes an auth; host is the machine's name, "" if it has none.
func newAuth(cfg Config, host string, isBoard func(string) bool, now func() time.Time) *auth {
	a := &auth{
		accounts: cfg.Accounts, localSteers: cfg.LocalSteers, fields: proxyfields.New(), host: cmp.Or(strings.ToLower(host), "localhost"), isBoard: isBoard, isOnLink: isOnLink,
		deviceKey: cfg.DeviceKey, shareFailed: cfg.ShareFailure, now: now,
		failures: make(map[string]time.Time), verified: make(map[string]bool),
	}
	if cfg.Password != "" {
		a.accounts = append(a.accounts[:len(a.accounts):len(a.accounts)], Account{UserName, RoleSteer, cfg.Password})
	}
	if a.deviceKey == nil {
		a.deviceKey = []byte(rand.Text())
	}
	return a
}

// checkRequest authenticates a request. With authTooManyTries it returns how long the
// client must wait.
func (a *auth) checkRequest(r *http.Request) (viewer, authResult, time.Duration) {
	if r.Context().Value(socketKey{}) != nil {
		return viewer{name: localName, role: RoleSteer}, authOK, 0
	}
	// A page of another site could point its own name at the console (DNS rebinding) and would
	// then have the same origin.
	if !a.isOwnHost(r.Host) {
		return viewer{}, authWrongHost, 0
	}
	if len(a.accounts) == 0 {
		if a.localSteers && a.isFromHere(r) {
			return viewer{name: localName, role: RoleSteer}, authOK, 0
		}
		return viewer{}, authOK, 0
	}
	user, password, ok := r.BasicAuth()
	token, isToken := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case isToken:
		password = token
	case !ok:
		return viewer{}, authNoPassword, 0
	}
	// Nobody can guess a generated secret, so its owner need not wait for those who try.
	for _, one := range a.accounts {
		if (isToken || one.Name == user) && one.isGenerated(password) {
			return viewer{name: one.Name, role: one.Role}, authOK, 0
		}
	}
	client := a.guesserOf(r)
	at := slices.IndexFunc(a.accounts, func(one Account) bool { return one.Name == user })
	account := a.accounts[max(at, 0)] // an unknown name takes as long as a known one
	if isToken || IsGenerated(password) && !strings.HasPrefix(account.Secret, passwordHash) {
		// An old one in a program must not use up what people at its address may try.
		result, wait := a.tryPassword("generated "+client, Account{}, password, false)
		return viewer{}, result, wait
	}
	v := viewer{name: user, role: account.Role}
	device := deviceOf(a.deviceKey, account, r, a.now())
	if device == "" && r.TLS != nil {
		v.device = NewDevice(a.deviceKey, account, a.now())
	}
	result, wait := a.tryPassword(cmp.Or(device, client), account, password, at >= 0)
	if result != authOK {
		return viewer{}, result, wait
	}
	return v, authOK, 0
}

// tryPassword checks a password unless the client has failed too often, and counts a failure. isKnown
// is false if there is no such account.
func (a *auth) tryPassword(client string, account Account, password string, isKnown bool) (authResult, time.Duration) {
	mac := hmac.New(sha256.New, a.deviceKey)
	mac.Write([]byte(account.Name + "\x00" + password))
	sum := string(mac.Sum(nil))
	wait, right := a.lockoutTime(client, sum)
	if wait == 0 && !(right && isKnown) {
		a.verifying.Lock()
		defer a.verifying.Unlock()
		wait, _ = a.lockoutTime(client, sum) // others may have failed meanwhile
		right = wait == 0 && account.isSecret(password)
	}
	switch {
	case wait > 0:
		return authTooManyTries, wait
	case right && isKnown:
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.verified) >= maxVerified {
			clear(a.verified)
		}
		a.verified[sum], a.verified[client] = true, true
		return authOK, 0
	}
	a.recordFailure(client)
	if a.shareFailed != nil {
		a.shareFailed(client)
	}
	return authWrongPassword, 0
}

// isFromHere reports whether a program on this machine sends a request for itself. A proxy here
// sends those of others: it adds a field, or speaks HTTP/1.0 as nginx does.
func (a *auth) isFromHere(r *http.Request) bool {
	if !clientOfRequest(r).Addr().IsLoopback() || !r.ProtoAtLeast(1, 1) {
		return false
	}
	return !a.fields.ProveProxy(r.Header)
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
		return name == UserName || name == a.host || a.isBoard(name)
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || host != "" && (host == a.host || len(a.accounts) > 0)
}

// lockoutTime returns how long a client must wait before it may try again, and whether what it
// sends was right before. An address also waits for the failures of all, unless it has sent a right
// password.
func (a *auth) lockoutTime(client, sum string) (wait time.Duration, wasRight bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range []string{client, strangers} {
		if name == client || isAddress(client) && !a.verified[client] {
			wait = max(wait, max(0, a.failures[name].Sub(a.now()))-(maxFailureBurst-1)*failureDecay)
		}
	}
	return wait, a.verified[sum]
}

// isAddress reports whether a client is an address, and not a device or a wrong generated secret.
func isAddress(client string) bool {
	_, err := netip.ParsePrefix(client)
	return err == nil
}

func (a *auth) recordFailure(client string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addDebt(client, failureDecay)
	if isAddress(client) {
		a.addDebt(strangers, failureDecay/strangerShare)
	}
}

// addDebt adds to a client's debt; mu is held.
func (a *auth) addDebt(client string, debt time.Duration) {
	if _, known := a.failures[client]; !known && len(a.failures) >= maxFailedClients {
		oldest := client
		for name, end := range a.failures {
			if oldest == client || end.Before(a.failures[oldest]) {
				oldest = name
			}
		}
		delete(a.failures, oldest)
	}
	now := a.now()
	left := max(0, a.failures[client].Sub(now))
	a.failures[client] = now.Add(min(left+debt, maxDebt))
}

// clientOfRequest returns the client of a request. It does not trust header fields
// about clients behind a proxy.
func clientOfRequest(r *http.Request) netip.Prefix {
	at, _ := netip.ParseAddrPort(r.RemoteAddr) // an error leaves no address
	return clientPrefix(at.Addr())
}

// guesserOf returns the name of a request's client for the limit on wrong passwords. On a link all
// machines share one /64, so there each address counts.
func (a *auth) guesserOf(r *http.Request) string {
	at, _ := netip.ParseAddrPort(r.RemoteAddr)
	addr := at.Addr().Unmap().WithZone("")
	if addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.Is6() && a.isOnLink(addr) {
		return netip.PrefixFrom(addr, addr.BitLen()).String()
	}
	return clientPrefix(addr).String()
}

// isOnLink reports whether an address is in a network of this machine.
func isOnLink(addr netip.Addr) bool {
	found, _ := net.InterfaceAddrs() // without them, a /64 is one client
	return slices.ContainsFunc(found, func(one net.Addr) bool {
		network, ok := one.(*net.IPNet)
		return ok && network.Contains(addr.AsSlice())
	})
}

// clientPrefix returns what counts as one client: an address, or the /64 of an IPv6
// address, which is what one subscriber has.
func clientPrefix(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() && !addr.IsLoopback() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // no address has no prefix
	return p
}

// formatRetryAfter formats a wait in whole seconds, at least one (RFC 9110 §10.2.3).
func formatRetryAfter(wait time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}
