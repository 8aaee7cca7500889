package origin

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

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
