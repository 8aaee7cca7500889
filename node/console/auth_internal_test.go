package console

import (
	"fmt"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const secret = "tell me more"

func TestHostNames(t *testing.T) {
	a := newAuth(Config{}, "Rack-Head", func(name string) bool { return name == "board-1" }, time.Now)
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:8080": true, "[::1]:8080": true, "[fe80::1]": true, "192.168.1.4:80": true,
		"localhost": true, "LOCALHOST:8080": true, "board-1.localhost": true, "bramble.local:8080": true, "bramble.local.": true,
		"board-1.local": true, "BOARD-1.local:8080": true, "rack-head.local": true, "board-2.local": false, "evil.local": false, "x.bramble.local": false,
		"rack-head": true, "RACK-HEAD:8080": true,
		"": false, "evil.example": false, "127.0.0.1.evil.example": false, "local": false, "evillocalhost": false,
		"rack-head.evil.example": false, "bramble.local.evil.example": false,
	} {
		if got := a.isOwnHost(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

// attackedConsole is an auth with a fake clock, asked by one address after another.
type attackedConsole struct {
	*auth
	now time.Time
}

func newAttackedConsole(cfg Config) *attackedConsole {
	c := &attackedConsole{now: time.Unix(0, 0)}
	c.auth = newAuth(cfg, "", func(string) bool { return false }, func() time.Time { return c.now })
	c.isOnLink = func(addr netip.Addr) bool { return netip.MustParsePrefix("2001:db8:1::/64").Contains(addr) }
	return c
}

func (c *attackedConsole) try(t *testing.T, addr, password string) authResult {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = addr
	r.SetBasicAuth(UserName, password)
	if token, ok := strings.CutPrefix(password, "Bearer "); ok {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	_, result, wait := c.checkRequest(r)
	if (result == authTooManyTries) != (wait > 0) {
		t.Fatalf("result %v with a wait of %v", result, wait)
	}
	return result
}

func TestFailureLimit(t *testing.T) {
	c := newAttackedConsole(Config{Password: secret})
	for i := range maxFailureBurst {
		if v := c.try(t, "10.0.0.1:1", "guess"); v != authWrongPassword {
			t.Fatalf("try %d: %v", i, v)
		}
	}
	if v := c.try(t, "10.0.0.1:2", secret); v != authTooManyTries {
		t.Errorf("the right password after too many wrong ones: %v; that would tell a guesser that it is right", v)
	}
	if v := c.try(t, "10.0.0.2:1", secret); v != authOK {
		t.Errorf("another client: %v", v)
	}
	c.now = c.now.Add(failureDecay)
	if v := c.try(t, "10.0.0.1:3", secret); v != authOK {
		t.Errorf("after the wait: %v", v)
	}
	// All of an IPv6 subscriber's addresses are one client.
	for i := range maxFailureBurst {
		c.try(t, fmt.Sprintf("[2001:db8::%d]:1", i+1), "guess")
	}
	if v := c.try(t, "[2001:db8::ffff]:1", "guess"); v != authTooManyTries {
		t.Errorf("a new address of the same /64: %v", v)
	}
}

// On a link all machines have the same /64: each address is a client.
func TestNeighboursAreNotOneGuesser(t *testing.T) {
	for _, network := range []string{"fe80::%s%%eth0", "fd12:3456::%s", "2001:db8:1::%s", "192.168.1.%s"} {
		c := newAttackedConsole(Config{Password: secret})
		at := func(host string) string { return net.JoinHostPort(fmt.Sprintf(network, host), "1") }
		for range 2 * maxFailureBurst {
			c.try(t, at("66"), "guess")
		}
		if v := c.try(t, at("66"), "guess"); v != authTooManyTries {
			t.Errorf("the guesser at %s: %v", at("66"), v)
		}
		if v := c.try(t, at("77"), secret); v != authOK {
			t.Errorf("the owner at %s: %v", at("77"), v)
		}
	}
}

// Many addresses together guess no more than strangerShare of one; an address that was let in before does not
// wait for them, and neither does a device.
func TestManyGuessersShareALimit(t *testing.T) {
	c := newAttackedConsole(Config{Password: secret})
	if v := c.try(t, "10.0.0.7:1", secret); v != authOK {
		t.Fatal(v)
	}
	guess := func() (answered int) {
		for i := range 50 {
			for range maxFailureBurst {
				if c.try(t, fmt.Sprintf("10.0.1.%d:1", i), "guess") == authWrongPassword {
					answered++
				}
			}
		}
		return answered
	}
	if n := guess(); n < maxFailureBurst || n > maxFailureBurst*strangerShare {
		t.Errorf("50 addresses had %d guesses", n)
	}
	if v := c.try(t, "10.0.0.8:1", secret); v != authTooManyTries {
		t.Errorf("a new address in the attack: %v", v)
	}
	if v := c.try(t, "10.0.0.7:1", secret); v != authOK {
		t.Errorf("an address that was let in before: %v", v)
	}
	if result, wait := c.tryPassword("device x", c.accounts[0], secret, true); result != authOK {
		t.Errorf("a device: %v, %v", result, wait)
	}
	c.now = c.now.Add(10 * failureDecay)
	if n := guess(); n > maxFailureBurst*strangerShare {
		t.Errorf("later 50 addresses had %d guesses", n)
	}
}

// What nobody can guess is never refused, from whatever address, and costs no slow hash.
func TestGeneratedSecretsAreNeverSlowedDown(t *testing.T) {
	password, token := NewPassword(), NewToken()
	for name, cfg := range map[string]Config{
		"in clear": {Password: password, Accounts: []Account{{"program", RoleLook, token}, {"ann", RoleLook, secret}}},
		"as hash":  {Password: HashPassword(password), Accounts: []Account{{"program", RoleLook, HashToken(token)}, {"ann", RoleLook, secret}}},
	} {
		c := newAttackedConsole(cfg)
		for i := range 300 { // also more clients than are remembered
			for _, wrong := range []string{"guess", NewPassword(), "Bearer " + NewToken()} {
				c.try(t, "10.0.0.1:1", wrong)
				c.try(t, fmt.Sprintf("[fe80::%d]:1", i), wrong)
			}
			for _, right := range []string{password, "Bearer " + token, "Bearer " + password} {
				if v := c.try(t, "10.0.0.1:1", right); v != authOK {
					t.Fatalf("%s, round %d: %v", name, i, v)
				}
			}
		}
		if v := c.try(t, "10.0.0.1:1", "Bearer "+NewToken()); v != authTooManyTries {
			t.Errorf("%s: the guesser: %v", name, v)
		}
		if len(c.failures) > maxFailedClients {
			t.Errorf("%d clients are remembered", len(c.failures))
		}
	}
	// A program with an old token does not slow down the people at its address.
	c := newAttackedConsole(Config{Password: secret})
	for range 50 {
		c.try(t, "10.0.0.1:1", "Bearer "+NewToken())
		c.try(t, "10.0.0.1:1", NewPassword())
	}
	if v := c.try(t, "10.0.0.1:1", secret); v != authOK {
		t.Errorf("a person at a program's address: %v", v)
	}
}

func TestFailedClientsAreBounded(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAuth(Config{Password: secret}, "", func(string) bool { return false }, func() time.Time { now = now.Add(time.Millisecond); return now })
	var first string
	for i := range maxFailedClients + 50 {
		p := fmt.Sprint("10.0.0.", i)
		if i == 0 {
			first = p
		}
		a.recordFailure(p)
		if len(a.failures) > maxFailedClients {
			t.Fatalf("%d clients are remembered", len(a.failures))
		}
	}
	if _, known := a.failures[first]; known {
		t.Error("the client with the oldest failure was not forgotten")
	}
}
