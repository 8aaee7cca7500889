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
	// mdnsLabel is the message of the keyed hash that makes a rack tag. It separates the tag from
	// everything else that is derived from the rack key.
	mdnsLabel = "bramble mdns rack tag v1"
	tagKey    = "rack="
	addrKey   = "gossip="

	// maxMDNSInterfaces bounds the interfaces that are used.
	maxMDNSInterfaces = 8
	// maxMDNSAnswers bounds the answers of one query; anyone on the LAN can answer.
	maxMDNSAnswers = 64
	// mdnsInterfaceCheck is the time between two checks for interfaces and addresses that came or went:
	// a board is often up before its network is.
	mdnsInterfaceCheck = 10 * time.Second
	// mdnsWait limits how long Discover collects answers. They come within a few hundred milliseconds.
	mdnsWait = time.Second
)

// ErrNoMulticast: the machine has no interface with an address and multicast. The board can
// still join the addresses in its configuration.
var ErrNoMulticast = errors.New("mDNS: no network interface with multicast")

// RackTag returns the tag by which the boards of one rack find each other on a LAN that several racks
// share: the first 8 bytes, in hex, of the HMAC-SHA256 of a fixed text under the rack key. The tag does
// not reveal the key, and does not admit to the rack.
func RackTag(key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(mdnsLabel))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// MDNS announces a board on its LAN and finds the other boards of its rack, by hashicorp/mdns, service
// _bramble._tcp. On a LAN without multicast it logs one line a minute, and the board serves on.
type MDNS struct {
	name       string
	tags       []string // of the keys that the board accepts
	port       uint16
	log        *slog.Logger
	libraryLog *log.Logger

	cancel context.CancelFunc
	done   chan struct{}

	servers map[string]*mdns.Server // by interface and address; used by run only
}

// Announce answers queries for the board until Close: name is its name, tags are the RackTags of all
// keys that it accepts, so that boards find each other while the key changes, and port is the port of its gossip, on each interface at that interface's address. It follows interfaces and addresses
// that come and go, and only logs failures.
func Announce(ctx context.Context, name string, tags []string, port uint16, logger *slog.Logger) *MDNS {
	dedup := slog.New(logdedup.NewHandler(logger.Handler(), 0, nil))
	ctx, cancel := context.WithCancel(ctx)
	a := &MDNS{
		name:       strings.ReplaceAll(name, ".", "-"), // a dot would start another label
		tags:       tags,
		port:       port,
		log:        dedup,
		libraryLog: log.New(libraryWriter{dedup}, "", 0),
		cancel:     cancel,
		done:       make(chan struct{}),
		servers:    make(map[string]*mdns.Server),
	}
	go a.run(ctx)
	return a
}

// Close stops answering. mDNS has a goodbye, but the library sends none: other boards may try the
// address in vain for two more minutes.
func (m *MDNS) Close() error {
	m.cancel()
	<-m.done
	return nil
}

// Discover finds other boards of the rack, for MembersConfig.Discover.
func (m *MDNS) Discover(ctx context.Context) []string {
	found, err := browseRack(ctx, m.tags, mdnsWait, m.libraryLog)
	if err != nil && ctx.Err() == nil {
		m.log.Info("cannot find boards by mDNS; the addresses under [rack] join are still tried", "error", err)
	}
	return found
}

// run maintains one server for each interface and address.
func (m *MDNS) run(ctx context.Context) {
	defer close(m.done)
	tick := time.NewTicker(mdnsInterfaceCheck)
	defer tick.Stop()
	for {
		m.refreshServers()
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, s := range m.servers {
				_ = s.Shutdown()
			}
			return
		}
	}
}

// refreshServers starts and stops servers so that they match the interfaces.
func (m *MDNS) refreshServers() {
	current := make(map[string]multicastInterface)
	for _, i := range multicastInterfaces() {
		current[i.iface.Name+" "+i.addr.String()] = i
	}
	for key, s := range m.servers {
		if _, ok := current[key]; !ok {
			_ = s.Shutdown()
			delete(m.servers, key)
		}
	}
	for key, i := range current {
		if m.servers[key] != nil {
			continue
		}
		s, err := m.startServer(i)
		if err != nil {
			m.log.Info("other boards cannot find this one by mDNS", "interface", i.iface.Name, "error", err)
			continue
		}
		m.servers[key] = s
	}
	if len(m.servers) == 0 {
		m.log.Info("other boards cannot find this one by mDNS; it still serves clients", "error", ErrNoMulticast)
	}
}

