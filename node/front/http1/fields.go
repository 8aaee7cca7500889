package http1

import "bytes"

// fieldRule says what a field of a request means to the fast path. DESIGN.md has the
// table with the reasons.
type fieldRule uint8

const (
	// ruleLend is for any field that may change a hit.
	ruleLend fieldRule = iota
	// ruleIgnore: neither net/http nor a fresh stored reply depends on the field, except
	// through Vary, which the cache knows.
	ruleIgnore
	ruleHost
	ruleConnection
	ruleEncoding
	ruleNoneMatch
	ruleSince
	ruleDirectives
	// ruleForeign is for fields that may say where the request ends, or what becomes of
	// the connection.
	ruleForeign
)

// headerField is one line of a header: where its parts are, and what it means.
type headerField struct {
	size     int // of the line, its CRLF included
	from, to int // of the value, without the blanks around it
	rule     fieldRule
}

// parseField parses the line at the start of b.
func parseField(b []byte) (f headerField, res ParseResult) {
	rule, width := commonFieldRule(b)
	if width == 0 {
		if rule, width, res = parseFieldName(b); res != Plain {
			return f, res
		}
	}
	end, res := findLineEnd(b, width)
	if res != Plain {
		return f, res
	}
	f = headerField{size: end + len("\r\n"), from: width, to: end, rule: rule}
	for f.from < end && (b[f.from] == ' ' || b[f.from] == '\t') {
		f.from++
	}
	for f.to > f.from && (b[f.to-1] == ' ' || b[f.to-1] == '\t') {
		f.to--
	}
	return f, Plain
}

// findLineEnd returns the index of the CRLF that ends the line whose value begins at
// b[i:]. The result is Plain if it is there.
func findLineEnd(b []byte, i int) (end int, res ParseResult) {
	for {
		i = skipPrintable(b, i)
		if i == len(b) {
			return 0, Incomplete
		}
		if c := b[i]; c == '\r' {
			break
		} else if c != '\t' && c < 0x80 {
			return 0, Foreign // a control character, bare LF and NUL among them
		}
		i++
	}
	switch {
	case i+1 == len(b):
		return 0, Incomplete
	case b[i+1] != '\n':
		return 0, Foreign
	}
	return i, Plain
}

// isPlainHost reports whether a Host field consists of bytes that a name or an address
// and a port may have. Which site it means is for the caller to decide.
func isPlainHost(value []byte) bool {
	if len(value) == 0 || len(value) > maxHostLength {
		return false
	}
	for _, c := range value {
		if byteClasses[c]&inHost == 0 {
			return false
		}
	}
	return true
}

// commonFieldRule returns the rule for the field at the start of b, and the length of
// the name and its colon, if the name is common and spelled as most browsers do;
// otherwise 0. Comparing with the few names that begin with the same letter is
// cheaper than looking for the colon.
func commonFieldRule(b []byte) (r fieldRule, width int) {
	switch b[0] {
	case 'A':
		switch {
		case hasName(b, 6, "Accept:"):
			return ruleIgnore, len("Accept:")
		case hasName(b, 7, "Accept-Encoding:"):
			return ruleEncoding, len("Accept-Encoding:")
		case hasName(b, 7, "Accept-Language:"):
			return ruleIgnore, len("Accept-Language:")
		}
	case 'C':
		switch {
		case hasName(b, 2, "Connection:"):
			return ruleConnection, len("Connection:")
		case hasName(b, 2, "Cookie:"):
			return ruleIgnore, len("Cookie:")
		case hasName(b, 2, "Cache-Control:"):
			return ruleDirectives, len("Cache-Control:")
		}
	case 'D':
		if hasName(b, 1, "DNT:") {
			return ruleIgnore, len("DNT:")
		}
	case 'H':
		if hasName(b, 1, "Host:") {
			return ruleHost, len("Host:")
		}
	case 'I':
		switch {
		case hasName(b, 3, "If-None-Match:"):
			return ruleNoneMatch, len("If-None-Match:")
		case hasName(b, 3, "If-Modified-Since:"):
			return ruleSince, len("If-Modified-Since:")
		}
	case 'P':
		switch {
		case hasName(b, 2, "Priority:"):
			return ruleIgnore, len("Priority:")
		case hasName(b, 2, "Pragma:"):
			return ruleDirectives, len("Pragma:")
		}
	case 'R':
		if hasName(b, 2, "Referer:") {
			return ruleIgnore, len("Referer:")
		}
	case 'S':
		switch {
		case hasName(b, 10, "Sec-Fetch-Site:"):
			return ruleIgnore, len("Sec-Fetch-Site:")
		case hasName(b, 10, "Sec-Fetch-Mode:"):
			return ruleIgnore, len("Sec-Fetch-Mode:")
		case hasName(b, 10, "Sec-Fetch-Dest:"):
			return ruleIgnore, len("Sec-Fetch-Dest:")
		case hasName(b, 10, "Sec-Fetch-User:"):
			return ruleIgnore, len("Sec-Fetch-User:")
		case hasName(b, 4, "Sec-GPC:"):
			return ruleIgnore, len("Sec-GPC:")
		}
	case 'U':
		switch {
		case hasName(b, 1, "User-Agent:"):
			return ruleIgnore, len("User-Agent:")
		case hasName(b, 1, "Upgrade-Insecure-Requests:"):
			return ruleIgnore, len("Upgrade-Insecure-Requests:")
		}
	case 's':
		switch {
		case hasName(b, 9, "sec-ch-ua:"):
			return ruleIgnore, len("sec-ch-ua:")
		case hasName(b, 10, "sec-ch-ua-mobile:"):
			return ruleIgnore, len("sec-ch-ua-mobile:")
		case hasName(b, 10, "sec-ch-ua-platform:"):
			return ruleIgnore, len("sec-ch-ua-platform:")
		}
	}
	return 0, 0
}

