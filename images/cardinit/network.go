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
	"sync"
	"time"
)

const (
	// networkPollInterval is how often card, cable and lease are looked at: a few small
	// reads from memory.
	networkPollInterval = 500 * time.Millisecond
	// leaseTimeout is how long a DHCP server is waited for before a card takes an
	// address without one: it asks four times in 8 s, rests for 5 s, and again.
	leaseTimeout = 20 * time.Second
	// commandTimeout bounds each ip command.
	commandTimeout = 5 * time.Second
	// dhcpRestartDelay is how long after its end udhcpc is started anew.
	dhcpRestartDelay = 5 * time.Second
	// ethernet is ARPHRD_ETHER of linux/if_arp.h, as sysfs shows it.
	ethernet = "1"
)

// network keeps a card on its network: through a cable that is pulled and put
// back, and a lease that changes.
type network struct {
	system      System
	paths       Paths
	logf        func(format string, args ...any)
	settings    CardSettings
	useSaved    bool          // without a DHCP server, take the address of the last time
	claims      int           // how many link-local addresses were another machine's
	dhcpTimeout time.Duration // for a DHCP server

	mu          sync.Mutex
	current     Address       // guarded by mu; zero Own: none yet
	haveAddress chan struct{} // closed with the first address
}

func newNetwork(m System, p Paths, want CardSettings, say func(string, ...any)) *network {
	return &network{system: m, paths: p, logf: say, settings: want, dhcpTimeout: leaseTimeout, haveAddress: make(chan struct{})}
}

// currentAddress is how the card is on its network now.
func (n *network) currentAddress() Address {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}

// findInterface is the first network card that is one.
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

// run waits for the network card and serves it until ctx ends.
func (n *network) run(ctx context.Context) {
	tick := time.NewTicker(networkPollInterval)
	defer tick.Stop()
	card := findInterface(n.paths.Sys)
	for card == "" {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			card = findInterface(n.paths.Sys)
		}
	}
	if err := n.runIP(ctx, "link", "set", "dev", card, "up"); err != nil {
		n.logf("network card %s: %v", card, err)
	}
	if n.settings.Address.IsValid() {
		n.useAddress(ctx, Address{
			Interface: card, Own: n.settings.Address, Gateway: n.settings.Gateway, DNS: n.settings.DNS, From: "as its settings say",
		})
		return
	}
	n.serveLease(ctx, card, tick.C)
}

// serveLease runs udhcpc and does what it learns.
func (n *network) serveLease(ctx context.Context, card string, tick <-chan time.Time) {
	var asking sync.WaitGroup
	renew := make(chan struct{}, 1)
	asking.Go(func() { n.runDHCP(ctx, card, renew) })
	defer asking.Wait()
	alone := fallbackPolicy{since: time.Now(), plugged: true}
	seen, plugged := "", true
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		text, err := os.ReadFile(filepath.Join(n.paths.Run, "dhcp."+card))
		if err == nil && string(text) != seen {
			seen = string(text)
			if l, ok := parseLease(card, seen); ok {
				n.applyLease(ctx, l)
			}
		}
		was := plugged
		if plugged = n.hasCarrier(card); plugged && !was {
			n.logf("network cable is back")
			select {
			case renew <- struct{}{}: // the cable may be in another network now
			default:
			}
		} else if was && !plugged {
			n.logf("network cable is out")
		}
		switch at := n.currentAddress(); alone.nextAction(time.Now(), at, plugged, n.dhcpTimeout) {
		case fallBack:
			n.takeFallback(ctx, card)
		case defendAddress:
			n.defendLinkLocal(ctx, at)
		}
	}
}

// hasCarrier reports whether the other end of the cable is there.
func (n *network) hasCarrier(card string) bool {
	text, err := os.ReadFile(filepath.Join(n.paths.Sys, "class", "net", card, "carrier"))
	return err != nil || strings.TrimSpace(string(text)) == "1"
}

// runDHCP keeps udhcpc running; renew has it ask at once.
func (n *network) runDHCP(ctx context.Context, card string, renew <-chan struct{}) {
	args := []string{"-f", "-R", "-i", card, "-s", filepath.Join(n.paths.Etc, "udhcpc.script"),
		"-x", "hostname:" + n.settings.HostName, "-O", "ntpsrv", "-t", "4", "-T", "2", "-A", "5"}
	told := false
	for ctx.Err() == nil {
		client, err := n.system.Start(discard{}, "udhcpc", args...)
		if err != nil {
			if !told {
				n.logf("no DHCP: %v", err)
				told = true
			}
			sleep(ctx, dhcpRestartDelay)
			continue
		}
		ended := make(chan struct{})
		go func() {
			client.Wait()
			close(ended)
		}()
		for running := true; running; {
			select {
			case <-ctx.Done():
				client.Send(Stop)
				<-ended
				running = false
			case <-renew:
				client.Send(Renew)
			case <-ended:
				running = false
				sleep(ctx, dhcpRestartDelay)
			}
		}
	}
}

// applyLease does what a lease says.
func (n *network) applyLease(ctx context.Context, l lease) {
	switch l.event {
	case "bound", "renew":
		l.address.Gateway = gatewayInside(l.address.Own, l.address.Gateway)
		n.useAddress(ctx, l.address)
	case "deconfig", "nak":
		if n.currentAddress().From == fromDHCP {
			n.logf("network: the address is no longer ours; asking for another")
			n.dropAddress(ctx, l.address.Interface)
		}
	}
}

// gatewayInside gives the router only if it is in the network.
func gatewayInside(own netip.Prefix, gateway netip.Addr) netip.Addr {
	if own.Contains(gateway) {
		return gateway
	}
	return netip.Addr{}
}

// useAddress has the card use an address; the same one again costs nothing.
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
		// Without a router there is no way for mDNS's groups either.
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
	first := !n.current.Own.IsValid()
	n.current = a
	n.mu.Unlock()
	if first {
		select {
		case <-n.haveAddress:
			n.logf("network %s", a)
		default:
			close(n.haveAddress) // whoever waits for it says it
		}
	} else {
		n.logf("network %s", a)
	}
}

func (n *network) dropAddress(ctx context.Context, card string) {
	if err := n.runIP(ctx, "addr", "flush", "dev", card, "scope", "global"); err != nil {
		n.logf("network: %v", err)
	}
	n.mu.Lock()
	n.current = Address{}
	n.mu.Unlock()
}

func (n *network) runIP(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	code, output, err := n.system.Run(ctx, "ip", args...)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("ip %s: %s", strings.Join(args, " "), output)
	}
	return nil
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

// saveAddress writes the address down for a time when the settings cannot be read; the
// same one as last time is not written, and a link-local one is found again.
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

// savedAddress is the address that keep has written down.
func (n *network) savedAddress(card string) (Address, error) {
	text, err := os.ReadFile(n.paths.SavedFile("network"))
	if err != nil {
		return Address{}, err
	}
	l, ok := parseLease(card, string(text))
	if !ok {
		return Address{}, errors.New("the address of the last time cannot be read")
	}
	l.address.From = "as the last time: no DHCP server answers"
	return l.address, nil
}

// discard is a program's output that nobody reads.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// sleep waits, but not beyond the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
