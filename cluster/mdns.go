package cluster

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/mdns"

	"bramble/cluster/logdedup"
)

const (
	mdnsService = "_bramble._tcp"
	// mdnsLabel is what the rack tag is a keyed hash of; it keeps the tag apart from everything else
	// that is derived from the rack key.
	mdnsLabel = "bramble mdns rack tag v1"
	tagKey    = "rack="
	addrKey   = "gossip="

	// maxMDNSInterfaces bounds the interfaces that are used.
	maxMDNSInterfaces = 8
	// maxMDNSAnswers bounds the boards that one Browse returns; anybody on the LAN can answer.
	maxMDNSAnswers = 64
	// mdnsInterfaceCheck is how often Announce looks for interfaces and addresses that came or went:
	// a board is often up before its network is.
	mdnsInterfaceCheck = 10 * time.Second
	// mdnsWait is how long Discover waits for answers. They come within a few hundred milliseconds.
	mdnsWait = time.Second
)

// ErrNoMulticast is returned where the machine has no interface with an address on which multicast
// works. The board can still join the addresses in its configuration.
var ErrNoMulticast = errors.New("mDNS: no network interface with multicast")

// RackTag is what boards of one rack find each other by on a LAN that several racks share: the first
// 8 bytes, in hex, of HMAC-SHA256 of a fixed text under the rack key. It does not reveal the key, and
// knowing it gives nobody entry.
func RackTag(key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(mdnsLabel))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// MDNS announces a board on its LAN and finds the others of its rack, by hashicorp/mdns, service
// _bramble._tcp. It keeps quiet about a LAN without multicast: one line a minute, and the board serves on.
type MDNS struct {
	name       string
	tag        string
	port       uint16
	log        *slog.Logger
	libraryLog *log.Logger

	cancel context.CancelFunc
	done   chan struct{}

	servers map[string]*mdns.Server // by interface and address; used by run only
}

// Announce starts answering for the board: name is its name, tag its RackTag and port the port of its
// gossip, found on each interface at that interface's own address. It goes on until Close, through
// interfaces and addresses that come and go, and says nothing worse of trouble than a line in the log.
func Announce(ctx context.Context, name, tag string, port uint16, logger *slog.Logger) *MDNS {
	quiet := slog.New(logdedup.NewHandler(logger.Handler(), 0, nil))
	ctx, cancel := context.WithCancel(ctx)
	a := &MDNS{
		name:       strings.ReplaceAll(name, ".", "-"), // a dot would be another label
		tag:        tag,
		port:       port,
		log:        quiet,
		libraryLog: log.New(libraryWriter{quiet}, "", 0),
		cancel:     cancel,
		done:       make(chan struct{}),
		servers:    make(map[string]*mdns.Server),
	}
	go a.run(ctx)
	return a
}

// Close stops answering. mDNS knows a goodbye, but the library sends none: others may try the address
// for two minutes more, in vain.
func (a *MDNS) Close() error {
	a.cancel()
	<-a.done
	return nil
}

// Discover looks for other boards of the rack, as MembersConfig.Discover wants it.
func (a *MDNS) Discover(ctx context.Context) []string {
	found, err := browseRack(ctx, a.tag, mdnsWait, a.libraryLog)
	if err != nil && ctx.Err() == nil {
		a.log.Info("boards cannot be found by mDNS; those listed under [rack] join are still tried", "err", err)
	}
	return found
}

// run keeps one server for each interface and address.
func (a *MDNS) run(ctx context.Context) {
	defer close(a.done)
	tick := time.NewTicker(mdnsInterfaceCheck)
	defer tick.Stop()
	for {
		a.refreshServers()
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, s := range a.servers {
				_ = s.Shutdown()
			}
			return
		}
	}
}

// refreshServers starts and stops servers so that they match the interfaces.
func (a *MDNS) refreshServers() {
	wanted := make(map[string]multicastInterface)
	for _, i := range multicastInterfaces() {
		wanted[i.iface.Name+" "+i.addr.String()] = i
	}
	for key, s := range a.servers {
		if _, ok := wanted[key]; !ok {
			_ = s.Shutdown()
			delete(a.servers, key)
		}
	}
	for key, i := range wanted {
		if a.servers[key] != nil {
			continue
		}
		s, err := a.startServer(i)
		if err != nil {
			a.log.Info("this board cannot be found by mDNS", "interface", i.iface.Name, "err", err)
			continue
		}
		a.servers[key] = s
	}
	if len(a.servers) == 0 {
		a.log.Info("this board cannot be found by mDNS; it serves all the same", "err", ErrNoMulticast)
	}
}

