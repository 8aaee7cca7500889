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
	// networkLook is how often card, cable and lease are looked at: a few small
	// reads from memory.
	networkLook = 500 * time.Millisecond
	// leaseWait is how long a DHCP server is waited for before a card takes an
	// address without one: it asks four times in 8 s, rests for 5 s, and again.
	leaseWait = 20 * time.Second
	// commandWait bounds each ip command.
	commandWait = 5 * time.Second
	// askAgain is how long after its end udhcpc is started anew.
	askAgain = 5 * time.Second
	// ethernet is ARPHRD_ETHER of linux/if_arp.h, as sysfs shows it.
	ethernet = "1"
)

// network keeps a card on its network: through a cable that is pulled and put
// back, and a lease that changes.
type network struct {
	machine Machine
	paths   Paths
	say     func(format string, args ...any)
	want    Settings
	reuse   bool          // without a DHCP server, take the address of the last time
	claims  int           // how many link-local addresses were another machine's
	wait    time.Duration // for a DHCP server

	mu  sync.Mutex
	now Address       // guarded by mu; zero Own: none yet
	got chan struct{} // closed with the first address
}

func newNetwork(m Machine, p Paths, want Settings, say func(string, ...any)) *network {
	return &network{machine: m, paths: p, say: say, want: want, wait: leaseWait, got: make(chan struct{})}
}

// address is how the card is on its network now.
func (n *network) address() Address {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// findCard is the first network card that is one.
func findCard(sys string) string {
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
	tick := time.NewTicker(networkLook)
	defer tick.Stop()
	card := findCard(n.paths.Sys)
	for card == "" {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			card = findCard(n.paths.Sys)
		}
	}
	if err := n.ip(ctx, "link", "set", "dev", card, "up"); err != nil {
		n.say("network card %s: %v", card, err)
	}
	if n.want.Address.IsValid() {
		n.take(ctx, Address{
			Card: card, Own: n.want.Address, Gateway: n.want.Gateway, DNS: n.want.DNS, From: "as its settings say",
		})
		return
	}
	n.serveLease(ctx, card, tick.C)
}

// serveLease runs udhcpc and does what it learns.
func (n *network) serveLease(ctx context.Context, card string, tick <-chan time.Time) {
	var asking sync.WaitGroup
	renew := make(chan struct{}, 1)
	asking.Go(func() { n.ask(ctx, card, renew) })
	defer asking.Wait()
	alone := solitude{since: time.Now(), plugged: true}
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
				n.obey(ctx, l)
			}
		}
		was := plugged
		if plugged = n.cable(card); plugged && !was {
			n.say("network cable is back")
			select {
			case renew <- struct{}{}: // the cable may be in another network now
			default:
			}
		} else if was && !plugged {
			n.say("network cable is out")
		}
		switch at := n.address(); alone.next(time.Now(), at, plugged, n.wait) {
		case fallBack:
			n.helpItself(ctx, card)
		case defend:
			n.keepOwn(ctx, at)
		}
	}
}

// cable reports whether the other end of the cable is there.
func (n *network) cable(card string) bool {
	text, err := os.ReadFile(filepath.Join(n.paths.Sys, "class", "net", card, "carrier"))
	return err != nil || strings.TrimSpace(string(text)) == "1"
}

// ask keeps udhcpc running; renew has it ask at once.
func (n *network) ask(ctx context.Context, card string, renew <-chan struct{}) {
	args := []string{"-f", "-R", "-i", card, "-s", filepath.Join(n.paths.Etc, "udhcpc.script"),
		"-x", "hostname:" + n.want.HostName, "-O", "ntpsrv", "-t", "4", "-T", "2", "-A", "5"}
	told := false
	for ctx.Err() == nil {
		client, err := n.machine.Start(discard{}, "udhcpc", args...)
		if err != nil {
			if !told {
				n.say("no DHCP: %v", err)
				told = true
			}
			rest(ctx, askAgain)
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
				client.Ask(Stop)
				<-ended
				running = false
			case <-renew:
				client.Ask(Renew)
			case <-ended:
				running = false
				rest(ctx, askAgain)
			}
		}
	}
}

