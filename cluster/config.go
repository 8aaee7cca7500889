package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// MaxName bounds a board's name, in bytes: the length of a DNS label.
const MaxName = 63

// GossipTiming tunes gossip and failure detection. The zero value means SlowBoards().
//
// A killed board is declared dead after about
//
//	ProbeInterval               until some board probes it (n boards make n probes per interval)
//	+ ProbeInterval             for that probe, its indirect probes and its TCP ping to fail
//	+ SuspicionMult · max(1, log10 n) · ProbeInterval   for it to refute
//
// and up to SuspicionMaxMult times the last term later if fewer than SuspicionMult-2 other boards
// confirm the suspicion.
type GossipTiming struct {
	// ProbeInterval is the time between two probes by one board. A shorter interval finds dead boards
	// sooner and costs packets: two per board and interval.
	ProbeInterval time.Duration
	// ProbeTimeout is the time that a probe waits before other boards are asked to probe. It must be less
	// than ProbeInterval; the remainder is the time for those indirect probes.
	ProbeTimeout time.Duration
	// SuspicionMult is the number of intervals within which a suspected board can refute the suspicion. A
	// higher number tolerates busy boards, and leaves a dead board on the ring for longer.
	SuspicionMult int
	// SuspicionMaxMult multiplies the suspicion timeout when no other board shares the suspicion, because
	// the fault may then be the board's own.
	SuspicionMaxMult int
	// AwarenessMax bounds the factor by which a board that misses expected answers slows its own probing
	// (Lifeguard, Dadgar and others 2018), so that a busy board does not declare others dead.
	AwarenessMax int
	// GossipInterval is the time between two rounds of gossip, each to three boards. An update reaches
	// all n boards in about GossipInterval · log4 n.
	GossipInterval time.Duration
	// PushPullInterval is the time between two exchanges of a board's whole state with a random other
	// board over TCP. It limits how long an update that gossip lost is missing.
	PushPullInterval time.Duration
	// StreamTimeout bounds such an exchange, and each attempt to reach a lost board.
	StreamTimeout time.Duration
	// RejoinMin and RejoinMax are the first and the longest pause, each ±25 %, between attempts to
	// reach missing boards (exponential backoff). The pause is reset when a board dies. A healed rack
	// notices in about RejoinMax.
	RejoinMin, RejoinMax time.Duration
}

// SlowBoards is the timing for single-core 700 MHz boards that serve as fast as they can. There a
// goroutine that should answer a probe can wait over a second for the processor (hashicorp/consul#887,
// #916), so a probe waits for 700 ms and a suspect has five seconds; memberlist's LAN defaults are 500 ms
// and four. Measured on loopback, racks of 3, 5 and 8 boards, 12 kills: a killed board was declared dead
// after 6.5 to 8.8 seconds. No client waits for that: a failed link is noticed within a peer timeout.
func SlowBoards() GossipTiming {
	return GossipTiming{
		ProbeInterval:    time.Second,
		ProbeTimeout:     700 * time.Millisecond,
		SuspicionMult:    5,
		SuspicionMaxMult: 4,
		AwarenessMax:     8,
		GossipInterval:   250 * time.Millisecond,
		PushPullInterval: 5 * time.Second,
		StreamTimeout:    5 * time.Second,
		RejoinMin:        time.Second,
		RejoinMax:        10 * time.Second,
	}
}

// MembersConfig configures a board's membership: who it is and how it finds its rack.
type MembersConfig struct {
	// Name is the board's name, unique in the rack: 1 to MaxName letters, digits, hyphens, underscores
	// or dots.
	Name string
	// Bind is the IP address and port for gossip, both UDP and TCP. ":7946" is every address; port 0
	// is a free port.
	Bind string
	// Advertise is the address that the other boards use, "ip:port" or "ip". "" is the address in Bind
	// or, if that is every address, the machine's own (see hostAddress). That one is watched: a board
	// that starts before it has an address, or gets another one, announces itself again.
	Advertise string
	// Keys encrypt the gossip (AES-256): 32 bytes each. The first encrypts, all decrypt.
	Keys [][]byte
	// Join lists addresses of other boards, "host:port" or "host" (with this board's port). An address is
	// tried until a board there is a member.
	Join []string
	// Discover, if not nil, returns more such addresses, "ip:port". It is called while the board is
	// alone, and every discoverInterval later. It should return soon after ctx ends.
	Discover func(ctx context.Context) []string
	// Forget is the time for which a dead board still counts as known (see Members.Known) and is still searched
	// for; 10 minutes if 0.
	Forget time.Duration
	// Meta is the first metadata that the board gossips.
	Meta Meta
	// Timing tunes failure detection; the zero value is SlowBoards().
	Timing GossipTiming
	// Logger logs the events of the rack; slog.Default() if nil.
	Logger *slog.Logger

	// wrap, in tests, wraps the network transport.
	wrap func(memberlist.NodeAwareTransport) memberlist.NodeAwareTransport
}

