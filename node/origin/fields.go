package origin

import (
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
)

// believedFields are the fields of a request that origins believe because a proxy in front
// of them sets them. None is part of the cache key, so from a client each could poison a
// page that is stored for all; many also give their sender somebody's rights.
type believedFields struct {
	names    map[string]bool // in canonical form
	prefixes []string
}

func newBelievedFields() believedFields {
	f := believedFields{names: map[string]bool{}}
	for _, group := range [...]string{
		// Where the client is, and how and by which name it came: servers limit, log, redirect and
		// build links by it.
		`Forwarded Forwarded-* X-Forward* X-Real-* X-Client-Ip X-Cluster-* X-Originating-* X-Proxyuser-Ip X-Proxy-*
		Client-Ip True-Client-Ip Host-Override X-Host X-Backend-Host X-Server-Name X-Server-Host X-Scheme X-Url-Scheme
		X-Proto X-Protocol X-Port X-Ssl X-Https Ssl-Https Front-End-Https X-Wap-Profile X-Envoy-*`,
		// Who the client is: single sign-on (mod_auth, oauth2-proxy, Authelia, authentik, SiteMinder,
		// WebSEAL, Shibboleth, Grafana, Tailscale, Google IAP, Azure, AWS) and the variables of CGI.
		`Remote-* X-Remote-* Auth-Type Auth-User X-Auth-Request-* X-Authenticated-* X-Authentik-* X-Webauth-* X-Vouch-*
		X-Pomerium-* Oidc-* Sm-* Iv-* Shib-* Tailscale-* X-Goog-Authenticated-* X-Goog-Iap-* X-Ms-Client-Principal*
		X-Ms-Token-* X-Amzn-Oidc-* X-User-Dn`,
		// The client's certificate, as the end of TLS reports it (RFC 9440, nginx, Apache, HAProxy, IIS, Traefik).
		`Client-Cert Client-Cert-* Ssl-* X-Ssl-* X-Client-Cert* X-Client-Dn X-Client-Verify X-Tls-Client-* X-Arr-*`,
		// What a CDN adds: the address, the country, the certificate of its client.
		`Cf-* Cloudfront-* Fastly-* X-Fastly-* Akamai-* X-Akamai-* X-Azure-* X-Appengine-* X-Vercel-* X-Nf-* Fly-*
		Do-Connecting-Ip Incap-* X-Sucuri-*`,
		// Another URL or another method than the one that was checked, stored and counted.
		`X-Orig-* X-Original-* X-Rewrite-* X-Override-* X-Http-* X-Method-Override X-Ms-Original-* X-Waws-Unencoded-Url
		X-Invoke-* X-Middleware-* X-Uri X-Path X-Request-Uri X-Script-Name X-Base-Url Base-Url Http-* Request-Uri
		Request-Method Script-Name Path-Info Path-Translated Query-String Document-Root Server-Name Server-Port`,
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

// contains reports whether a field is one of them. Servers make one variable of names that
// differ in "-", "_" and other marks (RFC 3875 §4.1.18), so they are the same here.
func (f believedFields) contains(name string) bool {
	isMark := func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}
	if strings.ContainsFunc(name, isMark) {
		name = textproto.CanonicalMIMEHeaderKey(strings.Map(func(r rune) rune {
			if isMark(r) {
				return '-'
			}
			return r
		}, name))
	}
	return f.names[name] || slices.ContainsFunc(f.prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// trustsPeer reports whether a peer's address is that of one of the site's own proxies.
func (s *site) trustsPeer(address string) bool {
	peer, err := netip.ParseAddrPort(address)
	return err == nil && s.trusts(peer.Addr())
}

func (s *site) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(s.proxies, func(p netip.Prefix) bool { return p.Contains(address.Unmap().WithZone("")) })
}

// ClientAddr returns the address of a request's client: that of its connection or, behind the site's own proxies,
// the last one in X-Forwarded-For that is none of them, as far as the proxies name addresses.
func (s *Sites) ClientAddr(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	found, notFound := s.siteForHost(r.Host)
	if err != nil || notFound != nil {
		return peer.Addr()
	}
	client := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && found.trusts(client); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		client = hop.Unmap()
	}
	return client
}

// allowsMethod reports whether the site's server may get a method. Others have no meaning
// that a cache could know: it would have to take each for a change of the page.
func (s *site) allowsMethod(method string) bool {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return true
	}
	return slices.Contains(s.cfg.Methods, method)
}
