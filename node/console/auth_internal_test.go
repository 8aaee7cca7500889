package console

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"
)

const secret = "tell me more"

func TestHostNames(t *testing.T) {
	a := newAuth(Config{}, []string{"Rack-Head"}, func(name string) bool { return name == "board-1" }, time.Now)
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

// TestFailureLimit tests the limit on wrong passwords with a fake clock.
func TestFailureLimit(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAuth(Config{Password: secret}, nil, func(string) bool { return false }, func() time.Time { return now })
	try := func(addr, password string) authResult {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = addr
		r.SetBasicAuth(UserName, password)
		_, v, wait := a.checkRequest(r)
		if (v == authTooManyTries) != (wait > 0) {
			t.Fatalf("result %v with a wait of %v", v, wait)
		}
		return v
	}
	for i := range maxFailureBurst {
		if v := try("10.0.0.1:1", "guess"); v != authWrongPassword {
			t.Fatalf("try %d: %v", i, v)
		}
	}
	if v := try("10.0.0.1:2", secret); v != authTooManyTries {
		t.Errorf("the right password after too many wrong ones: %v; that would tell a guesser that it is right", v)
	}
	if v := try("10.0.0.2:1", secret); v != authOK {
		t.Errorf("another client: %v", v)
	}
	now = now.Add(failureDecay)
	if v := try("10.0.0.1:3", secret); v != authOK {
		t.Errorf("after the wait: %v", v)
	}
	// All of an IPv6 subscriber's addresses are one client.
	for i := range maxFailureBurst {
		try(fmt.Sprintf("[2001:db8::%d]:1", i+1), "guess")
	}
	if v := try("[2001:db8::ffff]:1", "guess"); v != authTooManyTries {
		t.Errorf("a new address of the same /64: %v", v)
	}
}

func TestFailedClientsAreBounded(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAuth(Config{Password: secret}, nil, func(string) bool { return false }, func() time.Time { now = now.Add(time.Millisecond); return now })
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
	if a.failures[first] != nil {
		t.Error("the client with the oldest failure was not forgotten")
	}
}