func (a *MDNS) startServer(i multicastInterface) (*mdns.Server, error) {
	gossip := netip.AddrPortFrom(i.addr, a.port)
	// Host name and address are given: the library would else look the machine's name up, which
	// fails on a board whose name no server knows.
	zone, err := mdns.NewMDNSService(a.name, mdnsService, "local.", a.name+".local.", int(a.port),
		[]net.IP{i.addr.AsSlice()}, []string{tagKey + a.tag, addrKey + gossip.String()})
	if err != nil {
		return nil, fmt.Errorf("mDNS: %w", err)
	}
	s, err := mdns.NewServer(&mdns.Config{Zone: zone, Iface: &i.iface, Logger: a.libraryLog})
	if err != nil {
		return nil, fmt.Errorf("mDNS on %s: %w", i.iface.Name, err)
	}
	return s, nil
}

// Browse asks the LAN for boards with this rack tag, on every interface with multicast at once, and
// returns the gossip addresses ("ip:port", sorted) that answered within timeout. The board's own is
// among them if it announces itself. The error is ErrNoMulticast where there is nothing to ask on.
func Browse(ctx context.Context, tag string, timeout time.Duration) ([]string, error) {
	return browseRack(ctx, tag, timeout, log.New(libraryWriter{slog.New(slog.DiscardHandler)}, "", 0))
}

func browseRack(ctx context.Context, tag string, timeout time.Duration, logger *log.Logger) ([]string, error) {
	interfaces := multicastInterfaces()
	if len(interfaces) == 0 {
		return nil, ErrNoMulticast
	}
	entries := make(chan *mdns.ServiceEntry, maxMDNSAnswers) // the library drops what does not fit
	errs := make([]error, 0, 2*len(interfaces))
	var mu sync.Mutex // protects errs
	var asked sync.WaitGroup
	ask := func(i multicastInterface, ipv6 bool) {
		asked.Go(func() {
			err := queryInterface(ctx, i, ipv6, timeout, entries, logger)
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		})
	}
	for _, i := range interfaces {
		ask(i, false)
		if i.ipv6 {
			ask(i, true)
		}
	}
	asked.Wait()

	var found []string
	for len(entries) > 0 {
		if addr, ok := rackAddress(tag, (<-entries).InfoFields); ok && !slices.Contains(found, addr) {
			found = append(found, addr)
		}
	}
	slices.Sort(found)
	if len(found) == 0 && !slices.Contains(errs, nil) {
		return nil, fmt.Errorf("mDNS: %w", errors.Join(errs...))
	}
	return found, nil
}

// queryInterface asks on one interface by one protocol. Both are asked, and apart, because the library's query
// fails as a whole where either does: IPv4 on a machine without a default route, as the library joins the
// group wherever the routing table says; IPv6 while an address is new and unproven. The answer is the
// same. It takes all of timeout even if ctx ends: the library counts it down.
func queryInterface(ctx context.Context, i multicastInterface, ipv6 bool, timeout time.Duration, entries chan<- *mdns.ServiceEntry, logger *log.Logger) error {
	return mdns.QueryContext(ctx, &mdns.QueryParam{
		Service:     mdnsService,
		Domain:      "local",
		Timeout:     timeout,
		Interface:   &i.iface,
		Entries:     entries,
		DisableIPv4: ipv6,
		DisableIPv6: !ipv6,
		Logger:      logger,
	})
}

// rackAddress reads an answer's text fields. The address must be numeric, so that nobody on the LAN
// can make a board look names up.
func rackAddress(tag string, fields []string) (string, bool) {
	if !slices.Contains(fields, tagKey+tag) {
		return "", false
	}
	for _, field := range fields {
		if text, ok := strings.CutPrefix(field, addrKey); ok {
			addr, err := netip.ParseAddrPort(text)
			ok := err == nil && addr.Port() != 0 && !addr.Addr().IsUnspecified() && !addr.Addr().IsMulticast()
			return addr.String(), ok
		}
	}
	return "", false
}

// multicastInterface is an interface that mDNS is spoken on.
type multicastInterface struct {
	iface net.Interface
	addr  netip.Addr // its IPv4 address
	ipv6  bool       // it has an IPv6 address as well
}

// multicastInterfaces lists the interfaces that are up, speak multicast, are not loopback and have an
// IPv4 address, at most maxMDNSInterfaces of them.
func multicastInterfaces() []multicastInterface {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var found []multicastInterface
	for _, i := range all {
		const want = net.FlagUp | net.FlagMulticast
		if i.Flags&(want|net.FlagLoopback) != want || len(found) == maxMDNSInterfaces {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		m := multicastInterface{iface: i}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			switch {
			case err != nil:
			case p.Addr().Is4() && !m.addr.IsValid():
				m.addr = p.Addr()
			case p.Addr().Is6():
				m.ipv6 = true
			}
		}
		if m.addr.IsValid() {
			found = append(found, m)
		}
	}
	return found
}
