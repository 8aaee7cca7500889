package console

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every path that a package registers, and every action of an operator's command, is in the table of
// roles, so that somebody has decided; and the table has nothing else.
func TestEveryRequestHasARole(t *testing.T) {
	table, found := roleTable(), map[string]bool{"GET /{$}": true, "GET /{file}": true}
	for _, source := range []struct{ files, below, pattern string }{
		{"../orderservice/*.go", ShopPath, `handle\("([A-Z]+)", "([^"]*[^"/])"`},
		{"../orderservice/*.go", ShopPath, `HandleFunc\("([A-Z]+) "\+prefix\+"([^"]+)"`},
		{"../orderservice/ledgerapi.go", ShopPath + "ledger/", `()"([a-z]+)": +func\(`},
		{"../orderservice/operate.go", actionKey, `()\t"([a-z]+)": +(?:orders\.|invitation)`},
		{"../orderservice/operate.go", actionKey, `()o\.Action == "([a-z]+)"`},
		{"../*.go", ShopPath, `HandleFunc\("([A-Z]+) "\+console\.ShopPath\+"([^"]+)"`},
		{"../../images/cardinit/api.go", CardPath, `HandleFunc\("([A-Z]+) /([^"]+)"`},
		{"server.go", "", `api\("(/api/v1/[a-z]+)", http\.Method([A-Za-z]+)`},
	} {
		files, err := filepath.Glob(source.files)
		if err != nil {
			t.Fatal(err)
		}
		matches := 0
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range regexp.MustCompile(source.pattern).FindAllStringSubmatch(string(text), -1) {
				matches++
				request := match[1] + " " + source.below + match[2]
				switch {
				case source.below == "": // the other way round
					request = strings.ToUpper(match[2]) + " " + match[1]
				case source.below == actionKey:
					request = actionKey + " " + match[2]
				case match[1] == "":
					request = "POST " + source.below + match[2]
				}
				if found[request] = true; table[request] == "" && !strings.Contains("GET /api/v1/rack GET /api/v1/events", request) {
					t.Errorf("%s has %s, which is not in the table of roles", name, request)
				}
			}
		}
		if matches == 0 {
			t.Errorf("%s in %s finds nothing", source.pattern, source.files)
		}
	}
	for request := range table {
		if !found[request] {
			t.Errorf("the table of roles has %s, which nothing answers", request)
		}
	}
	roles := newRoleRouter()
	for pattern, role := range table {
		method, path, _ := strings.Cut(pattern, " ")
		body := ""
		if method == actionKey {
			method, path, body = "POST", ShopPath+"commands", fmt.Sprintf(`{"op_id":"1","action":"sent","ACTION":%q} and more`, path)
		} else if pattern == commandsPattern {
			continue
		}
		path = strings.NewReplacer("{$}", "", "{file}", "console.js").Replace(path)
		path = regexp.MustCompile(`{[a-z]+}`).ReplaceAllString(path, "x")
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if got := roles.roleFor(r, RoleSteer); got != role {
			t.Errorf("%s needs %q, want %q", pattern, got, role)
		}
		if rest, err := io.ReadAll(r.Body); string(rest) != body || err != nil {
			t.Errorf("%s: the shop reads %q", pattern, rest)
		}
	}
	for _, request := range []string{"POST /api/v1/rack", "GET /api/v1/shop/unheard/of", "DELETE /api/v1/shop/orders", "GET /metrics/x"} {
		method, path, _ := strings.Cut(request, " ")
		if got := roles.roleFor(httptest.NewRequest(method, path, nil), RoleSteer); got != RoleSteer {
			t.Errorf("%s needs %q", request, got)
		}
	}
	for body, want := range map[string]Role{`{"action":"sent"}`: RoleShop, `{"action":"unheard"}`: RoleSteer, `{"action":1}`: RoleSteer, `{"action":"sent","n":"` + strings.Repeat("x", maxCommand): RoleSteer, "": RoleSteer} {
		if got := roles.roleFor(httptest.NewRequest("POST", ShopPath+"commands", strings.NewReader(body)), RoleShop); got != want {
			t.Errorf("%.40s needs %q, want %q", body, got, want)
		}
	}
}

// The guide's table of roles has the requests and actions of each.
func TestGuideHasTheRoles(t *testing.T) {
	guide, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []Role{RoleLook, RoleShop, RoleSteer} {
		var lists [2][]string
		for request, needed := range roleTable() {
			if method, path, _ := strings.Cut(request, " "); needed != role {
				continue
			} else if method == actionKey {
				lists[1] = append(lists[1], path)
			} else if request != commandsPattern {
				lists[0] = append(lists[0], strings.Replace(request, "/api/v1/", "", 1))
			}
		}
		row := fmt.Sprintf("| `%s` |", role)
		for _, list := range lists {
			slices.SortFunc(list, func(a, b string) int {
				_, pathA, _ := strings.Cut(a, " ")
				_, pathB, _ := strings.Cut(b, " ")
				return cmp.Or(cmp.Compare(pathA, pathB), cmp.Compare(a, b))
			})
			row += " " + strings.Join(list, ", ") + " |"
		}
		if row = strings.ReplaceAll(row, "  ", " "); !strings.Contains(string(guide), row) {
			t.Errorf("the guide lacks the row\n%s", row)
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
	if first, second := HashPassword("x"), HashPassword("x"); first == second || len(token) < 40 {
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
