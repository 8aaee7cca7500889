// Package proxyfields has the one table of the fields of a request that servers believe because a proxy
// in front of them sets them. The wall towards origins drops them from clients, and the console takes a
// request that has one for another's than this machine's.
package proxyfields

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// Table holds the fields of a request that origins believe because a proxy in front
// of them sets them. None is part of the cache key, so from a client each could poison a
// page that is stored for all; many also give their sender somebody's rights.
type Table struct {
	names    map[string]bool // in canonical form
	prefixes []string
}

// New returns the table.
func New() Table {
	f := Table{names: map[string]bool{}}
	for _, group := range [...]string{
		// Where the client is, and how and by which name it came: servers limit, log, redirect and
		// build links by it. So does any field whose name ends in "-IP" (addressSuffix).
		`Forwarded Forwarded-* X-Forward* X-Real-* X-Cluster-* X-Originating-* X-Proxy-* Wl-Proxy-* X-Custom-Ip-*
		X-Client-Host X-Client-Port Host-Override X-Host X-Backend-Host X-Server-Name X-Server-Host X-Scheme X-Url-Scheme
		X-Proto X-Protocol X-Port X-Ssl X-Https Ssl-Https Front-End-Https X-Wap-Profile X-Envoy-*`,
		// Who the client is: single sign-on (mod_auth, oauth2-proxy, Authelia, authentik, SiteMinder, Oracle Access
		// Manager, WebSEAL, Shibboleth, Mellon, CAS, Grafana, Kong, Tailscale, Google IAP, Azure, AWS), CGI, AJP, iisnode.
		`Remote-* X-Remote-* Auth-Type Auth-User* X-Auth-Request-* X-Auth-User* X-Auth-Email X-Auth-Groups X-Authenticated-*
		X-Authentik-* X-Webauth-* X-Vouch-* X-Pomerium-* Oidc-* X-Oidc-* Sm-* Smuser Oam-* Iv-* Shib* X-Shib* Ajp-* Eppn
		Persistent-Id Mellon-* Cas-* X-Cas-* X-Saml-* X-Sso-* Gap-* X-User* X-Email X-Groups X-Roles X-Principal*
		X-Token-Subject X-Jwt-* X-Consumer-* X-Credential-* X-Anonymous-Consumer X-Endpoint-Api-* Tailscale-*
		X-Goog-Authenticated-* X-Goog-Iap-* X-Ms-Client-Principal* X-Ms-Token-* X-Amzn-Oidc-* X-Iisnode-*`,
		// The client's certificate, as the end of TLS reports it (RFC 9440, nginx, Apache, HAProxy, IIS, Traefik, AWS).
		`Client-Cert Client-Cert-* Ssl-* X-Ssl-* X-Client-Cert* X-Client-Dn X-Client-Verify X-Tls-Client-* X-Arr-* X-Amzn-Mtls-*`,
		// What a CDN adds: the address, the country, the certificate of its client.
		`Cf-* Cloudfront-* Fastly-* X-Fastly-* Akamai-* X-Akamai-* X-Azure-* X-Appengine-* X-Vercel-* X-Nf-* Fly-* Incap-* X-Sucuri-*`,
		// Another URL or another method than the one that was checked, stored and counted.
		`X-Orig-* X-Original-* X-Rewrite-* X-Override-* X-Http-* X-Method-Override X-Ms-Original-* X-Waws-Unencoded-Url
		X-Invoke-* X-Matched-* X-Now-* X-Middleware-* X-Uri X-Path X-Request-Uri X-Script-Name X-Base-Url Base-Url Http-*
		Request-Uri Request-Method Script-Name Path-Info Path-Translated Query-String Document-Root Server-Name Server-Port`,
		// Orders to a server: send a file, use this proxy (httpoxy). The rack itself meets Expect.
		`X-Accel-* X-Sendfile* X-Lighttpd-* X-Litespeed-Location Proxy Expect`,
	} {
		for name := range strings.FieldsSeq(group) {
			if prefix, ok := strings.CutSuffix(name, "*"); ok {
				f.prefixes = append(f.prefixes, prefix)
			} else {
				f.names[name] = true
			}
		}
	}
	return f
}

// addressSuffix ends the names of fields that have a client's address.
const addressSuffix = "-Ip"

// Contains reports whether a field is one of them. A name with another mark than "-" always is: servers make one
// variable of Accept_Language and Accept-Language (RFC 3875 §4.1.18), but Vary, the rack and this table do not.
// nginx and Apache drop such names too.
func (t Table) Contains(name string) bool {
	isMark := func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}
	return t.names[name] || strings.HasSuffix(name, addressSuffix) || strings.ContainsFunc(name, isMark) ||
		slices.ContainsFunc(t.prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// ProveProxy reports whether a request's fields show that a proxy has passed it on. Programs send Expect themselves.
func (t Table) ProveProxy(h http.Header) bool {
	for name := range h {
		if name == "Via" || name == "Cdn-Loop" || name != "Expect" && t.Contains(name) {
			return true
		}
	}
	return false
}

// KeepListed returns the members of Connection without the fields in the table, and Via: a client could else have the
// rack drop what the site's own proxy has added (RFC 9110 §7.6.1).
func (t Table) KeepListed(lines []string) (kept []string) {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			member = strings.Trim(member, " \t")
			if name := textproto.CanonicalMIMEHeaderKey(member); name != "Via" && !t.Contains(name) {
				kept = append(kept, member)
			}
		}
	}
	return kept
}
