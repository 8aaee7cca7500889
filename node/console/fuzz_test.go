package console

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzDeviceCookie: no cookie makes the reader panic, and none but the console's own is a device's.
func FuzzDeviceCookie(f *testing.F) {
	key, account, now := bytes.Repeat([]byte{1}, 32), Account{"ann", RoleLook, "one secret"}, time.Unix(1e9, 0)
	own := NewDevice(key, account, now)
	f.Add(own)
	f.Add(own + "=")
	f.Fuzz(func(t *testing.T, value string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", DeviceCookie+"="+value)
		got, err := r.Cookie(DeviceCookie)
		if device := deviceOf(key, account, r, now); device != "" && (err != nil || got.Value != own) {
			t.Errorf("%q is the device %q", value, device)
		}
	})
}

// FuzzAuthorization: no field lets anybody in but the accounts' own secrets.
func FuzzAuthorization(f *testing.F) {
	const token, password = "brt_AAAAAAAAAAAAAAAAAAAAAAAAAA", "brp_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	now := time.Unix(1e9, 0)
	right := &http.Request{Header: http.Header{}}
	right.SetBasicAuth("ann", password)
	f.Add(right.Header.Get("Authorization"), "192.0.2.1:1")
	f.Add("Bearer "+token, "[fe80::1%eth0]:1")
	f.Fuzz(func(t *testing.T, field, from string) {
		a := newAuth(Config{Accounts: []Account{{"ann", RoleLook, password}, {"program", RoleShop, HashToken(token)}}}, "", func(string) bool { return false }, func() time.Time { return now })
		r := httptest.NewRequest("GET", "/", nil)
		r.Host, r.RemoteAddr = "127.0.0.1", from
		r.Header.Set("Authorization", field)
		v, result, _ := a.checkRequest(r)
		user, sent, isBasic := r.BasicAuth()
		known := field == "Bearer "+token && v.name == "program" || field == "Bearer "+password && v.name == "ann" ||
			isBasic && user == "ann" && sent == password && v.name == "ann" || isBasic && user == "program" && sent == token && v.name == "program"
		if (result == authOK) != known {
			t.Errorf("%q: %v as %q", field, result, v.name)
		}
	})
}

// FuzzSecret: no text of bramble.toml makes the check panic, and none is opened by nothing.
func FuzzSecret(f *testing.F) {
	f.Add("sha256:00", "brt_AAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, stored, sent string) {
		a := Account{Secret: stored}
		if a.isSecret(sent) && sent != stored && !IsHash(stored) {
			t.Errorf("%q opens %q", sent, stored)
		}
		if a.isGenerated(sent) && (!a.isSecret(sent) || !IsGenerated(sent)) {
			t.Errorf("%q is the generated secret of %q", sent, stored)
		}
		if hash := HashPassword(sent); !(&Account{Secret: hash}).isSecret(sent) || strings.HasPrefix(hash, "sha256:") != IsGenerated(sent) {
			t.Errorf("%q has the hash %q", sent, hash)
		}
	})
}
