package console_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	. "bramble/node/console"
	"bramble/node/console/consoletest"
)

const secret = "blackberry & rhubarb"

func signed(user, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func TestPassword(t *testing.T) {
	f := consoletest.NewFake(1)
	for _, c := range []struct {
		path   string
		edit   func(*http.Request)
		status int
	}{
		{"/", nil, 401},
		{"/console.js", nil, 401},
		{"/metrics", nil, 401},
		{"/api/v1/rack", nil, 401},
		{"/api/v1/events", nil, 401},
		{"/healthz", nil, 200},
		{"/readyz", nil, 200},
		{"/", signed("bramble", secret), 200},
		{"/api/v1/rack", signed("bramble", secret), 200},
		{"/api/v1/rack", signed("bramble", secret+"x"), 401},
		{"/api/v1/rack", signed("bramble", ""), 401},
		{"/api/v1/rack", signed("root", secret), 401},
		{"/api/v1/rack", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) }, 401},
		{"/api/v1/rack", func(r *http.Request) { signed("bramble", secret)(r); r.Host = "rack.example" }, 200},
	} {
		w := ask(t, newConsole(t, Config{Source: f, Control: f, Password: secret}), "GET", c.path, "", c.edit)
		if w.Code != c.status {
			t.Errorf("%s: %d, want %d", c.path, w.Code, c.status)
		}
		if w.Code == 401 && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: a refusal that does not ask for the password", c.path)
		}
	}
}

func TestSteering(t *testing.T) {
	from := func(addr string, edit func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			r.RemoteAddr = addr
			if edit != nil {
				edit(r)
			}
		}
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, c := range []struct {
		name, password string
		edit           func(*http.Request)
		status         int
	}{
		{"this machine", "", from("127.0.0.1:9", nil), 204},
		{"this machine by IPv6", "", from("[::1]:9", nil), 204},
		{"this machine, IPv4 in IPv6", "", from("[::ffff:127.0.0.1]:9", nil), 204},
		{"another machine", "", from("192.168.1.9:9", nil), 403},
		{"no address at all", "", from("@", nil), 403},
		{"another machine that claims to be this one", "", from("192.168.1.9:9", header("X-Forwarded-For", "127.0.0.1")), 403},
		{"a proxy on this machine, for a visitor", "", from("127.0.0.1:9", header("X-Forwarded-For", "203.0.113.9")), 403},
		{"another proxy", "", from("127.0.0.1:9", header("Forwarded", "for=203.0.113.9")), 403},
		{"a third", "", from("127.0.0.1:9", header("Via", "1.1 proxy")), 403},
		{"a fourth", "", from("127.0.0.1:9", header("X-Real-IP", "203.0.113.9")), 403},
		{"a fifth", "", from("127.0.0.1:9", header("CF-Connecting-IP", "203.0.113.9")), 403},
		{"one that writes names its own way", "", from("127.0.0.1:9", header("x_forwarded_for", "203.0.113.9")), 403},
		{"a sixth", "", from("127.0.0.1:9", header("Forwarded-For", "203.0.113.9")), 403},
		{"Envoy", "", from("127.0.0.1:9", header("X-Envoy-External-Address", "203.0.113.9")), 403},
		{"Azure", "", from("127.0.0.1:9", header("X-Azure-ClientIP", "203.0.113.9")), 403},
		{"a CDN", "", from("127.0.0.1:9", header("CDN-Loop", "cdn")), 403},
		{"WebLogic's plug-in", "", from("127.0.0.1:9", header("WL-Proxy-SSL", "true")), 403},
		{"a program that asks whether it may send", "", from("127.0.0.1:9", header("Expect", "100-continue")), 204},
		{"nginx without any field", "", from("127.0.0.1:9", func(r *http.Request) { r.Proto, r.ProtoMinor = "HTTP/1.0", 0 }), 403},
		{"another machine with the password", secret, from("192.168.1.9:9", signed("bramble", secret)), 204},
		{"this machine without the password", secret, from("127.0.0.1:9", nil), 401},
		{"our own page", "", from("127.0.0.1:9", header("Origin", "http://127.0.0.1:8080")), 204},
		{"a page of another site", "", from("127.0.0.1:9", header("Origin", "https://evil.example")), 403},
		{"a page of another site that a browser tells of", "", from("127.0.0.1:9", header("Sec-Fetch-Site", "cross-site")), 403},
		{"a page of another port", "", from("127.0.0.1:9", header("Sec-Fetch-Site", "same-site")), 403},
		{"a signed-in browser on a page of another site", secret, from("127.0.0.1:9", func(r *http.Request) {
			signed("bramble", secret)(r)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}), 403},
		{"a name that an attacker's DNS has", "", from("127.0.0.1:9", func(r *http.Request) { r.Host = "evil.example:8080" }), 421},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := consoletest.NewFake(1)
			w := ask(t, newConsole(t, Config{Source: f, Control: f, Password: c.password}), "POST", "/api/v1/drain", `{"board":"board-1"}`, c.edit)
			if w.Code != c.status {
				t.Errorf("%d %s, want %d", w.Code, w.Body, c.status)
			}
			if c.password == "" { // not a lab
				board, err := New(Config{Source: f, Control: f})
				if err != nil {
					t.Fatal(err)
				}
				before := len(f.Calls())
				if w := ask(t, board, "POST", "/api/v1/drain", `{"board":"board-1"}`, c.edit); w.Code < 403 || len(f.Calls()) != before {
					t.Errorf("a board of its own machine: %d", w.Code)
				}
			}
			if done := len(f.Calls()) > 0; done != (c.status == 204) {
				t.Errorf("the rack was asked for %q", f.Calls())
			}
		})
	}
}