// obey does what a lease says.
func (n *network) obey(ctx context.Context, l lease) {
	switch l.event {
	case "bound", "renew":
		l.address.Gateway = inside(l.address.Own, l.address.Gateway)
		n.take(ctx, l.address)
	case "deconfig", "nak":
		if n.address().From == fromLease {
			n.say("network: the address is no longer ours; asking for another")
			n.drop(ctx, l.address.Card)
		}
	}
}

// inside gives the router only if it is in the network.
func inside(own netip.Prefix, gateway netip.Addr) netip.Addr {
	if own.Contains(gateway) {
		return gateway
	}
	return netip.Addr{}
}

// take has the card use an address; the same one again costs nothing.
func (n *network) take(ctx context.Context, a Address) {
	was := n.address()
	if same(was, a) {
		return
	}
	if was.Own.IsValid() && was.Own != a.Own {
		n.drop(ctx, a.Card)
	}
	var problems []error
	if was.Own != a.Own {
		problems = append(problems, n.ip(ctx, "addr", "add", a.Own.String(), "broadcast", "+", "dev", a.Card))
		// Without a router there is no way for mDNS's groups either.
		problems = append(problems, n.ip(ctx, "route", "replace", "224.0.0.0/4", "dev", a.Card))
	}
	if a.Gateway.IsValid() {
		problems = append(problems, n.ip(ctx, "route", "replace", "default", "via", a.Gateway.String(), "dev", a.Card))
	}
	if len(n.want.DNS) > 0 {
		a.DNS = n.want.DNS
	}
	problems = append(problems, os.WriteFile(filepath.Join(n.paths.Etc, "resolv.conf"), resolvConf(a.DNS), 0o644))
	if err := errors.Join(problems...); err != nil {
		n.say("network: %v", err)
	}
	n.mu.Lock()
	first := !n.now.Own.IsValid()
	n.now = a
	n.mu.Unlock()
	if first {
		select {
		case <-n.got:
			n.say("network %s", a)
		default:
			close(n.got) // whoever waits for it says it
		}
	} else {
		n.say("network %s", a)
	}
}

func (n *network) drop(ctx context.Context, card string) {
	if err := n.ip(ctx, "addr", "flush", "dev", card, "scope", "global"); err != nil {
		n.say("network: %v", err)
	}
	n.mu.Lock()
	n.now = Address{}
	n.mu.Unlock()
}

func (n *network) ip(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandWait)
	defer cancel()
	code, output, err := n.machine.Run(ctx, "ip", args...)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("ip %s: %s", strings.Join(args, " "), output)
	}
	return nil
}

func same(a, b Address) bool {
	return a.Card == b.Card && a.Own == b.Own && a.Gateway == b.Gateway && slices.Equal(a.DNS, b.DNS) && slices.Equal(a.NTP, b.NTP)
}

func resolvConf(servers []netip.Addr) []byte {
	var b strings.Builder
	for _, s := range servers {
		b.WriteString("nameserver " + s.String() + "\n")
	}
	return []byte(b.String())
}

// keep writes the address down for a time when the settings cannot be read; the
// same one as last time is not written, and a link-local one is found again.
func (n *network) keep(a Address) error {
	if a.Own.Addr().IsLinkLocalUnicast() {
		return nil
	}
	text := fmt.Sprintf("event=bound\nip=%s\nmask=%d\n", a.Own.Addr(), a.Own.Bits())
	if a.Gateway.IsValid() {
		text += "router=" + a.Gateway.String() + "\n"
	}
	file := n.paths.Kept("network")
	if old, err := os.ReadFile(file); err == nil && string(old) == text {
		return nil
	}
	return replaceFile(file, []byte(text))
}

// last is the address that keep has written down.
func (n *network) last(card string) (Address, error) {
	text, err := os.ReadFile(n.paths.Kept("network"))
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

// rest waits, but not beyond the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
