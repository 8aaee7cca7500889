package cardinit

import (
	_ "embed"
	"net/netip"
	"strconv"
	"strings"
)

//go:embed udhcpc.script
var dhcpScript string

// DHCPScript returns the text of the image's /etc/udhcpc.script, to be installed
// with mode 0755.
func DHCPScript() string { return dhcpScript }

// fromDHCP is the origin of a leased address.
const fromDHCP = "by DHCP"

// Limits of the data that a board accepts from a DHCP server.
const (
	maxDNS   = 3
	maxNTP   = 8
	maxLease = 16 << 10 // bytes of the script's output
)

// lease is the content of the file that udhcpc.script writes.
type lease struct {
	event   string // deconfig, bound, renew, leasefail or nak
	address Address
}

// parseLease parses the output of udhcpc.script. ok is false if it is not an event. A DHCP
// server is not trusted: each part is checked, and a bad part is ignored.
func parseLease(nic, text string) (l lease, ok bool) {
	if len(text) > maxLease {
		return lease{}, false
	}
	l.address = Address{Interface: nic, From: fromDHCP}
	var ip netip.Addr
	bits := 24
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "event":
			l.event = value
		case "ip":
			ip = parseHostAddr(value)
		case "mask":
			if n, err := strconv.Atoi(value); err == nil && n >= 1 && n <= 32 {
				bits = n
			}
		case "router":
			first, _, _ := strings.Cut(value, " ")
			l.address.Gateway = parseHostAddr(first)
		case "dns":
			l.address.DNS = parseHostAddrs(value, maxDNS)
		case "ntp":
			for _, a := range parseHostAddrs(value, maxNTP) {
				l.address.NTP = append(l.address.NTP, a.String())
			}
		}
	}
	if ip.IsValid() {
		l.address.Own = netip.PrefixFrom(ip, bits)
	}
	switch l.event {
	case "bound", "renew":
		return l, l.address.Own.IsValid()
	case "deconfig", "leasefail", "nak":
		return l, true
	}
	return lease{}, false
}

// parseHostAddrs returns the first n addresses in words.
func parseHostAddrs(words string, n int) (all []netip.Addr) {
	for word := range strings.FieldsSeq(words) {
		if a := parseHostAddr(word); a.IsValid() && len(all) < n {
			all = append(all, a)
		}
	}
	return all
}

// parseHostAddr returns the IPv4 address of a host, the zero Addr if s is none.
func parseHostAddr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Addr{}
	}
	return a
}
