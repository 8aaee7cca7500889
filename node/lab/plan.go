package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// MaxBoards bounds a lab: what a laptop's memory and a class's eyes can hold.
const MaxBoards = 32

// A free block is looked for among these ports: above the ones that programs
// commonly want, below the ones that systems hand out by themselves.
const (
	freeLow   = 20_000
	freeHigh  = 32_000
	freeTries = 50
)

// Plan says who listens where. All boards' ports follow the lab console's:
// first the public pages of all boards, then their consoles, then gossip, then
// links, so that the first board's pages are next to the console.
type Plan struct {
	Console netip.AddrPort // the lab's own
	Boards  []BoardAddrs
}

// BoardAddrs is where one board listens.
type BoardAddrs struct {
	Name    string // board-1, board-2 …
	HTTP    netip.AddrPort
	Console netip.AddrPort
	Gossip  netip.AddrPort // UDP and TCP
	Link    netip.AddrPort
}

// NewPlan lays out n boards after the address of the lab's console, which is
// an IP address, or localhost, with a port. Gossip and links stay on loopback
// whatever that address is.
func NewPlan(n int, addr string) (*Plan, error) {
	if n < 1 || n > MaxBoards {
		return nil, fmt.Errorf("a lab has 1 to %d boards, not %d", MaxBoards, n)
	}
	host, port, err := net.SplitHostPort(addr)
	first, errPort := strconv.ParseUint(port, 10, 16)
	if err != nil || errPort != nil {
		return nil, fmt.Errorf("%q is not an address; write IP:PORT, such as 127.0.0.1:8080", addr)
	}
	switch host {
	case "localhost":
		host = "127.0.0.1"
	case "":
		host = "0.0.0.0"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address; write IP:PORT, such as 127.0.0.1:8080", addr)
	}
	if last := int(first) + 4*n; last > 65535 {
		return nil, fmt.Errorf("%d boards from port %d need ports up to %d, and the last is 65535; choose a lower one with --http", n, first, last)
	}
	if first == 0 {
		return freePlan(n, ip)
	}
	return layOutPorts(n, ip, int(first)), nil
}

func layOutPorts(n int, ip netip.Addr, first int) *Plan {
	inner := ip
	if !ip.IsLoopback() {
		inner = netip.MustParseAddr("127.0.0.1")
	}
	at := func(ip netip.Addr, block, board int) netip.AddrPort {
		return netip.AddrPortFrom(ip, uint16(first+block*n+board))
	}
	p := &Plan{Console: netip.AddrPortFrom(ip, uint16(first))}
	for k := 1; k <= n; k++ {
		p.Boards = append(p.Boards, BoardAddrs{
			Name:    fmt.Sprintf("board-%d", k),
			HTTP:    at(ip, 0, k),
			Console: at(ip, 1, k),
			Gossip:  at(inner, 2, k),
			Link:    at(inner, 3, k),
		})
	}
	return p
}

// freePlan looks for a block of ports that nobody holds.
func freePlan(n int, ip netip.Addr) (*Plan, error) {
	var err error
	for range freeTries {
		p := layOutPorts(n, ip, freeLow+rand.IntN(freeHigh-freeLow-4*n))
		if err = p.Check(); err == nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no block of %d free ports was found; choose one with --http: the last try said\n%w", 4*n+1, err)
}

// PortError says which port a lab cannot have and who wants it.
type PortError struct {
	Addr    netip.AddrPort
	Net     string // tcp, udp, or "tcp and udp"
	Purpose string // "board-3 wants it for its public pages"
	Err     error  // what the system said
}

// Error is one line without advice; PortErrors has the advice, once.
func (e *PortError) Error() string {
	proto := ""
	if e.Net != "tcp" {
		proto = " (" + e.Net + ")"
	}
	if isPortTaken(e.Err) {
		return fmt.Sprintf("port %d%s is taken: %s", e.Addr.Port(), proto, e.Purpose)
	}
	return fmt.Sprintf("port %d%s cannot be had (%v): %s", e.Addr.Port(), proto, stripAddress(e.Err), e.Purpose)
}

// Unwrap returns what the system said.
func (e *PortError) Unwrap() error { return e.Err }

// PortErrors are all ports that a lab cannot have.
type PortErrors []*PortError

// Error writes a line for each port, and what to do; one line for an address
// that no port of this machine has.
func (e PortErrors) Error() string {
	if first := e[0]; isNotLocal(first.Err) {
		return fmt.Sprintf("this machine does not have the address %s; choose one that it has with --http, such as 127.0.0.1:8080", first.Addr.Addr())
	}
	if len(e) == 1 {
		return e[0].Error() + "; " + e.remedyFor("it")
	}
	var b strings.Builder
	for _, one := range e {
		b.WriteString(one.Error() + "\n")
	}
	b.WriteString(e.remedyFor("them"))
	return b.String()
}

// remedyFor says what to do about the ports: it or them.
func (e PortErrors) remedyFor(them string) string {
	for _, one := range e {
		switch {
		case errors.Is(one.Err, fs.ErrPermission):
			return "ports below 1024 are kept for the system: choose higher ones with --http"
		case !isPortTaken(one.Err):
			return "choose others with --http (port 0: any that are free)"
		}
	}
	if len(e) == 1 {
		return "stop what holds " + them + ", or choose others with --http"
	}
	return "perhaps another lab runs: stop what holds " + them + ", or choose others with --http (port 0: any that are free)"
}

// Unwrap gives errors.Is and errors.As each port.
func (e PortErrors) Unwrap() []error {
	list := make([]error, len(e))
	for i, one := range e {
		list[i] = one
	}
	return list
}

// Check tries every port of the plan and returns PortErrors for all that
// cannot be had. Between the check and the boards' own start another program
// may still take one; the board then says so and dies, and the lab tells it.
func (p *Plan) Check() error {
	var bad PortErrors
	try := func(addr netip.AddrPort, network, who string) {
		err := tryPort(addr, network)
		if err == nil {
			return
		}
		if n := len(bad); n > 0 && bad[n-1].Addr == addr {
			bad[n-1].Net += " and " + network
			return
		}
		bad = append(bad, &PortError{addr, network, who, err})
	}
	try(p.Console, "tcp", "the lab wants it for its console")
	for _, b := range p.Boards {
		try(b.HTTP, "tcp", b.Name+" wants it for its public pages")
	}
	for _, b := range p.Boards {
		try(b.Console, "tcp", b.Name+" wants it for its console")
	}
	for _, b := range p.Boards {
		try(b.Gossip, "tcp", b.Name+" wants it for gossip")
		try(b.Gossip, "udp", b.Name+" wants it for gossip")
	}
	for _, b := range p.Boards {
		try(b.Link, "tcp", b.Name+" wants it for the rack link")
	}
	if len(bad) > 0 {
		return bad
	}
	return nil
}

func tryPort(addr netip.AddrPort, network string) error {
	if network == "udp" {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		if err != nil {
			return err
		}
		return c.Close()
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	return l.Close()
}

// stripAddress is what the system said of an address, without the address.
func stripAddress(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}

// localURL is where a person on this machine reaches an address.
func localURL(addr netip.AddrPort) string {
	if addr.Addr().IsUnspecified() {
		addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), addr.Port())
	}
	return "http://" + addr.String()
}
