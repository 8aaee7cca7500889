// Package unproven bounds the connections whose callers have not proved yet that they hold the rack key. Gossip and
// the rack link use it alike: anyone on the network can connect to either.
package unproven

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The bounds. A new connection above one of them closes the oldest that counts towards it: who has the
// key proves it at once, and only the connection of one without it grows old.
const (
	MaxStranger  = 8  // connections from one address that is no board's; an IPv6 /64 counts as one address
	MaxStrangers = 32 // connections from all such addresses together
	MaxBoard     = 64 // connections from the address of one board; they do not count as strangers'
	// Timeout is the time that a caller has.
	Timeout = 3 * time.Second
)

// Connections are the unproven connections of one port.
type Connections struct {
	timeout time.Duration
	isBoard func(netip.Addr) bool
	log     *slog.Logger

	mu   sync.Mutex // guards open
	open []caller   // the oldest first
}

// caller is the other end of an unproven connection.
type caller struct {
	conn    net.Conn
	from    netip.Prefix // what counts as its address
	isBoard bool
}

// New makes an empty set. Callers have timeout to prove the key. isBoard reports whether an address is a known board's.
// logger should drop repetitions.
func New(timeout time.Duration, isBoard func(netip.Addr) bool, logger *slog.Logger) *Connections {
	return &Connections{timeout: timeout, isBoard: isBoard, log: logger}
}

// Add adds a connection, and closes one that is too many, and later this one when its time is over. remove must
// be called when the other side has proved the key, and when the connection ends. It may be called again.
func (c *Connections) Add(conn net.Conn) (remove func()) {
	remote, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	addr := remote.Addr().Unmap().WithZone("")
	isBoard, bits := c.isBoard(addr), addr.BitLen()
	if addr.Is6() && !isBoard {
		bits = 64 // one host may use all addresses of such a network
	}
	from, _ := addr.Prefix(bits)
	timer := time.AfterFunc(c.timeout, func() { conn.Close() })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, caller{conn, from, isBoard})
	if i := findSurplus(c.open); i >= 0 {
		surplus := c.open[i].conn
		c.open = slices.Delete(c.open, i, i+1)
		surplus.Close()
		c.log.Warn("too many connections that have not proved the rack key; closed the oldest",
			"port", conn.LocalAddr().String(), "caller", surplus.RemoteAddr().String())
	}
	return func() {
		timer.Stop()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open = slices.DeleteFunc(c.open, func(o caller) bool { return o.conn == conn })
	}
}

// findSurplus returns the index of the connection to close for the newest, which is the last, or -1.
func findSurplus(open []caller) int {
	newest, most := open[len(open)-1], MaxStranger
	if newest.isBoard {
		most = MaxBoard
	}
	var fromSame, fromStrangers []int
	for i, o := range open {
		if o.from == newest.from {
			fromSame = append(fromSame, i)
		}
		if !o.isBoard {
			fromStrangers = append(fromStrangers, i)
		}
	}
	switch {
	case len(fromSame) > most:
		return fromSame[0]
	case len(fromStrangers) > MaxStrangers:
		return fromStrangers[0]
	}
	return -1
}
