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

// A card that no DHCP server answers takes a link-local address (RFC 3927), so
// that boards and a laptop on a bare switch find each other by mDNS. It goes on
// asking for a lease, and gives the address up when it gets one.

const (
	// claimTries is how many addresses are tried in a row (MAX_CONFLICTS of RFC
	// 3927); the next row begins after another leaseWait.
	claimTries = 10
	// probeNum and announceNum are how often an address is asked for before it is
	// taken, and told after (RFC 3927, section 9), a second apart.
	probeNum    = "3"
	announceNum = "2"
	// defendInterval is how often a card looks whether another machine has come that
	// has its link-local address too.
	defendInterval = time.Minute
	// linkLocalBits is the length of 169.254.0.0/16.
	linkLocalBits = 16
)

// linkLocalAddress is the address that a card asks for at its n-th try. It follows from
// the hardware address, so that a card mostly has the same one again. The first
// and last 256 addresses of the network are reserved.
func linkLocalAddress(hardware string, n int) netip.Addr {
	sum := sha256.Sum256([]byte(hardware + " " + strconv.Itoa(n)))
	const all = 254 * 256
	k := binary.BigEndian.Uint32(sum[:]) % all
	return netip.AddrFrom4([4]byte{169, 254, byte(1 + k/256), byte(k % 256)})
}

// addressAction is what a card does about its address.
type addressAction int

const (
	noAction      addressAction = iota
	fallBack                    // take an address without a DHCP server
	defendAddress               // look whether the link-local address is still its own
)

// fallbackPolicy decides when a card helps itself that has no lease.
type fallbackPolicy struct {
	since   time.Time // of the last look, or of the last moment with a lease
	plugged bool      // at the last call
}

// nextAction is told how the card is on its network now, and returns what it is to do.
func (s *fallbackPolicy) nextAction(now time.Time, at Address, plugged bool, patience time.Duration) addressAction {
	back := plugged && !s.plugged
	s.plugged = plugged
	own := at.Own.Addr()
	switch {
	case at.Own.IsValid() && !own.IsLinkLocalUnicast(), !plugged:
		s.since = now
		return noAction
	case at.Own.IsValid() && (back || now.Sub(s.since) >= defendInterval): // the cable may be in another network now
		s.since = now
		return defendAddress
	case !at.Own.IsValid() && now.Sub(s.since) >= patience:
		s.since = now
		return fallBack
	}
	return noAction
}

// arpAnswered reports whether "arping -D" has met another machine with the address.
// Its exit code alone does not tell: it is the same when arping cannot ask.
func arpAnswered(code int, output string) bool {
	return code != 0 && (strings.Contains(output, "reply from ") || strings.Contains(output, "request from "))
}

// takeFallback gives a card an address that no DHCP server has given it.
func (n *network) takeFallback(ctx context.Context, card string) {
	if n.useSaved {
		n.useSaved = false
		if last, err := n.savedAddress(card); err == nil {
			n.useAddress(ctx, last)
			return
		}
	}
	n.claimLinkLocal(ctx, card)
}

// claimLinkLocal takes the first link-local address that nobody on the cable has.
func (n *network) claimLinkLocal(ctx context.Context, card string) {
	// Without its hardware address the card is told from others by its name.
	hardware, _ := os.ReadFile(filepath.Join(n.paths.Sys, "class", "net", card, "address"))
	for range claimTries {
		own := linkLocalAddress(strings.TrimSpace(string(hardware))+" "+n.settings.HostName, n.claims)
		if !n.isTakenElsewhere(ctx, card, own) && ctx.Err() == nil {
			n.useAddress(ctx, Address{Interface: card, Own: netip.PrefixFrom(own, linkLocalBits), From: "of its own choice: no DHCP server answers"})
			n.runArping(ctx, "-U", "-c", announceNum, "-I", card, "-s", own.String(), own.String())
			return
		}
		if ctx.Err() != nil {
			return
		}
		n.claims++
	}
}

// defendLinkLocal goes to another link-local address if another machine has this one.
func (n *network) defendLinkLocal(ctx context.Context, at Address) {
	if !n.isTakenElsewhere(ctx, at.Interface, at.Own.Addr()) {
		return
	}
	n.dropAddress(ctx, at.Interface)
	n.claims++
	n.claimLinkLocal(ctx, at.Interface)
}

// isTakenElsewhere reports whether another machine on the cable has an address.
func (n *network) isTakenElsewhere(ctx context.Context, card string, own netip.Addr) bool {
	taken := arpAnswered(n.runArping(ctx, "-D", "-c", probeNum, "-I", card, own.String()))
	if taken {
		n.logf("network: another machine has %s", own)
	}
	return taken
}

// runArping runs busybox's program of that name. If it cannot be run, nobody was heard.
func (n *network) runArping(ctx context.Context, args ...string) (code int, output string) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	code, output, err := n.system.Run(ctx, "arping", args...)
	if err != nil {
		n.logf("network: asking for an address: %v", err)
	}
	return code, output
}