// hasName reports whether b begins with name. The byte at index distinct distinguishes
// the name from others with the same first letter.
func hasName(b []byte, distinct int, name string) bool {
	return len(b) >= len(name) && b[distinct] == name[distinct] && string(b[:len(name)]) == name
}

// parseFieldName does what commonFieldRule does, for any other name.
func parseFieldName(b []byte) (rule fieldRule, width int, res ParseResult) {
	colon := bytes.IndexByte(b, ':')
	if colon < 0 {
		if bytes.IndexByte(b, '\n') < 0 {
			return 0, 0, Incomplete
		}
		return 0, 0, Foreign
	}
	rule, ok := ruleOfName(b[:colon])
	if !ok {
		return 0, 0, Foreign // a line without a colon, for example
	}
	return rule, colon + 1, Plain
}

const longestRuleName = len("upgrade-insecure-requests")

// ruleOfName returns the rule for a name in any spelling; ok is false if it is no name.
func ruleOfName(name []byte) (rule fieldRule, ok bool) {
	if len(name) == 0 {
		return 0, false
	}
	for _, c := range name {
		if byteClasses[c]&inToken == 0 {
			return 0, false
		}
	}
	// The beginning of a longer name decides.
	var room [longestRuleName]byte
	lower := room[:copy(room[:], name)]
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] = c | 0x20
		}
	}
	if len(name) > longestRuleName && string(lower[:4]) != "sec-" {
		return ruleLend, true
	}
	return ruleOfLowerName(string(lower)), true
}

// ruleOfLowerName returns the rule for a name, which is in lower case.
func ruleOfLowerName(lower string) fieldRule {
	switch lower {
	case "host":
		return ruleHost
	case "connection":
		return ruleConnection
	case "accept-encoding":
		return ruleEncoding
	case "if-none-match":
		return ruleNoneMatch
	case "if-modified-since":
		return ruleSince
	case "cache-control", "pragma":
		return ruleDirectives
	case "user-agent", "accept", "accept-language", "accept-charset", "cookie", "referer", "origin", "from",
		"upgrade-insecure-requests", "dnt", "priority", "save-data", "keep-alive",
		"x-requested-with", "x-forwarded-for", "x-forwarded-proto", "x-real-ip":
		return ruleIgnore
	case "content-length", "transfer-encoding", "upgrade", "expect", "trailer", "te", "proxy-connection",
		"http2-settings":
		return ruleForeign
	}
	if len(lower) > 4 && lower[:4] == "sec-" {
		if len(lower) > 14 && lower[:14] == "sec-websocket-" {
			return ruleForeign
		}
		return ruleIgnore // Fetch metadata and client hints: browsers add to them every year
	}
	return ruleLend
}
