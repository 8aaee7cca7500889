package origin

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxHost limits the length of a host name (RFC 1035 §2.3.4).
const maxHost = 253

// hostName parses a Host field (RFC 9110 §7.2): in lower case, without a final
// dot and without port 80. full has the remaining port, if any; name has none.
func hostName(host string) (name, full string, err error) {
	name, port := host, ""
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 && !strings.HasSuffix(host, "]") {
		name, port = host[:colon], host[colon+1:]
		if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
			return "", "", fmt.Errorf("%w: the port of %.80q is wrong", ErrTarget, host)
		}
	}
	name = strings.ToLower(name)
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
		ip, err := netip.ParseAddr(name[1 : len(name)-1])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", "", fmt.Errorf("%w: %.80q is not a host", ErrTarget, host)
		}
		name = "[" + ip.String() + "]"
	} else {
		name = strings.TrimSuffix(name, ".")
		if !isHostName(name) {
			return "", "", fmt.Errorf("%w: %.80q is not a host", ErrTarget, host)
		}
	}
	full = name
	if port = strings.TrimLeft(port, "0"); port != "" && port != "80" {
		full += ":" + port
	}
	return name, full, nil
}

// isHostName reports whether a name can be a host name in lower case.
func isHostName(name string) bool {
	if name == "" || len(name) > maxHost || name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..") {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}
