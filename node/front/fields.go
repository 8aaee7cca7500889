package front

// fieldRule says what a request's field means to the lane. DESIGN.md has the table
// with the reasons.
type fieldRule uint8

const (
	// ruleLend is for whatever is not known to leave a hit as it is.
	ruleLend fieldRule = iota
	// ruleIgnore: neither net/http nor a fresh stored reply depends on it, but
	// for Vary, which Hits knows.
	ruleIgnore
	ruleHost
	ruleConnection
	ruleEncoding
	ruleNoneMatch
	ruleSince
	ruleDirectives
	// ruleForeign is for what may say where the request ends, or what becomes of
	// the connection.
	ruleForeign
)

// commonFieldRule is the rule for the field at the start of b, if its name is written as
// most browsers do, and the length of the name and its colon; 0 for all others.
// To compare with the few names that begin with the same letter is cheaper than
// to look for the colon.
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
		switch {
		case hasName(b, 1, "DNT:"):
			return ruleIgnore, len("DNT:")
		}
	case 'H':
		switch {
		case hasName(b, 1, "Host:"):
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
		switch {
		case hasName(b, 2, "Referer:"):
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

// hasName reports whether b begins with name. The byte at index tell is one that
// tells the name from others with the same first letter.
func hasName(b []byte, tell int, name string) bool {
	return len(b) >= len(name) && b[tell] == name[tell] && string(b[:len(name)]) == name
}

// ruleOfLowerName is the rule for a name in any spelling. lower is the name in lower case.
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