func (m *MDNS) startServer(i multicastInterface) (*mdns.Server, error) {
	gossip := netip.AddrPortFrom(i.addr, m.port)
	// Host name and address are set here. Otherwise the library looks up the machine's name, which
	// fails on a board whose name no server knows.
	fields := []string{addrKey + gossip.String()}
	for _, tag := range m.tags {
		fields = append(fields, tagKey+tag)
	}
	zone, err := mdns.NewMDNSService(m.name, mdnsService, "local.", m.name+".local.", int(m.port),
		[]net.IP{i.addr.AsSlice()}, fields)
	if err != nil {
		return nil, fmt.Errorf("mDNS: %w", err)
	}
	s, err := mdns.NewServer(&mdns.Config{Zone: zone, Iface: &i.iface, Logger: m.libraryLog})
	if err != nil {
		return nil, fmt.Errorf("mDNS on %s: %w", i.iface.Name, err)
	}
	return s, nil
}

// browseRack queries the LAN for boards with one of these rack tags, on every interface with multicast at once. It
// returns the gossip addresses ("ip:port", sorted) that answered within timeout, this board's own
// included if it announces itself. The error is ErrNoMulticast if there is no interface to query on.
func browseRack(ctx context.Context, tags []string, timeout time.Duration, logger *log.Logger) ([]string, error) {
	interfaces := multicastInterfaces()
	if len(interfaces) == 0 {
		return nil, ErrNoMulticast
	}
	entries := make(chan *mdns.ServiceEntry, maxMDNSAnswers) // the library drops what does not fit
	errs := make([]error, 0, 2*len(interfaces))
	var mu sync.Mutex // guards errs
	var queries sync.WaitGroup
	startQuery := func(i multicastInterface, ipv6 bool) {
		queries.Go(func() {
			err := queryInterface(ctx, i, ipv6, timeout, entries, logger)
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		})
	}
	for _, i := range interfaces {
		startQuery(i, false)
		if i.ipv6 {
			startQuery(i, true)
		}
	}
	queries.Wait()

	var found []string
	for len(entries) > 0 {
		if addr, ok := rackAddress(tags, (<-entries).InfoFields); ok && !slices.Contains(found, addr) {
			found = append(found, addr)
		}
	}
	slices.Sort(found)
	if len(found) == 0 && !slices.Contains(errs, nil) {
		return nil, fmt.Errorf("mDNS: %w", errors.Join(errs...))
	}
	return found, nil
}

// queryInterface queries on one interface by one protocol. Each protocol has its own query, because the
// library's query fails as a whole if either does: IPv4 on a machine without a default route, as the
// library joins the group on the interface of the routing table; IPv6 while an address is new and unproven. The
// answers are the same. It takes all of timeout even if ctx ends: the library waits it out.
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

// rackAddress returns the gossip address in an answer's text fields. It must be numeric, so that no
// stranger on the LAN can make a board look up names.
func rackAddress(tags, fields []string) (string, bool) {
	if !slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(fields, tagKey+tag) }) {
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

// multicastInterface is an interface that mDNS uses.
type multicastInterface struct {
	iface net.Interface
	addr  netip.Addr // its IPv4 address
	ipv6  bool       // it has an IPv6 address as well
}

// multicastInterfaces lists the interfaces that are up, support multicast, are not loopback and have an
// IPv4 address, at most maxMDNSInterfaces.
func multicastInterfaces() (found []multicastInterface) {
	for i, addresses := range addressesOf(net.FlagUp | net.FlagMulticast) {
		at := slices.IndexFunc(addresses, netip.Addr.Is4)
		if at >= 0 && i.Flags&net.FlagLoopback == 0 && len(found) < maxMDNSInterfaces {
			found = append(found, multicastInterface{i, addresses[at], slices.ContainsFunc(addresses, netip.Addr.Is6)})
		}
	}
	return found
}
