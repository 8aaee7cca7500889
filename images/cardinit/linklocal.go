package cardinit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Without an answer from a DHCP server a card takes a link-local address (RFC 3927),
// so that boards and a laptop on a bare switch find each other by mDNS. It continues
// to request a lease, and drops the link-local address when it gets one.

const (
	// claimTries bounds the addresses that are tried in a row (MAX_CONFLICTS of RFC
	// 3927). The next row begins after another leaseTimeout.
	claimTries = 10
	// probeNum and announceNum are the numbers of ARP probes before an address is
	// taken and of announcements after (RFC 3927, section 9), a second apart.
	probeNum    = "3"
	announceNum = "2"
	// defendInterval is the interval at which a card checks that no other machine has
	// its link-local address.
	defendInterval = time.Minute
	// linkLocalBits is the prefix length of 169.254.0.0/16.
	linkLocalBits = 16
)

// linkLocalAddress returns the address of a card's n-th try. It follows from the
// hardware address, so that a card mostly gets the same one again. The first and
// last 256 addresses of the network are reserved.
func linkLocalAddress(hardware string, n int) netip.Addr {
	sum := sha256.Sum256([]byte(hardware + " " + strconv.Itoa(n)))
	const all = 254 * 256
	k := binary.BigEndian.Uint32(sum[:]) % all
	return netip.AddrFrom4([4]byte{169, 254, byte(1 + k/256), byte(k % 256)})
}

// addressAction is an action of fallbackPolicy.
type addressAction int

const (
	noAction      addressAction = iota
	fallBack                    // take an address without a DHCP server
	defendAddress               // check that the link-local address is still its own
)

// fallbackPolicy decides when a card without a lease chooses an address itself.
type fallbackPolicy struct {
	since   time.Time // of the last action, or of the last moment with a lease
	plugged bool      // at the last call
}

// nextAction returns the action for the card's present address.
func (f *fallbackPolicy) nextAction(now time.Time, at Address, plugged bool, dhcpTimeout time.Duration) addressAction {
	replugged := plugged && !f.plugged
	f.plugged = plugged
	own := at.Own.Addr()
	switch {
	case at.Own.IsValid() && !own.IsLinkLocalUnicast(), !plugged:
		f.since = now
		return noAction
	case at.Own.IsValid() && (replugged || now.Sub(f.since) >= defendInterval): // the cable may lead to another network now
		f.since = now
		return defendAddress
	case !at.Own.IsValid() && now.Sub(f.since) >= dhcpTimeout:
		f.since = now
		return fallBack
	}
	return noAction
}

// useFallback takes an address that no DHCP server has assigned.
func (n *network) useFallback(ctx context.Context, nic string) {
	if n.useSaved {
		n.useSaved = false
		if saved, err := n.savedAddress(nic); err == nil {
			n.useAddress(ctx, saved)
			return
		}
	}
	n.claimLinkLocal(ctx, nic)
}

// claimLinkLocal takes the first link-local address that no other machine on the
// cable has.
func (n *network) claimLinkLocal(ctx context.Context, nic string) {
	// If the hardware address cannot be read, the host name distinguishes cards.
	hardware, _ := os.ReadFile(filepath.Join(n.paths.Sys, "class", "net", nic, "address"))
	for range claimTries {
		own := linkLocalAddress(strings.TrimSpace(string(hardware))+" "+n.settings.HostName, n.claims)
		taken := n.isTakenElsewhere(ctx, nic, own)
		if ctx.Err() != nil {
			return
		}
		if !taken {
			n.useAddress(ctx, Address{Interface: nic, Own: netip.PrefixFrom(own, linkLocalBits), From: "link-local, because no DHCP server answers"})
			n.runArping(ctx, "-U", "-c", announceNum, "-I", nic, "-s", own.String(), own.String())
			return
		}
		n.claims++
	}
}

// defendLinkLocal takes another link-local address if another machine has this one.
func (n *network) defendLinkLocal(ctx context.Context, at Address) {
	if !n.isTakenElsewhere(ctx, at.Interface, at.Own.Addr()) {
		return
	}
	n.dropAddress(ctx, at.Interface)
	n.claims++
	n.claimLinkLocal(ctx, at.Interface)
}

// isTakenElsewhere reports whether another machine on the cable has an address.
func (n *network) isTakenElsewhere(ctx context.Context, nic string, own netip.Addr) bool {
	taken := arpAnswered(n.runArping(ctx, "-D", "-c", probeNum, "-I", nic, own.String()))
	if taken {
		n.logf("network: another machine has %s", own)
	}
	return taken
}

// arpAnswered reports whether "arping -D" found another machine with the address.
// The exit code is not enough: it is the same when arping cannot send.
func arpAnswered(code int, output string) bool {
	return code != 0 && (strings.Contains(output, "reply from ") || strings.Contains(output, "request from "))
}

// runArping runs busybox's arping. If it cannot be run, no machine has answered.
func (n *network) runArping(ctx context.Context, args ...string) (code int, output string) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	code, output, err := n.system.Run(ctx, "arping", args...)
	if err != nil {
		n.logf("network: probing for an address: %v", err)
	}
	return code, output
}
