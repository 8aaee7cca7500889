package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxName     = 63 // of a board; fits a DNS label
	maxOldKeys  = 4
	maxJoin     = 64
	maxSites    = 64
	maxAliases  = 64
	maxMethods  = 32
	maxProxies  = 64
	minPassword = 8
	maxAccounts = 32
	maxPassword = 200
)

// Each check returns one clause with the problem of a value and its remedy, "" if the
// value is valid. A function that returns a check has the limits as parameters.

// problemIf returns the problem of a value that is bad: it, and what it is not and should be.
func problemIf(isBad bool, value, text string) string {
	if isBad {
		return quote(value) + text
	}
	return ""
}

// ifSet returns a check that also accepts "".
func ifSet(check func(string) string) func(string) string {
	return func(s string) string {
		if s == "" {
			return ""
		}
		return check(s)
	}
}

// checkList accepts at most that many values, each of them valid.
func checkList[T any](most int, what string, check func(T) string) func([]T) string {
	return func(list []T) string {
		if problem := checkCount(len(list), most, what); problem != "" {
			return problem
		}
		for _, v := range list {
			if problem := check(v); problem != "" {
				return problem
			}
		}
		return ""
	}
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		r == '-' || r == '_' || r == '.'
}

func checkName(s string) string {
	if s == "" || len(s) > maxName {
		return fmt.Sprintf("a name has 1 to %d characters; write one such as \"board-1\"", maxName)
	}
	isOther := func(r rune) bool { return !nameRune(r) }
	return problemIf(strings.ContainsFunc(s, isOther), s, " has a character that names cannot have; write letters, digits, '-', '_' and '.'")
}

// checkRange accepts a value within two limits; its messages write a value in the form given.
func checkRange[T cmp.Ordered](form, what string, low, high T) func(T) string {
	return func(v T) string {
		if v < low || v > high {
			return fmt.Sprintf(form+" is out of range; write a "+what+" from "+form+" to "+form, v, low, high)
		}
		return ""
	}
}

func checkInt(low, high int) func(int) string { return checkRange("%d", "number", low, high) }

func checkDuration(low, high time.Duration) func(Duration) string {
	return checkRange("%q", "duration", Duration(low), Duration(high))
}

func checkSize(low, high Size) func(Size) string { return checkRange("%q", "size", low, high) }

func checkCount(n, most int, what string) string {
	if n > most {
		return fmt.Sprintf("there are %d; write at most %d %s", n, most, what)
	}
	return ""
}

const minObjects = 16 // number of objects of the largest size that the memory must hold

func checkMaxObject(c *Config) string {
	if v, most := c.Cache.MaxObject, c.Cache.Memory/minObjects; v < KB || v > most {
		return fmt.Sprintf("%q is out of range; write a size from %q to a sixteenth of [cache] memory, which is %q", v, KB, most)
	}
	return ""
}

func checkOneOf(words ...string) func(string) string {
	return func(v string) string {
		return problemIf(!slices.Contains(words, v), v, " is not a value of this key; write "+joinChoices(words))
	}
}

// joinChoices returns `"a", "b" or "c"`.
func joinChoices(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}

func checkListen(s string) string {
	host, port, err := net.SplitHostPort(s)
	return problemIf(err != nil || !validPort(port) || !validHost(host, true), s,
		` is not an address; write host:port with a port from 0 to 65535, such as ":8080" or "127.0.0.1:8080"`)
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// validHost accepts an IP address or a possible host name; only the network knows
// whether the host exists.
func validHost(s string, emptyToo bool) bool {
	if s == "" {
		return emptyToo
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool { return !nameRune(r) })
}

func checkIP(s string) string {
	ip, err := netip.ParseAddr(s)
	return problemIf(err != nil || ip.IsUnspecified(), s,
		` is not an address that others can reach; write an IP address without port, such as "192.168.1.11"`)
}

func checkJoin(s string) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), "1"
	}
	return problemIf(!validHost(host, false) || !validPort(port) || port == "0", s,
		` is not an address; write host or host:port, such as "192.168.1.11" or "board-1.local:7946"`)
}

// checkAccounts returns the problem of [[console.accounts]].
func checkAccounts(c *Config) string {
	// The account of password, the board's own user, and whom else the audit trail names.
	names := map[string]bool{"bramble": true, "local": true, "catalogue": true, "ledger": true}
	for _, a := range c.Console.Accounts {
		switch {
		case checkName(a.Name) != "":
			return "name: " + checkName(a.Name)
		case names[strings.ToLower(a.Name)]:
			return "the name " + quote(a.Name) + " is taken; write another"
		case checkOneOf("look", "shop", "steer")(a.Role) != "":
			return a.Name + ": role: " + checkOneOf("look", "shop", "steer")(a.Role)
		case a.Password == "":
			return a.Name + `: password: it is missing; "bramble console password" prints the hash of one`
		case CheckPassword(c, a.Password) != "":
			return a.Name + ": password: " + CheckPassword(c, a.Password)
		}
		names[strings.ToLower(a.Name)] = true
	}
	return checkCount(len(c.Console.Accounts), maxAccounts, "accounts")
}

// CheckPassword returns what is wrong with a password of the console or its hash; "" for nothing, and for none.
func CheckPassword(c *Config, p string) string {
	switch {
	case p == "":
		return ""
	case len(p) < minPassword || len(p) > maxPassword:
		return fmt.Sprintf(`it has %d characters; write %d to %d, or "" for none`, len(p), minPassword, maxPassword)
	case !c.Rack.Key.IsZero() && p == c.Rack.Key.Reveal():
		return "it is the rack key, and everybody who can open the console would control the rack; choose another"
	case regexp.MustCompile(`^(scrypt|sha256):`).MatchString(p) && !regexp.MustCompile(`^(scrypt:[^:]+:[A-Za-z0-9_-]{43}|sha256:[0-9a-f]{64})$`).MatchString(p):
		return `it begins as a hash and is not a whole one, so nobody could log in; copy the line again from "bramble console password" or "bramble console token"`
	}
	return ""
}

type listener struct {
	table, key, addr string
}

// checkListeners finds two listeners with the same TCP port of the same host.
func checkListeners(c *Config) (one, other listener, clash bool) {
	all := []listener{
		{"http", "listen", c.HTTP.Listen},
		{"tls", "listen", c.TLS.Listen},
		{"console", "listen", c.Console.Listen},
		{"rack", "gossip_listen", c.Rack.GossipListen},
		{"rack", "link_listen", c.Rack.LinkListen},
	}
	for i, a := range all {
		for _, b := range all[:i] {
			hostA, portA, errA := net.SplitHostPort(a.addr)
			hostB, portB, errB := net.SplitHostPort(b.addr)
			if errA != nil || errB != nil || portA != portB || portA == "0" {
				continue
			}
			if hostA == hostB || anyHost(hostA) || anyHost(hostB) {
				return b, a, true
			}
		}
	}
	return listener{}, listener{}, false
}

func anyHost(h string) bool { return h == "" || h == "0.0.0.0" || h == "::" }

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
