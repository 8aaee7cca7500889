package cache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Two requests match for Vary if RFC 9111 §4.1 allows their fields to be turned into
// each other: by whitespace, by joining lines, and by rewriting that preserves the
// meaning by the field's definition. This file has that rewriting. A value in
// normal form stays as it is, byte for byte.

// maxLanguages bounds the members of an Accept-Language that are sorted; a
// longer one is compared as it came.
const maxLanguages = 32

// Classes of Accept-Encoding. There are only two, so that a page has two variants
// instead of one per browser.
const (
	encodingNone = "identity"
	encodingGzip = "gzip"
)

// normalList joins the lines of a field and removes the whitespace around its commas,
// except inside quoted strings.
func normalList(lines []string) string {
	if len(lines) == 1 && !looseCommas(lines[0]) {
		return trimOWS(lines[0])
	}
	var members []string
	splitListMembers(lines, true, func(m string) bool {
		members = append(members, m)
		return true
	})
	return strings.Join(members, ",")
}

// looseCommas reports whether there may be whitespace around a comma.
func looseCommas(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == ',' && (i > 0 && isBlank(s[i-1]) || i+1 < len(s) && isBlank(s[i+1])) {
			return true
		}
	}
	return false
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' }

// isSingleton reports whether a field is not a list: whitespace around a comma is then
// part of its value. Several lines of them are joined as they are.
func isSingleton(lower string) bool {
	switch lower {
	case "authorization", "cookie", "from", "if-modified-since", "if-range", "if-unmodified-since",
		"origin", "proxy-authorization", "range", "referer", "user-agent":
		return true
	}
	return false
}

// normalLanguages is Accept-Language in lower case and sorted by weight. The
// order of languages of one weight means nothing (RFC 9110 §12.5.4).
func normalLanguages(lines []string) string {
	type language struct {
		tag    string
		weight int
	}
	var all []language
	ok := true
	eachListMember(lines, func(m string) bool {
		tag, weight, fine := parseWeighted(m)
		ok = fine && len(all) < maxLanguages
		for i := 0; ok && i < len(tag); i++ {
			c := tag[i] | 0x20
			ok = c >= 'a' && c <= 'z' || tag[i] >= '0' && tag[i] <= '9' || tag[i] == '-' || tag[i] == '*'
		}
		all = append(all, language{strings.ToLower(tag), weight})
		return ok
	})
	if !ok || len(all) == 0 {
		return normalList(lines)
	}
	slices.SortStableFunc(all, func(a, b language) int {
		if a.weight != b.weight {
			return b.weight - a.weight
		}
		return strings.Compare(a.tag, b.tag)
	})
	var b strings.Builder
	for i, l := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(l.tag)
		switch {
		case l.weight == 0:
			b.WriteString(";q=0")
		case l.weight < 1000:
			b.WriteString(";q=0." + strings.TrimRight(strconv.Itoa(1000 + l.weight)[1:], "0"))
		}
	}
	return b.String()
}

// parseWeighted splits a member into its value and its weight in thousandths
// (RFC 9110 §12.4.2). ok is false if it has other parameters or a broken weight.
func parseWeighted(m string) (value string, weight int, ok bool) {
	value, param, has := strings.Cut(m, ";")
	value = trimOWS(value)
	if !has {
		return value, 1000, value != ""
	}
	q := trimOWS(param)
	if len(q) < 3 || q[0]|0x20 != 'q' || q[1] != '=' {
		return value, 0, false
	}
	whole, rest, _ := strings.Cut(q[2:], ".")
	thousandths, ok := parseLength(whole + (rest + "000")[:3])
	if whole != "0" && whole != "1" || len(rest) > 3 || !ok {
		return value, 0, false
	}
	return value, int(thousandths), value != "" && thousandths <= 1000
}

// encodingClass puts an Accept-Encoding into one of the two classes, gzip or
// identity. A field that refuses identity, or cannot be parsed, is a class of its
// own: the field as it came.
func encodingClass(lines []string) string {
	gzip, identity, rest := -1, -1, -1
	ok := true
	eachListMember(lines, func(m string) bool {
		coding, weight, fine := parseWeighted(m)
		ok = fine
		switch {
		case strings.EqualFold(coding, "gzip"), strings.EqualFold(coding, "x-gzip"):
			gzip = max(gzip, weight)
		case strings.EqualFold(coding, "identity"):
			identity = weight
		case coding == "*":
			rest = weight
		}
		return ok
	})
	if gzip < 0 {
		gzip = rest
	}
	switch {
	case !ok, identity == 0, identity < 0 && rest == 0:
		return normalList(lines)
	case gzip > 0:
		return encodingGzip
	}
	return encodingNone
}

// narrowEncoding replaces Accept-Encoding by the request's class. A request without
// the field accepts any encoding, so identity satisfies it.
func narrowEncoding(h http.Header) {
	h["Accept-Encoding"] = []string{encodingClass(h["Accept-Encoding"])}
}
