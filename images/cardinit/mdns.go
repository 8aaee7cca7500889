package cardinit

import (
	"context"
	"io"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/mdns"
)

const (
	// mdnsPollInterval is the interval at which the address is checked for a change.
	mdnsPollInterval = 2 * time.Second
	// webService lists a board among the web servers in a network browser.
	webService = "_http._tcp"
)

// runMDNS answers for NAME.local by mDNS with the card's current address until ctx
// ends. It does not notice two cards with one name: default names come from serial
// numbers, and the rack reports a name that two boards have.
func runMDNS(ctx context.Context, name string, port int, currentAddress func() Address, logf func(string, ...any)) {
	var server *mdns.Server
	var at Address
	logged := false
	stop := func() {
		if server != nil {
			_ = server.Shutdown() // its sockets are closed even then
			server = nil
		}
	}
	defer stop()
	for ; ctx.Err() == nil; sleep(ctx, mdnsPollInterval) {
		now := currentAddress()
		if now.Interface == at.Interface && now.Own.Addr() == at.Own.Addr() {
			continue
		}
		stop()
		if at = now; !now.Own.IsValid() {
			continue
		}
		var err error
		if server, err = startMDNS(name, port, now); err != nil && !logged {
			logf("no mDNS: %v", err)
			logged = true
		}
	}
}

func startMDNS(name string, port int, a Address) (*mdns.Server, error) {
	nic, err := net.InterfaceByName(a.Interface)
	if err != nil {
		return nil, err
	}
	zone, err := hostZone(name, port, a.Own.Addr())
	if err != nil {
		return nil, err
	}
	return mdns.NewServer(&mdns.Config{Zone: zone, Iface: nic, Logger: log.New(io.Discard, "", 0)})
}

// hostZone returns the records: the host's address, and that it has web pages.
func hostZone(name string, port int, own netip.Addr) (mdns.Zone, error) {
	return mdns.NewMDNSService(name, webService, "local.", name+".local.", port, []net.IP{own.AsSlice()}, []string{"path=/"})
}
