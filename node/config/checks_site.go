package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
)

func checkOrigin(s string) string {
	const write = `; write "http://host", "http://host:port" or the same with https`
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" {
		return quote(s) + " is not the address of a web server" + write
	}
	if u.User != nil {
		return "an address with a user name in it is not allowed" + write
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return quote(s) + " has a path, but clients choose the path" + write
	}
	if !validHost(u.Hostname(), false) || u.Port() != "" && (!validPort(u.Port()) || u.Port() == "0") || strings.HasSuffix(u.Host, ":") {
		return quote(s) + " has no host, or an impossible port" + write
	}
	return ""
}

// checkHealthPath accepts a path, with or without a query, as the board sends it.
func checkHealthPath(s string) string {
	u, err := url.ParseRequestURI(s)
	return problemIf(err != nil || s[0] != '/' || strings.HasPrefix(s, "//") || u.RequestURI() != s || strings.Contains(s, "#"), s,
		` is not a path; write one such as "/health"`)
}

// checkSiteHost accepts a host name, with or without a port.
func checkSiteHost(s string) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = s, "1"
	}
	return problemIf(!validHost(host, false) || strings.Contains(host, ":") || !validPort(port) || port == "0" ||
		strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, ".."), s,
		` is not a host name; write one such as "shop.example"`)
}

func checkAlias(s string) string {
	return problemIf(checkSiteHost(strings.TrimPrefix(s, "*.")) != "", s, ` is not a host name; write one such as "www.shop.example" or "*.shop.example"`)
}

// siteConflict is a setting that two sites cannot share.
type siteConflict struct {
	site    int // of Config.Sites
	key     string
	problem string
}

// checkMethod checks the name of a method, which is a token (RFC 9110 §9.1).
func checkMethod(s string) string {
	isOther := func(r rune) bool { return (r < 'A' || r > 'Z') && r != '-' }
	return problemIf(s == "" || len(s) > 32 || strings.ContainsFunc(s, isOther) || s == "CONNECT" || s == "TRACE", s,
		" is not a method that can be passed on: write a name such as PROPFIND, in capitals")
}

func checkProxy(s string) string {
	p, err := netip.ParsePrefix(s)
	return problemIf(err != nil || p != p.Masked() || p.Bits() == 0, s, ` is not a network: write "10.1.0.0/16", or "192.0.2.7/32" for one address`)
}

// checkSites finds names that two sites share, and servers with two different settings.
func checkSites(c *Config) (siteConflict, bool) {
	named := map[string]bool{}
	servers := map[string]OriginSettings{}
	if c.Origin.URL != "" {
		servers[strings.TrimSuffix(c.Origin.URL, "/")] = c.Origin
	}
	for i, s := range c.Sites {
		for j, name := range append([]string{s.Host}, s.Aliases...) {
			key := "aliases"
			if j == 0 {
				key = "host"
			}
			name = strings.ToLower(name)
			if named[name] {
				return siteConflict{i, key, quote(name) + " is used twice; give each site its own names"}, true
			}
			named[name] = true
		}
		if u, err := url.Parse(c.Origin.URL); err == nil && u.Host != "" && s.Origin.URL != c.Origin.URL &&
			strings.EqualFold(u.Host, s.Host) {
			return siteConflict{i, "host", quote(s.Host) + " is also the server of [origin] url, whose pages are stored under that name; " +
				"make that server a [[site]] too, or give its address in [origin] url"}, true
		}
		server := strings.TrimSuffix(s.Origin.URL, "/")
		if server == "" {
			continue
		}
		if other, known := servers[server]; known {
			other.URL = s.Origin.URL
			if !reflect.DeepEqual(other, s.Origin) {
				return siteConflict{i, "url", fmt.Sprintf("the server %s has other settings above; give it the same ones everywhere",
					quote(server))}, true
			}
		}
		servers[server] = s.Origin
	}
	return siteConflict{}, false
}
