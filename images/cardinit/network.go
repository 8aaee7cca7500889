package cardinit

import (
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// networkPollInterval is the interval at which interface, cable and lease are
	// checked: a few small reads from memory.
	networkPollInterval = 500 * time.Millisecond
	// leaseTimeout limits the wait for a DHCP server before the card chooses an
	// address itself. udhcpc sends four requests in 8 s, pauses for 5 s, and repeats.
	leaseTimeout = 20 * time.Second
	// dhcpRestartDelay is the delay before udhcpc is restarted after it ended.
	dhcpRestartDelay = 5 * time.Second
)

// network keeps a card on its network while cables are pulled and leases change.
type network struct {
	system      System
	paths       Paths
	logf        func(format string, args ...any)
	settings    CardSettings
	useSaved    bool          // without a DHCP server, use the last saved address first
	claims      int           // link-local addresses so far that another machine had
	dhcpTimeout time.Duration // see leaseTimeout

	mu            sync.Mutex
	current       Address       // guarded by mu; zero Own: none yet
	haveAddress   chan struct{} // closed with the first address
	announceFirst sync.Once     // closes it
	client        Process       // guarded by mu; the last udhcpc, nil: none yet
}

func newNetwork(system System, p Paths, settings CardSettings, logf func(string, ...any)) *network {
	return &network{system: system, paths: p, logf: logf, settings: settings, dhcpTimeout: leaseTimeout, haveAddress: make(chan struct{})}
}

// run waits for the network interface and then configures it until ctx ends.
func (n *network) run(ctx context.Context) {
	nic := findInterface(n.paths.Sys)
	for nic == "" {
		if sleep(ctx, networkPollInterval); ctx.Err() != nil {
			return
		}
		nic = findInterface(n.paths.Sys)
	}
	if err := n.runIP(ctx, "link", "set", "dev", nic, "up"); err != nil {
		n.logf("network interface %s: %v", nic, err)
	}
	if n.settings.Address.IsValid() {
		n.useAddress(ctx, Address{
			Interface: nic, Own: n.settings.Address, Gateway: n.settings.Gateway, DNS: n.settings.DNS, From: "from bramble.toml",
		})
		return
	}
	n.followLease(ctx, nic)
}

// followLease runs udhcpc and applies its leases. Without one it falls back to a
// saved or link-local address.
func (n *network) followLease(ctx context.Context, nic string) {
	var dhcp sync.WaitGroup
	dhcp.Go(func() { n.runDHCP(ctx, nic) })
	defer dhcp.Wait()
	policy := fallbackPolicy{since: time.Now(), plugged: true}
	seen, plugged := "", true
	for {
		if sleep(ctx, networkPollInterval); ctx.Err() != nil {
			return
		}
		text, err := os.ReadFile(filepath.Join(n.paths.Run, "dhcp."+nic))
		if err == nil && string(text) != seen {
			seen = string(text)
			if l, ok := parseLease(nic, seen); ok {
				n.applyLease(ctx, l)
			}
		}
		wasPlugged := plugged
		if plugged = n.hasCarrier(nic); plugged && !wasPlugged {
			n.logf("network cable is back")
			n.renewLease() // the cable may lead to another network now
		} else if wasPlugged && !plugged {
			n.logf("network cable is out")
		}
		switch at := n.currentAddress(); policy.nextAction(time.Now(), at, plugged, n.dhcpTimeout) {
		case fallBack:
			n.useFallback(ctx, nic)
		case defendAddress:
			n.defendLinkLocal(ctx, at)
		}
	}
}

// runDHCP keeps udhcpc running.
func (n *network) runDHCP(ctx context.Context, nic string) {
	args := []string{"-f", "-R", "-i", nic, "-s", filepath.Join(n.paths.Etc, "udhcpc.script"),
		"-x", "hostname:" + n.settings.HostName, "-O", "ntpsrv", "-t", "4", "-T", "2", "-A", "5"}
	logged := false
	for ; ctx.Err() == nil; sleep(ctx, dhcpRestartDelay) {
		client, err := n.system.Start(io.Discard, "udhcpc", args...)
		if err != nil {
			if !logged {
				n.logf("no DHCP: %v", err)
				logged = true
			}
			continue
		}
		n.mu.Lock()
		n.client = client
		n.mu.Unlock()
		detach := context.AfterFunc(ctx, func() { client.Send(Stop) })
		client.Wait()
		detach()
	}
}

// renewLease makes udhcpc request a lease at once.
func (n *network) renewLease() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.client != nil {
		n.client.Send(Renew)
	}
}

func (n *network) applyLease(ctx context.Context, l lease) {
	switch l.event {
	case "bound", "renew":
		if !l.address.Own.Contains(l.address.Gateway) {
			l.address.Gateway = netip.Addr{}
		}
		n.useAddress(ctx, l.address)
	case "deconfig", "nak":
		if n.currentAddress().From == fromDHCP {
			n.logf("network: the lease has ended; requesting another address")
			n.dropAddress(ctx, l.address.Interface)
		}
	}
}

// hasCarrier reports whether a cable leads to a working device.
func (n *network) hasCarrier(nic string) bool {
	text, err := os.ReadFile(filepath.Join(n.paths.Sys, "class", "net", nic, "carrier"))
	return err != nil || strings.TrimSpace(string(text)) == "1"
}
