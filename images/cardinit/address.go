package cardinit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// commandTimeout limits each ip and arping command.
	commandTimeout = 5 * time.Second
	// ethernet is ARPHRD_ETHER of linux/if_arp.h, as sysfs shows it.
	ethernet = "1"
)

// Address is a card's address on its network.
type Address struct {
	Interface string // "eth0"
	Own       netip.Prefix
	Gateway   netip.Addr // the zero Addr: none
	DNS       []netip.Addr
	NTP       []string
	From      string // for the console: "by DHCP", "from bramble.toml", …
}

// String returns the address as the console shows it.
func (a Address) String() string {
	s := a.Interface + " " + a.Own.String() + " " + a.From
	if a.Gateway.IsValid() {
		s += ", router " + a.Gateway.String()
	}
	return s
}

// findInterface returns the name of the first Ethernet interface, "" if there is none.
func findInterface(sys string) string {
	dir := filepath.Join(sys, "class", "net")
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return ""
	}
	for _, e := range entries {
		kind, err := os.ReadFile(filepath.Join(dir, e.Name(), "type"))
		if err == nil && strings.TrimSpace(string(kind)) == ethernet {
			return e.Name()
		}
	}
	return ""
}

func (n *network) currentAddress() Address {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}

// useAddress configures the interface with an address. It does nothing if the card
// has that address already.
func (n *network) useAddress(ctx context.Context, a Address) {
	was := n.currentAddress()
	if sameAddress(was, a) {
		return
	}
	if was.Own.IsValid() && was.Own != a.Own {
		n.dropAddress(ctx, a.Interface)
	}
	var problems []error
	if was.Own != a.Own {
		problems = append(problems, n.runIP(ctx, "addr", "add", a.Own.String(), "broadcast", "+", "dev", a.Interface))
		// Without a router there is no other route to the multicast groups of mDNS.
		problems = append(problems, n.runIP(ctx, "route", "replace", "224.0.0.0/4", "dev", a.Interface))
	}
	if a.Gateway.IsValid() {
		problems = append(problems, n.runIP(ctx, "route", "replace", "default", "via", a.Gateway.String(), "dev", a.Interface))
	}
	if len(n.settings.DNS) > 0 {
		a.DNS = n.settings.DNS
	}
	problems = append(problems, os.WriteFile(filepath.Join(n.paths.Etc, "resolv.conf"), resolvConf(a.DNS), 0o644))
	if err := errors.Join(problems...); err != nil {
		n.logf("network: %v", err)
	}
	n.mu.Lock()
	n.current = a
	n.mu.Unlock()
	n.logf("network %s", a)
	n.announceFirst.Do(func() { close(n.haveAddress) })
}

func (n *network) dropAddress(ctx context.Context, nic string) {
	if err := n.runIP(ctx, "addr", "flush", "dev", nic, "scope", "global"); err != nil {
		n.logf("network: %v", err)
	}
	n.mu.Lock()
	n.current = Address{}
	n.mu.Unlock()
}

func (n *network) runIP(ctx context.Context, args ...string) error {
	if _, err := runToEnd(ctx, n.system, commandTimeout, "ip", args...); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// saveAddress saves the address for a start at which the settings cannot be read.
// It does not write the same address twice, nor a link-local one, which the card
// finds again.
func (n *network) saveAddress(a Address) error {
	if a.Own.Addr().IsLinkLocalUnicast() {
		return nil
	}
	text := fmt.Sprintf("event=bound\nip=%s\nmask=%d\n", a.Own.Addr(), a.Own.Bits())
	if a.Gateway.IsValid() {
		text += "router=" + a.Gateway.String() + "\n"
	}
	file := n.paths.SavedFile("network")
	if old, err := os.ReadFile(file); err == nil && string(old) == text {
		return nil
	}
	return replaceFile(file, []byte(text))
}

func (n *network) savedAddress(nic string) (Address, error) {
	text, err := os.ReadFile(n.paths.SavedFile("network"))
	if err != nil {
		return Address{}, err
	}
	l, ok := parseLease(nic, string(text))
	if !ok {
		return Address{}, errors.New("the saved address cannot be read")
	}
	l.address.From = "as last time, because no DHCP server answers"
	return l.address, nil
}

func sameAddress(a, b Address) bool {
	return a.Interface == b.Interface && a.Own == b.Own && a.Gateway == b.Gateway && slices.Equal(a.DNS, b.DNS) && slices.Equal(a.NTP, b.NTP)
}

func resolvConf(servers []netip.Addr) []byte {
	var b strings.Builder
	for _, s := range servers {
		b.WriteString("nameserver " + s.String() + "\n")
	}
	return []byte(b.String())
}