// Errors of Start, to be matched with errors.Is.
var (
	// ErrConfig is wrapped by every error that another configuration would fix.
	ErrConfig = errors.New("cluster configuration")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("cluster: closed")
)

// checkMembers fills in defaults and rejects settings that cannot work.
func checkMembers(cfg *MembersConfig) (netip.AddrPort, *memberlist.Keyring, error) {
	var none netip.AddrPort
	if err := CheckName(cfg.Name); err != nil {
		return none, nil, err
	}
	bind, err := parseBind(cfg.Bind)
	if err != nil {
		return none, nil, err
	}
	if len(cfg.Keys) == 0 {
		return none, nil, fmt.Errorf("%w: no rack key", ErrConfig)
	}
	for i, key := range cfg.Keys {
		if len(key) != 32 {
			return none, nil, fmt.Errorf("%w: rack key %d has %d bytes; it must have 32", ErrConfig, i+1, len(key))
		}
	}
	keys, err := memberlist.NewKeyring(cfg.Keys, cfg.Keys[0])
	if err != nil {
		return none, nil, fmt.Errorf("%w: rack key: %w", ErrConfig, err)
	}
	if cfg.Advertise != "" {
		if _, err := parseAdvertise(cfg.Advertise, 1); err != nil {
			return none, nil, err
		}
	}
	if cfg.Forget == 0 {
		cfg.Forget = 10 * time.Minute
	}
	if cfg.Timing == (GossipTiming{}) {
		cfg.Timing = SlowBoards()
	}
	if t := cfg.Timing; t.ProbeTimeout <= 0 || t.ProbeTimeout >= t.ProbeInterval || t.SuspicionMult < 1 ||
		t.SuspicionMaxMult < 1 || t.AwarenessMax < 1 || t.GossipInterval <= 0 || t.PushPullInterval <= 0 ||
		t.StreamTimeout <= 0 || t.RejoinMin <= 0 || t.RejoinMax < t.RejoinMin {
		return none, nil, fmt.Errorf("%w: timing: every value must be above 0, and ProbeTimeout below ProbeInterval", ErrConfig)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return bind, keys, nil
}

// CheckName returns an ErrConfig if name is not a valid name of a board.
func CheckName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("%w: a board's name has 1 to %d characters, not %d", ErrConfig, MaxName, len(name))
	}
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)) {
			return fmt.Errorf("%w: board name %q: use letters, digits, hyphens, underscores and dots", ErrConfig, name)
		}
	}
	return nil
}

// parseBind reads "host:port" where the host is an IP address or "" for every IPv4 address.
func parseBind(bind string) (netip.AddrPort, error) {
	if strings.HasPrefix(bind, ":") {
		bind = "0.0.0.0" + bind
	}
	addr, err := netip.ParseAddrPort(bind)
	if err != nil {
		return addr, fmt.Errorf("%w: gossip address %q: write it as \":7946\" or \"192.0.2.7:7946\"", ErrConfig, bind)
	}
	return addr, nil
}

// parseAdvertise reads "ip:port", or "ip" and adds port.
func parseAdvertise(advertise string, port uint16) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddrPort(advertise); err == nil && addr.Port() != 0 && !addr.Addr().IsUnspecified() {
		return addr, nil
	}
	if ip, err := netip.ParseAddr(advertise); err == nil && !ip.IsUnspecified() {
		return netip.AddrPortFrom(ip, port), nil
	}
	return netip.AddrPort{}, fmt.Errorf("%w: advertised address %q: write an address of this board, such as \"192.0.2.7:7946\"",
		ErrConfig, advertise)
}
