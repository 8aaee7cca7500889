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
	// mdnsPollInterval is how often it is looked whether the address has changed.
	mdnsPollInterval = 2 * time.Second
	// webService has a board show among the web servers of a network's browser.
	webService = "_http._tcp"
)

// runMDNS answers for NAME.local by mDNS at the card's address, through all
// changes of that, until ctx ends. Names are made of serial numbers, so that no
// two are the same; that a person gave one name to two cards is not noticed
// here, but by the rack, where a board's name must be its own.
func runMDNS(ctx context.Context, name string, port int, address func() Address, say func(string, ...any)) {
	tick := time.NewTicker(mdnsPollInterval)
	defer tick.Stop()
	var server *mdns.Server
	var at Address
	told := false
	for {
		if now := address(); now.Interface != at.Interface || now.Own.Addr() != at.Own.Addr() {
			if server != nil {
				_ = server.Shutdown() // its sockets are closed all the same
				server = nil
			}
			if now.Own.IsValid() {
				var err error
				if server, err = startMDNS(name, port, now); err != nil && !told {
					say("no mDNS: %v", err)
					told = true
				}
			}
			at = now
		}
		select {
		case <-ctx.Done():
			if server != nil {
				_ = server.Shutdown()
			}
			return
		case <-tick.C:
		}
	}
}

func startMDNS(name string, port int, a Address) (*mdns.Server, error) {
	card, err := net.InterfaceByName(a.Interface)
	if err != nil {
		return nil, err
	}
	zone, err := hostZone(name, port, a.Own.Addr())
	if err != nil {
		return nil, err
	}
	return mdns.NewServer(&mdns.Config{Zone: zone, Iface: card, Logger: log.New(io.Discard, "", 0)})
}

// hostZone is what is answered: the host's address, and that it has web pages.
func hostZone(name string, port int, own netip.Addr) (mdns.Zone, error) {
	return mdns.NewMDNSService(name, webService, "local.", name+".local.", port, []net.IP{own.AsSlice()}, []string{"path=/"})
}
