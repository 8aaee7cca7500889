package console

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// wantedRoles is the role that each path of the API needs. A new path must be written here, so that
// somebody decides.
func wantedRoles() map[string]Role {
	return map[string]Role{
		"GET /": roleNone, "GET /console.js": roleNone, "GET /metrics": roleNone, "GET /api/v1/rack": roleNone, "GET /api/v1/events": roleNone,
		"POST /api/v1/purge": RoleSteer, "POST /api/v1/drain": RoleSteer, "POST /api/v1/locate": RoleSteer, "POST /api/v1/lab": RoleSteer,
		"POST /api/v1/rack": RoleSteer, "GET /api/v1/shop/unheard/of": RoleSteer, "DELETE /api/v1/shop/orders": RoleSteer,

		"GET shop/sales": RoleLook, "GET shop/sales/{product}": RoleLook, "GET shop/ledger": RoleLook, "GET shop/ledger/boards": RoleLook,
		"GET shop/ledger/clock": RoleLook, "GET shop/backup/status": RoleLook, "GET shop/erasure": RoleLook,
		"GET shop/orders": RoleShop, "GET shop/orders/{reference}": RoleShop, "GET shop/draw/{product}": RoleShop, "GET shop/audit": RoleShop,
		"POST shop/commands": RoleShop, "GET shop/fulfilment": RoleShop, "POST shop/fulfilment": RoleShop, "GET shop/restore": RoleShop,
		"GET shop/orders/{reference}/link": RoleSteer,
		"GET shop/backup":                  RoleSteer, "POST shop/restore": RoleSteer, "PUT shop/restore/{op}/{number}": RoleSteer, "POST shop/ledger/clock": RoleSteer,
		"POST shop/ledger/found": RoleSteer, "POST shop/ledger/choose": RoleSteer, "POST shop/ledger/recover": RoleSteer,
		"GET card/slots": RoleSteer, "POST card/begin": RoleSteer, "PUT card/file/{name}": RoleSteer, "POST card/check": RoleSteer, "POST card/try": RoleSteer, "POST card/commit": RoleSteer,
	}
}

// Every path that a package registers has a role that somebody chose.
func TestEveryPathHasARole(t *testing.T) {
	wanted := wantedRoles()
	found := 0
	for _, source := range []struct{ files, below, pattern string }{
		{"../orderservice/*.go", "shop/", `handle\("([A-Z]+)", "([^"]*[^"/])"`},
		{"../orderservice/*.go", "shop/", `HandleFunc\("([A-Z]+) "\+prefix\+"([^"]+)"`},
		{"../orderservice/ledgerapi.go", "shop/ledger/", `()"([a-z]+)": +func\(`},
		{"../*.go", "shop/", `HandleFunc\("([A-Z]+) "\+console\.ShopPath\+"([^"]+)"`},
		{"../../images/cardinit/api.go", "card", `HandleFunc\("([A-Z]+) (/[^"]+)"`},
		{"server.go", "", `api\("(/api/v1/[a-z]+)", http\.Method([A-Za-z]+)`},
	} {
		files, err := filepath.Glob(source.files)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range regexp.MustCompile(source.pattern).FindAllStringSubmatch(string(text), -1) {
				method, path := match[1], source.below+match[2]
				switch {
				case source.below == "": // the other way round
					method, path = strings.ToUpper(match[2]), match[1]
				case method == "":
					method = "POST"
				}
				found++
				if _, ok := wanted[method+" "+path]; !ok {
					t.Errorf("%s registers %s %s, which has no role in this test", name, method, path)
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d paths found", found)
	}
	roles := newRoleRouter()
	for pattern, role := range wanted {
		method, path, _ := strings.Cut(pattern, " ")
		if path[0] != '/' {
			path = "/api/v1/" + path
		}
		path = regexp.MustCompile(`{[a-z]+}`).ReplaceAllString(path, "x")
		if got := roles.roleFor(httptest.NewRequest(method, path, nil)); got != role {
			t.Errorf("%s needs %q, want %q", pattern, got, role)
		}
	}
}

func TestSecrets(t *testing.T) {
	token := NewToken()
	for _, c := range []struct {
		secret, sent string
		right        bool
	}{
		{"in clear text", "in clear text", true}, {"in clear text", "in clear tex", false}, {"in clear text", "", false},
		{HashPassword("open up"), "open up", true}, {HashPassword("open up"), "open u", false}, {HashPassword("open up"), HashPassword("open up"), false},
		{HashToken(token), token, true}, {HashToken(token), HashToken(token), false}, {HashToken(token), NewToken(), false},
		{"scrypt:", "", false}, {"scrypt:salt", "x", false}, {"sha256:", "", false},
	} {
		if got := (&Account{Secret: c.secret}).isSecret(c.sent); got != c.right {
			t.Errorf("%.20q of %.20q: %v", c.sent, c.secret, got)
		}
	}
	if HashPassword("x") == HashPassword("x") || len(token) < 40 {
		t.Error("hashes without salt, or a short token")
	}
}

// A device cookie is of one account with one password, of one rack, and for 30 days.
func TestDeviceCookie(t *testing.T) {
	now, key, account := time.Unix(1e9, 0), bytes.Repeat([]byte{1}, 32), Account{"ann", RoleLook, "one secret"}
	value := NewDevice(key, account, now)
	for name, c := range map[string]struct {
		key     []byte
		account Account
		value   string
		at      time.Time
		valid   bool
	}{
		"its own":           {key, account, value, now.Add(deviceLife - time.Second), true},
		"a new password":    {key, Account{"ann", RoleLook, "another secret"}, value, now, false},
		"another account":   {key, Account{"bob", RoleLook, "one secret"}, value, now, false},
		"another rack":      {bytes.Repeat([]byte{2}, 32), account, value, now, false},
		"too late":          {key, account, value, now.Add(deviceLife), false},
		"cut off":           {key, account, value[:len(value)-4], now, false},
		"changed":           {key, account, "B" + value[1:], now, false},
		"not base64":        {key, account, "!" + value[1:], now, false},
		"nothing":           {key, account, "", now, false},
		"more than a value": {key, account, value + "AAAA", now, false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: DeviceCookie, Value: c.value})
		if got := deviceOf(c.key, c.account, r, c.at); (got != "") != c.valid {
			t.Errorf("%s: %q", name, got)
		}
	}
}
