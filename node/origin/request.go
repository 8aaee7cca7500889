package origin

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

// maxRequestFields bounds the lines of a request's fields. A browser behind
// several proxies sends about thirty.
const maxRequestFields = 128

// Request is the client's request as cache and origin may see it: under its
// site's own name and by the path that it came with, without fields that say
// how the client came here (an origin that believes them poisons what is stored
// for all), and without a way round in circles. What it refuses matches
// ErrTarget, ErrMethod, ErrFields or ErrLoop.
func (s *Sites) Request(r *http.Request) (*http.Request, error) {
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		return nil, fmt.Errorf("%w: %s", ErrMethod, r.Method)
	}
	lines := 0
	for _, values := range r.Header {
		lines += len(values)
	}
	if lines > maxRequestFields {
		return nil, fmt.Errorf("%w: %d, and %d are possible", ErrFields, lines, maxRequestFields)
	}
	where, err := s.siteForHost(r.Host)
	if err != nil {
		return nil, err
	}
	target, err := where.targetURL(r.URL, r.Method)
	if err != nil {
		return nil, err
	}
	out := r.WithContext(r.Context())
	out.URL, out.Host = target, target.Host
	if where.server != nil && hasViaLoop(r.Header["Via"], s.via) {
		return nil, ErrLoop
	}
	cloned := false
	for name := range r.Header {
		if !isForwardingField(name) {
			continue
		}
		if !cloned {
			out.Header, cloned = r.Header.Clone(), true
		}
		delete(out.Header, name)
	}
	if r.Method == http.MethodOptions && len(out.Header["Max-Forwards"]) > 0 {
		if !cloned {
			out.Header = r.Header.Clone()
		}
		decrementMaxForwards(out.Header)
	}
	return out, nil
}

// targetURL is the URL of a request on this site. Path and query stay byte for
// byte what they were, but for bytes that no path may have: these are escaped,
// so that the cache's key is what the origin gets.
func (w *site) targetURL(from *url.URL, method string) (*url.URL, error) {
	u := *from
	switch {
	case u.Opaque != "" || u.User != nil || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%w: %.80q", ErrTarget, from)
	case u.Path == "" && u.Host != "" && method != http.MethodOptions:
		u.Path = "/" // RFC 9112 §3.2.2
	case u.Path == "" && u.Host != "":
		u.Path = "*" // RFC 9112 §3.2.4
	case u.Path == "*" && method == http.MethodOptions:
	case u.Path == "" || u.Path[0] != '/':
		return nil, fmt.Errorf("%w: %.80q", ErrTarget, u.Path)
	}
	if u.Fragment != "" || strings.Contains(u.RawPath, "#") || strings.Contains(u.RawQuery, "#") {
		return nil, fmt.Errorf("%w: a fragment is for the browser alone", ErrTarget)
	}
	if u.RawPath != "" && u.EscapedPath() != u.RawPath {
		u.RawPath = escapeInvalid(u.RawPath)
	}
	u.Scheme, u.Host = w.scheme, w.host
	return &u, nil
}

// escapeInvalid escapes the bytes of a path that may not stand there and leaves
// all others, escapes among them, as they are. net/url would undo the escapes
// too, and make of /a%2Fb|c another page than was asked for.
func escapeInvalid(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', isDigit(c), strings.IndexByte("-_.~/%!$&'()*+,;=:@[]", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// decrementMaxForwards counts Max-Forwards down (RFC 9110 §7.6.2). What should have ended here
// gets no further than the origin: it is the one that knows the answer.
func decrementMaxForwards(h http.Header) {
	n, err := strconv.ParseUint(h.Get("Max-Forwards"), 10, 31)
	if err != nil || n == 0 {
		h.Del("Max-Forwards")
		return
	}
	h.Set("Max-Forwards", strconv.FormatUint(n-1, 10))
}

// isForwardingField reports whether a field tells an origin how a client came to the
// rack, or has it take the request for another one. None is part of a cache
// key, so none may change what the origin answers. Many servers cannot tell
// "_" from "-" in a name, so here too they are the same.
func isForwardingField(name string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		name = textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	for _, prefix := range [...]string{"X-Forward", "X-Original-", "X-Rewrite-", "X-Override-", "X-Http-", "X-Accel-", "X-Invoke-",
		"X-Middleware-", "X-Envoy-Original-", "X-Ms-Original-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "Forwarded", "Forwarded-For", "Forwarded-Proto",
		"Host-Override", "Http-Host", "Http-Url", "Request-Uri", "Base-Url", "Script-Name",
		"X-Uri", "X-Path", "X-Request-Uri", "X-Script-Name", "X-Server-Name", "X-Server-Host", "X-Waws-Unencoded-Url",
		"X-Host", "X-Scheme", "X-Url-Scheme", "X-Proto", "X-Port", "X-Backend-Host", "X-Proxy-Host", "X-Base-Url",
		"X-Method-Override", "X-Sendfile-Type", "Front-End-Https", "X-Wap-Profile", "Proxy", "Expect",
		"X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Remote-Ip", "X-Remote-Addr", "X-Originating-Ip",
		"X-Proxyuser-Ip", "Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Cf-Visitor", "Fastly-Client-Ip",
		"X-Arr-Ssl", "X-Azure-Clientip", "X-Ssl", "Ssl-Https":
		return true
	}
	return false
}

// hasViaLoop reports whether a request has been through this rack before.
func hasViaLoop(via []string, self string) bool {
	for _, line := range via {
		for member := range strings.SplitSeq(line, ",") {
			if fields := strings.Fields(member); len(fields) >= 2 && fields[1] == self {
				return true
			}
		}
	}
	return false
}

// PurgeKeys are the cache keys of what an operator names: a whole URL, or a
// path with its query, which stands for that page on every site.
func (s *Sites) PurgeKeys(text string) ([]*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no URL: %w", text, err)
	}
	u.Fragment, u.RawFragment = "", ""
	sites := s.sites
	switch {
	case u.Host != "" && (u.Scheme != "" || !strings.HasPrefix(text, "//")):
		one, err := s.siteForHost(u.Host)
		if err != nil {
			return nil, err
		}
		sites = []*site{one}
	case strings.HasPrefix(text, "/"):
		if u, err = url.ParseRequestURI(strings.SplitN(text, "#", 2)[0]); err != nil { // "//a" is a path here
			return nil, fmt.Errorf("%q is no URL: %w", text, err)
		}
	default:
		return nil, fmt.Errorf("%q names no page: write a path that begins with / or a whole URL", text)
	}
	var keys []*url.URL
	for _, where := range sites {
		key, err := where.targetURL(u, http.MethodGet)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("this rack has no site")
	}
	return keys, nil
}
