package origin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"

	"bramble/node/config"
)

// What an origin would believe of a proxy never comes from a client, however it spells the name.
func TestBelievedFieldsOfClientsAreRemoved(t *testing.T) {
	s := newSet(t, func(c *config.Config) { c.Origin.URL = "http://192.0.2.1" })
	removed := strings.Fields(`X-Forwarded-For Forwarded X-Real-IP Client-IP True-Client-IP X-Cluster-Client-IP X-Host X-Envoy-External-Address
		Remote-User Remote-Groups X-Remote-User X-Forwarded-User X-Auth-Request-Email X-WebAuth-User OIDC_CLAIM_sub SM_USER REMOTE_ADDR
		X-Authentik-Username Tailscale-User-Login X-Goog-Authenticated-User-Email X-MS-Client-Principal-Name Auth-Type
		SSL-Client-Verify SSL_CLIENT_S_DN X-SSL-Client-Cert X-Client-Cert X-Client-Cert-Chain Client-Cert X-Forwarded-Client-Cert X-ARR-ClientCert
		CF-Connecting-IP CF-IPCountry CF-Access-Jwt-Assertion CloudFront-Viewer-Address Fastly-Client-IP Fastly-SSL Akamai-Origin-Hop
		X-Azure-ClientIP Fly-Client-IP X-AppEngine-User-Email
		X-Orig-URL X-Original-URL X-Original-Host X-Rewrite-URL X-HTTP-Method X-HTTP-Method-Override X-Method-Override X-Middleware-Subrequest
		WL-Proxy-Client-IP WL-Proxy-SSL Proxy-Client-IP OAM_REMOTE_USER SMUSER AJP_eppn AJP_REMOTE_USER Eppn X-Shib-User Shib-Session-Id
		Shibboleth-User X-Auth-User X-Auth-Username X-User X-Username X-User-Id X-Userinfo X-Token-Subject X-Iisnode-Auth_User
		X-Custom-IP-Authorization X-Matched-Path X-Consumer-Username MELLON_uid X-Forwarded-By-IP X-Any-Product-Client-IP Forwarded-For
		X-Azure-SocketIP X-Amzn-Mtls-Clientcert
		Content_Length Transfer_Encoding Accept_Language Content.Type Cookie_ X_Api_Key
		Script-Name Path-Info Request-Method X-Accel-Redirect X-Accel-Internal X-Sendfile X-Sendfile-Type Proxy Expect`)
	kept := strings.Fields(`Accept Accept-Language Cookie Authorization User-Agent Referer Origin Range If-None-Match If-Match Content-Type
		X-Requested-With X-Csrf-Token X-Api-Key X-Auth-Token Sec-Fetch-Site Sec-CH-UA DNT Upgrade-Insecure-Requests Destination Depth Overwrite
		Lock-Token If Timeout Idempotency-Key Traceparent CDN-Loop Save-Data X-Amz-Date SOAPAction MCP-Session-Id`)
	forms := func(name string) []string {
		return []string{name, strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."), strings.ToLower(strings.ReplaceAll(name, "-", "_"))}
	}
	fieldsAfter := func(name, peer string, s *Sites) http.Header {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = peer
		r.Header[textproto.CanonicalMIMEHeaderKey(name)] = []string{"x"}
		out, err := s.RewriteForSite(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Header) != 1 {
			t.Errorf("%s: the client's own request was changed", name)
		}
		return out.Header
	}
	proxied := newSet(t, func(c *config.Config) {
		c.Origin.URL, c.Origin.TrustedProxies = "http://192.0.2.1", []string{"192.0.2.7/32", "2001:db8::/32"}
	})
	for _, name := range removed {
		for _, form := range forms(name) {
			if h := fieldsAfter(form, "192.0.2.7:5000", s); len(h) != 0 {
				t.Errorf("%s reached the origin", form)
			}
		}
		for peer, trusted := range map[string]bool{
			"192.0.2.7:5000": true, "[::ffff:192.0.2.7]:5000": true, "[2001:db8::1]:5000": true, "192.0.2.8:5000": false, "[2001:db9::1]:1": false, "": false,
		} {
			trusted = trusted && name != "Proxy" && name != "Expect"
			if h := fieldsAfter(name, peer, proxied); (len(h) == 1) != trusted {
				t.Errorf("%s from %q: %v, want it passed on %v", name, peer, h, trusted)
			}
		}
	}
	for _, name := range kept {
		if h := fieldsAfter(name, "192.0.2.8:5000", s); len(h) != 1 {
			t.Errorf("%s did not reach the origin", name)
		}
	}
}

func TestMethods(t *testing.T) {
	s := newSet(t, func(c *config.Config) {
		c.Origin.URL = "http://192.0.2.1"
		dav := c.Origin
		dav.URL, dav.Methods = "http://192.0.2.2", []string{"PROPFIND", "MKCOL"}
		c.Sites = []config.SiteSettings{{Host: "dav.example", Origin: dav}}
	})
	for method, want := range map[string][2]error{
		"GET": {}, "HEAD": {}, "POST": {}, "PUT": {}, "PATCH": {}, "DELETE": {}, "OPTIONS": {},
		"TRACE": {ErrMethod, ErrMethod}, "CONNECT": {ErrMethod, ErrMethod},
		"PROPFIND": {ErrUnknownMethod, nil}, "MKCOL": {ErrUnknownMethod, nil}, "LOCK": {ErrUnknownMethod, ErrUnknownMethod},
		"FOO": {ErrUnknownMethod, ErrUnknownMethod}, "get": {ErrUnknownMethod, ErrUnknownMethod}, "Post": {ErrUnknownMethod, ErrUnknownMethod},
		"PURGE": {ErrUnknownMethod, ErrUnknownMethod}, "PRI": {ErrUnknownMethod, ErrUnknownMethod},
	} {
		for i, host := range []string{"shop.example", "dav.example"} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Method, r.Host = method, host
			if _, err := s.RewriteForSite(r); !errors.Is(err, want[i]) || (err == nil) != (want[i] == nil) {
				t.Errorf("%s at %s: %v, want %v", method, host, err, want[i])
			}
		}
	}
}

