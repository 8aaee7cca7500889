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

// MaxBoards limits a lab: more would fit neither a laptop's memory nor a screen.
const MaxBoards = 32

// A free block of ports is searched in this range: above the ports that programs
// commonly use, below the ephemeral ports.
const (
	freeLow   = 20_000
	freeHigh  = 32_000
	freeTries = 50
)

// Plan has the addresses on which each board listens. All ports follow the lab console's: first
// the public pages of all boards, then their consoles, their gossip and their
// links. So the first board's pages are next to the console.
type Plan struct {
	Console netip.AddrPort // of the lab
	Boards  []BoardAddrs
}

// BoardAddrs are the addresses where one board listens.
type BoardAddrs struct {
	Name    string // board-1, board-2 …
	HTTP    netip.AddrPort
	Console netip.AddrPort
	Gossip  netip.AddrPort // UDP and TCP
	Link    netip.AddrPort
}

// NewPlan plans n boards from the address of the lab's console: an IP address or
// localhost, and a port. Gossip and links are on loopback, also if that address
// is not.
func NewPlan(n int, addr string) (*Plan, error) {
	ip, first, err := parseListenAddr(n, addr)
	if err != nil {
		return nil, err
	}
	if first == 0 {
		return freePlan(n, ip)
	}
	return layOutPorts(n, ip, first), nil
}

// CheckListenAddr returns why a lab of n boards cannot have its console at addr, as far
// as the text shows it; NewPlan returns the same error.
func CheckListenAddr(n int, addr string) error {
	_, _, err := parseListenAddr(n, addr)
	return err
}

// parseListenAddr returns the address and the first port of a lab of n boards; port 0
// stands for any free ports.
func parseListenAddr(n int, addr string) (ip netip.Addr, first int, err error) {
	if n < 1 || n > MaxBoards {
		return ip, 0, fmt.Errorf("a lab has 1 to %d boards, not %d", MaxBoards, n)
	}
	host, port, err := net.SplitHostPort(addr)
	number, errPort := strconv.ParseUint(port, 10, 16)
	if err != nil || errPort != nil {
		return ip, 0, fmt.Errorf("%q is not an address; write IP:PORT, such as 127.0.0.1:8080", addr)
	}
	switch host {
	case "localhost":
		host = "127.0.0.1"
	case "":
		host = "0.0.0.0"
	}
	if ip, err = netip.ParseAddr(host); err != nil {
		return ip, 0, fmt.Errorf("%q is not an address; write IP:PORT, such as 127.0.0.1:8080", addr)
	}
	first = int(number)
	if last := first + 4*n; last > 65535 {
		return ip, 0, fmt.Errorf("%d boards from port %d need ports up to %d, but the last port is 65535; choose a lower port with --listen", n, first, last)
	}
	return ip, first, nil
}

func layOutPorts(n int, ip netip.Addr, first int) *Plan {
	internal := ip
	if !ip.IsLoopback() {
		internal = netip.MustParseAddr("127.0.0.1")
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
			Gossip:  at(internal, 2, k),
			Link:    at(internal, 3, k),
		})
	}
	return p
}

func freePlan(n int, ip netip.Addr) (*Plan, error) {
	var err error
	for range freeTries {
		p := layOutPorts(n, ip, freeLow+rand.IntN(freeHigh-freeLow-4*n))
		if err = p.Check(); err == nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("found no block of %d free ports; choose one with --listen. The last attempt failed:\n%w", 4*n+1, err)
}

// PortError is a port that the lab needs and cannot use.
type PortError struct {
	Addr    netip.AddrPort
	Net     string // tcp, udp, or "tcp and udp"
	Purpose string // "board-3 needs it for its public pages"
	Err     error  // from the system
}

// Error returns one line without a remedy; PortErrors adds that once.
func (p *PortError) Error() string {
	proto := ""
	if p.Net != "tcp" {
		proto = " (" + p.Net + ")"
	}
	if isPortTaken(p.Err) {
		return fmt.Sprintf("port %d%s is taken: %s", p.Addr.Port(), proto, p.Purpose)
	}
	return fmt.Sprintf("port %d%s cannot be used (%v): %s", p.Addr.Port(), proto, stripAddress(p.Err), p.Purpose)
}

func (p *PortError) Unwrap() error { return p.Err }

// PortErrors are all ports that a lab needs and cannot use.
type PortErrors []*PortError

// Error returns a line for each port and a remedy, or only one line if the address
// is not this machine's.
func (p PortErrors) Error() string {
	if first := p[0]; isNotLocal(first.Err) {
		return fmt.Sprintf("this machine does not have the address %s; choose one of its own with --listen, such as 127.0.0.1:8080", first.Addr.Addr())
	}
	if len(p) == 1 {
		return p[0].Error() + "; " + p.remedyFor("it")
	}
	var b strings.Builder
	for _, one := range p {
		b.WriteString(one.Error() + "\n")
	}
	b.WriteString(p.remedyFor("them"))
	return b.String()
}

// remedyFor returns what to do about the ports: it or them.
func (p PortErrors) remedyFor(them string) string {
	for _, one := range p {
		switch {
		case errors.Is(one.Err, fs.ErrPermission):
			return "ports below 1024 are reserved for the system: choose higher ones with --listen"
		case !isPortTaken(one.Err):
			return "choose others with --listen (port 0: any free ports)"
		}
	}
	if len(p) == 1 {
		return "stop the program that uses " + them + ", or choose others with --listen"
	}
	return "is another lab running? Stop the program that uses " + them + ", or choose others with --listen (port 0: any free ports)"
}

func (p PortErrors) Unwrap() []error {
	var list []error
	for _, one := range p {
		list = append(list, one)
	}
	return list
}

// Check tries every port of the plan and returns PortErrors for all that cannot be
// used. Another program may still open a port before its board starts. The board
// then logs that and exits, and the lab reports it.
func (p *Plan) Check() error {
	var bad PortErrors
	try := func(addr netip.AddrPort, network, purpose string) {
		err := tryPort(addr, network)
		if err == nil {
			return
		}
		if n := len(bad); n > 0 && bad[n-1].Addr == addr {
			bad[n-1].Net += " and " + network
			return
		}
		bad = append(bad, &PortError{addr, network, purpose, err})
	}
	try(p.Console, "tcp", "the lab needs it for its console")
	for _, b := range p.Boards {
		try(b.HTTP, "tcp", b.Name+" needs it for its public pages")
	}
	for _, b := range p.Boards {
		try(b.Console, "tcp", b.Name+" needs it for its console")
	}
	for _, b := range p.Boards {
		try(b.Gossip, "tcp", b.Name+" needs it for gossip")
		try(b.Gossip, "udp", b.Name+" needs it for gossip")
	}
	for _, b := range p.Boards {
		try(b.Link, "tcp", b.Name+" needs it for the rack link")
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

// stripAddress returns the system's error about an address without the address.
func stripAddress(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

// localURL returns the URL of an address for a browser on this machine.
func localURL(addr netip.AddrPort) string {
	if addr.Addr().IsUnspecified() {
		addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), addr.Port())
	}
	return "http://" + addr.String()
}

// consoleURL returns the URL of a console for this machine: only loopback has plain http.
func consoleURL(addr netip.AddrPort) string {
	if addr.Addr().IsLoopback() {
		return localURL(addr)
	}
	return "https" + strings.TrimPrefix(localURL(addr), "http")
}