// An account does what its role allows, and the shop gets the command as it was sent.
func TestCommandsHaveRoles(t *testing.T) {
	var got []string
	shop := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got = append(got, string(text))
	})
	packing, owner := NewToken(), NewToken()
	c, err := New(Config{Source: consoletest.NewFake(1), Control: consoletest.NewFake(1), Shop: shop, Accounts: []Account{{"packing", RoleShop, HashToken(packing)}, {"owner", RoleSteer, owner}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		token, body, site string
		status            int
	}{
		{packing, `{"action":"sent"}`, "", 200}, {packing, `{"action":"relink","revoke":true}`, "", 403}, {packing, `{"action":"sent","Action":"erase"}`, "", 403},
		{owner, `{"action":"relink","revoke":true}`, "", 200}, {owner, `{}`, "", 200}, {owner, `{"action":"sent"}`, "cross-site", 403},
	} {
		r := httptest.NewRequest("POST", "https://127.0.0.1"+ShopPath+"commands", strings.NewReader(one.body))
		r.Header.Set("Authorization", "Bearer "+one.token)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Sec-Fetch-Site", one.site)
		w := httptest.NewRecorder()
		got = nil
		if c.ServeHTTP(w, r); w.Code != one.status || (w.Code == 200) != slices.Equal(got, []string{one.body}) {
			t.Errorf("%s: %d, and the shop got %q", one.body, w.Code, got)
		}
	}
	// What a page of another site cannot read, it cannot make the browser save either.
	for path, statuses := range map[string]map[string]int{
		"/":                     {"cross-site": 200, "none": 200},
		ShopPath + "backup":     {"cross-site": 403, "same-site": 403, "same-origin": 200, "none": 200, "": 200},
		ShopPath + "orders":     {"cross-site": 403, "same-origin": 200},
		ShopPath + "sales":      {"cross-site": 403, "same-origin": 200},
		ShopPath + "audit?x=.x": {"cross-site": 403, "same-origin": 200},
	} {
		for site, want := range statuses {
			r := httptest.NewRequest("GET", "https://127.0.0.1"+path, nil)
			r.SetBasicAuth("owner", owner)
			r.Header.Set("Sec-Fetch-Site", site)
			w := httptest.NewRecorder()
			if c.ServeHTTP(w, r); w.Code != want {
				t.Errorf("%s from %q: %d, want %d", path, site, w.Code, want)
			}
		}
	}
	for origin, want := range map[string]int{"https://evil.example": 403, "null": 403, "https://127.0.0.1": 200} { // of an old browser
		r := httptest.NewRequest("GET", "https://127.0.0.1"+ShopPath+"backup", nil)
		r.SetBasicAuth("owner", owner)
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		if c.ServeHTTP(w, r); w.Code != want {
			t.Errorf("from a page of %s: %d, want %d", origin, w.Code, want)
		}
	}
}