// Behind the shop's own proxies the client is who they say it is; anybody else's word counts for nothing.
func TestClientAddr(t *testing.T) {
	s := newSet(t, func(c *config.Config) {
		c.Origin.URL, c.Origin.TrustedProxies = "http://192.0.2.1", []string{"192.0.2.7/32", "10.0.0.0/8"}
	})
	for _, c := range []struct {
		peer, want string
		forwarded  []string
	}{
		{"198.51.100.1:5", "198.51.100.1", nil},
		{"[::ffff:198.51.100.1]:5", "198.51.100.1", nil},
		{"198.51.100.1:5", "198.51.100.1", []string{"203.0.113.9"}},
		{"192.0.2.7:5", "203.0.113.9", []string{"203.0.113.9"}},
		{"[::ffff:192.0.2.7]:5", "203.0.113.9", []string{"::ffff:203.0.113.9"}},
		{"192.0.2.7:5", "203.0.113.9", []string{"1.1.1.1, 203.0.113.9"}},
		{"192.0.2.7:5", "203.0.113.9", []string{"1.1.1.1", "203.0.113.9 , 10.1.1.1"}},
		{"192.0.2.7:5", "2001:db8::1", []string{"2001:db8::1"}},
		{"192.0.2.7:5", "192.0.2.7", nil},
		{"192.0.2.7:5", "192.0.2.7", []string{"203.0.113.9, unknown"}},
		{"192.0.2.7:5", "10.1.1.1", []string{"x, 10.1.1.1"}},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = c.peer, c.forwarded
		if got := s.ClientAddr(r).Unmap().String(); got != c.want {
			t.Errorf("%s with %q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}
