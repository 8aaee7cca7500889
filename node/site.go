package node

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"bramble/node/config"
)

// builtInHost is the host in the built-in shop's cache keys. All boards must
// use the same, whatever address a client calls them by.
const builtInHost = "shop.bramble"

// viaName is how a rack signs the Via field, to know its own requests again.
const viaName = "bramble"

var (
	errLoop   = errors.New("the origin of this rack is the rack itself: [origin] url must name another server")
	errTarget = errors.New("this server answers for its own pages only")
)

// site is the one web site that a rack serves, under whatever names clients
// reach it. The origin is always asked by the site's own name, so that a reply
// cannot depend on what a client put into Host, and all boards share a key.
type site struct {
	scheme, host string
	foreign      bool // an origin over HTTP, not the built-in shop
}

func newSite(cfg config.Origin) (site, error) {
	if cfg.URL == "" {
		return site{scheme: "http", host: builtInHost}, nil
	}
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return site{}, fmt.Errorf("[origin] url: %w", err)
	}
	return site{scheme: base.Scheme, host: strings.ToLower(base.Host), foreign: true}, nil
}

// request is the client's request as cache and origin may see it: under the
// site's name, without fields that say who was asked under which name (an
// origin that believes them poisons what is stored for all), and without a way
// round in circles.
func (s site) request(r *http.Request) (*http.Request, error) {
	if r.Method == http.MethodConnect || r.URL.Path == "" || r.URL.Path[0] != '/' && r.URL.Path != "*" {
		return nil, errTarget
	}
	out := r.WithContext(r.Context())
	target := *r.URL
	target.Scheme, target.Host, target.User, target.Fragment = s.scheme, s.host, nil, ""
	out.URL, out.Host = &target, s.host
	if s.foreign {
		if looped(r.Header["Via"]) {
			return nil, errLoop
		}
		out.Header = r.Header.Clone()
		out.Header.Add("Via", fmt.Sprintf("%d.%d %s", r.ProtoMajor, r.ProtoMinor, viaName))
	} else if carriesUnkeyed(r.Header) {
		out.Header = r.Header.Clone()
	}
	for _, name := range unkeyedFields() {
		out.Header.Del(name)
	}
	return out, nil
}

// unkeyedFields tell an origin how a client came to the rack. None is part of
// a cache key, so none may change what the origin answers.
func unkeyedFields() [10]string {
	return [...]string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto",
		"X-Forwarded-Scheme", "X-Forwarded-Server", "X-Host", "X-Original-Url", "X-Rewrite-Url",
	}
}

func carriesUnkeyed(h http.Header) bool {
	for _, name := range unkeyedFields() {
		if _, ok := h[textproto.CanonicalMIMEHeaderKey(name)]; ok {
			return true
		}
	}
	return false
}

// looped reports whether a request has been through this rack before.
func looped(via []string) bool {
	for _, line := range via {
		for member := range strings.SplitSeq(line, ",") {
			fields := strings.Fields(member)
			if len(fields) >= 2 && fields[1] == viaName {
				return true
			}
		}
	}
	return false
}

// purgeKey is the cache key of what an operator names: a path with its query,
// or a whole URL, of which host and scheme are the site's in any case.
func (s site) purgeKey(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no URL: %w", text, err)
	}
	if !strings.HasPrefix(u.Path, "/") {
		if u.Path != "" || u.Host == "" {
			return nil, fmt.Errorf("%q names no page: write a path that begins with / or a whole URL", text)
		}
		u.Path = "/"
	}
	u.Scheme, u.Host, u.User, u.Fragment = s.scheme, s.host, nil, ""
	return u, nil
}
