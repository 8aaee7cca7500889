package cache

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxVaryNames bounds the request fields that one reply may vary on. A reply
// with more counts as Vary: *.
const maxVaryNames = 16

// maxVariantKey bounds the bytes of request fields stored with an object to distinguish
// the variants of a page.
const maxVariantKey = 8 << 10

// varyNames collects the field names of all Vary lines, lower case, sorted,
// each once. all is true for "*" anywhere, for anything that is not a field name, and
// for more than maxVaryNames names: such a reply matches no other request
// (RFC 9111 §4.1).
func varyNames(lines []string) (names []string, all bool) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			name = trimOWS(name)
			if name == "" {
				continue
			}
			if name == "*" || !httpguts.ValidHeaderFieldName(name) {
				return nil, true
			}
			if name = strings.ToLower(name); !slices.Contains(names, name) {
				names = append(names, name)
			}
			if len(names) > maxVaryNames {
				return nil, true
			}
		}
	}
	slices.Sort(names)
	return names, false
}

// A variant key is the part of the cache key that Vary adds (RFC 9111 §4.1). It describes
// the requests that a variant answers: for each field name of Vary, the name, then '-' if
// the request had no such field or '+' and its value, each part ended by a NUL, which
// cannot occur in either.

// variantKeyFor builds the variant key of a request for the given names. It is ""
// for a reply that does not vary. ok is false if it is too long.
func variantKeyFor(names []string, r *http.Request) (key string, ok bool) {
	if len(names) == 0 {
		return "", true
	}
	var b strings.Builder
	for _, name := range names {
		value, has := varyValue(r, name)
		b.WriteString(name)
		b.WriteByte(0)
		if has {
			b.WriteByte('+')
			b.WriteString(value)
		} else {
			b.WriteByte('-')
		}
		b.WriteByte(0)
	}
	return b.String(), b.Len() <= maxVariantKey
}

// variantKeyNames returns the header field names in a variant key.
func variantKeyNames(key string) []string {
	var names []string
	for key != "" {
		name, _, rest := cutVariantKey(key)
		names, key = append(names, name), rest
	}
	return names
}

// matchesVariantKey reports whether the variant with this key answers the request.
// It allocates only for a field that is not in its normal form.
func matchesVariantKey(key string, r *http.Request) bool {
	for key != "" {
		name, want, rest := cutVariantKey(key)
		key = rest
		if lines, _ := headerLines(r.Header, name); len(lines) == 1 && want[0] == '+' && lines[0] == want[1:] {
			continue // a value in normal form equals itself
		}
		value, has := varyValue(r, name)
		if has != (want[0] == '+') || has && value != want[1:] {
			return false
		}
	}
	return true
}

func cutVariantKey(key string) (name, value, rest string) {
	name, key, _ = strings.Cut(key, "\x00")
	value, rest, _ = strings.Cut(key, "\x00")
	if value == "" {
		value = "-"
	}
	return name, value, rest
}

// validVariantKey checks a variant key that another board has sent.
func validVariantKey(key string) bool {
	n := 0
	for key != "" {
		name, rest, ok := strings.Cut(key, "\x00")
		if !ok || !httpguts.ValidHeaderFieldName(name) || name != strings.ToLower(name) {
			return false
		}
		value, rest, ok := strings.Cut(rest, "\x00")
		if !ok || value == "" || value[0] != '+' && value != "-" {
			return false
		}
		key = rest
		if n++; n > maxVaryNames {
			return false
		}
	}
	return true
}

// varyValue returns a request field's value for comparison, normalised as far as
// RFC 9111 §4.1 allows (negotiate.go). Host is not in the header map.
func varyValue(r *http.Request, lower string) (string, bool) {
	if lower == "host" {
		return r.Host, true
	}
	lines, has := headerLines(r.Header, lower)
	switch {
	case lower == "accept-encoding":
		return encodingClass(lines), true
	case !has:
		return "", false
	case lower == "accept-language":
		return normalLanguages(lines), true
	case !isSingleton(lower):
		return normalList(lines), true
	case len(lines) == 1:
		return trimOWS(lines[0]), true
	}
	var b strings.Builder
	for i, l := range lines {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(trimOWS(l))
	}
	return b.String(), true
}

// headerLines looks up a lower-case name. Canonical forms of common names cost no
// allocation.
func headerLines(h http.Header, lower string) ([]string, bool) {
	lines, has := h[http.CanonicalHeaderKey(lower)]
	return lines, has && len(lines) > 0
}
