package origin

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxRequestFields limits a request's field lines. A browser behind several
// proxies sends about thirty.
const maxRequestFields = 128

// RewriteForSite returns a client's request as the cache and the origin need it: with the
// site's own name and an unchanged path, without the fields that proxies between the
// client and the rack add (an origin that trusts them poisons the cache). It refuses a
// request that has passed through this rack before. Errors match ErrTarget, ErrMethod,
// ErrUnknownMethod, ErrFields or ErrLoop.
func (s *Sites) RewriteForSite(r *http.Request) (*http.Request, error) {
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		return nil, fmt.Errorf("%w: %s", ErrMethod, r.Method)
	}
	lines := 0
	for _, values := range r.Header {
		lines += len(values)
	}
	if lines > maxRequestFields {
		return nil, fmt.Errorf("%w: %d; the limit is %d", ErrFields, lines, maxRequestFields)
	}
	found, err := s.siteForHost(r.Host)
	if err != nil {
		return nil, err
	}
	if !found.allowsMethod(r.Method) {
		return nil, fmt.Errorf("%w: %.40q", ErrUnknownMethod, r.Method)
	}
	if r.ProtoMajor > 1 && (r.URL.Scheme != "" || r.URL.Host != "") {
		return nil, fmt.Errorf("%w: :path is a URL", ErrTarget) // RFC 9113 §8.3.1
	}
	target, err := found.targetURL(r.URL, r.Method)
	if err != nil {
		return nil, err
	}
	out := r.WithContext(r.Context())
	out.URL, out.Host = target, target.Host
	if found.server != nil && hasViaLoop(r.Header["Via"], s.via) {
		return nil, ErrLoop
	}
	cloned := false
	trusted := found.trustsPeer(r.RemoteAddr)
	for name := range r.Header {
		isBelieved := s.believed.Contains(name) && !(trusted && name != "Proxy" && name != "Expect")
		if !isBelieved && !(trusted && name == "Connection") {
			continue
		}
		if !cloned {
			out.Header, cloned = r.Header.Clone(), true
		}
		if delete(out.Header, name); !isBelieved {
			out.Header["Connection"] = s.believed.KeepListed(r.Header[name])
		}
	}
	if r.Method == http.MethodOptions && len(out.Header["Max-Forwards"]) > 0 {
		if !cloned {
			out.Header = r.Header.Clone()
		}
		decrementMaxForwards(out.Header)
	}
	return out, nil
}

// targetURL returns the URL of a request on this site. Path and query stay byte
// for byte the same, except that bytes which are invalid in a path are escaped,
// so that the cache key equals the path that the origin gets.
func (s *site) targetURL(from *url.URL, method string) (*url.URL, error) {
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
		return nil, fmt.Errorf("%w: a request must not have a fragment", ErrTarget)
	}
	if u.RawPath != "" && u.EscapedPath() != u.RawPath {
		u.RawPath = escapeInvalid(u.RawPath)
	}
	u.Scheme, u.Host = s.scheme, s.host
	return &u, nil
}

// escapeInvalid escapes the bytes that are invalid in a path and leaves all
// others, including escapes, as they are. net/url would decode escapes too,
// which would turn /a%2Fb|c into another page.
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

// decrementMaxForwards decrements Max-Forwards (RFC 9110 §7.6.2). A request whose count
// is 0 already goes to the origin without the field, because only the origin can
// answer it.
func decrementMaxForwards(h http.Header) {
	n, err := strconv.ParseUint(h.Get("Max-Forwards"), 10, 31)
	if err != nil || n == 0 {
		h.Del("Max-Forwards")
		return
	}
	h.Set("Max-Forwards", strconv.FormatUint(n-1, 10))
}

// hasViaLoop reports whether a request has passed through this rack already.
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

// PurgeKeys returns the cache keys for an operator's input: a complete URL, or a
// path with its query, which means that page on every site.
func (s *Sites) PurgeKeys(text string) ([]*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a URL: %w", text, err)
	}
	u.Fragment, u.RawFragment = "", ""
	sites := s.sites
	switch {
	case u.Host != "" && (u.Scheme != "" || !strings.HasPrefix(text, "//")):
		found, err := s.siteForHost(u.Host)
		if err != nil {
			return nil, err
		}
		sites = []*site{found}
	case strings.HasPrefix(text, "/"):
		if u, err = url.ParseRequestURI(strings.SplitN(text, "#", 2)[0]); err != nil { // "//a" is a path here
			return nil, fmt.Errorf("%q is not a URL: %w", text, err)
		}
	default:
		return nil, fmt.Errorf("%q is not a page: write a complete URL, or a path that begins with /", text)
	}
	var keys []*url.URL
	for _, target := range sites {
		key, err := target.targetURL(u, http.MethodGet)
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
