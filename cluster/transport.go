package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"bramble/cluster/unproven"
)

// maxGossipStream bounds the bytes that a stream may send. memberlist reads up to 20 MB before it
// authenticates, which is a tenth of a board's memory; a rack of 1,000 boards needs half a megabyte.
const maxGossipStream = 1 << 20

var errStreamTooLong = errors.New("gossip stream is larger than any rack's state")

// gossipTransport is memberlist's network transport with limits for strangers, and with dials that end with
// the context. It delivers nothing before deliver is called. memberlist listens before it knows its own board; if
// gossip about an earlier life of the board came in between, the board would take over that state, dead and with
// the old metadata (memberlist 0.7, setAlive).
type gossipTransport struct {
	*memberlist.NetTransport
	ctx      context.Context
	unproven *unproven.Connections
	packets  chan *memberlist.Packet
	streams  chan net.Conn
	inbound  sync.Map // of incoming streams, by remote address

	stop    sync.Once
	ready   chan struct{} // closed by deliver
	closing chan struct{} // closed when memberlist accepts no more packets and streams
	done    chan struct{} // closed when the listeners have stopped
	wg      sync.WaitGroup
}

// newTransport listens on bind. Port 0 is a free port, the same for TCP and UDP.
func newTransport(ctx context.Context, bind netip.AddrPort, waiting *unproven.Connections, logger *log.Logger) (*gossipTransport, error) {
	const portTries = 10 // a port that is free for TCP may be taken for UDP
	config := &memberlist.NetTransportConfig{
		BindAddrs: []string{bind.Addr().String()},
		BindPort:  int(bind.Port()),
		Logger:    logger,
	}
	inner, err := memberlist.NewNetTransport(config)
	for try := 1; err != nil && bind.Port() == 0 && try < portTries; try++ {
		inner, err = memberlist.NewNetTransport(config)
	}
	if err != nil {
		return nil, fmt.Errorf("gossip: listen on %s: %w", bind, err)
	}
	t := &gossipTransport{
		NetTransport: inner,
		ctx:          ctx,
		unproven:     waiting,
		packets:      make(chan *memberlist.Packet),
		streams:      make(chan net.Conn),
		ready:        make(chan struct{}),
		closing:      make(chan struct{}),
		done:         make(chan struct{}),
	}
	t.wg.Go(t.relayInbound)
	return t, nil
}

// deliver begins to deliver what arrives, and what has arrived. It is called once.
func (t *gossipTransport) deliver() { close(t.ready) }

// relayInbound passes packets and streams on, once deliver is called. It reads until Shutdown has stopped the
// listeners, which wait until what they received last is read.
func (t *gossipTransport) relayInbound() {
	select {
	case <-t.ready:
	case <-t.closing:
	}
	for {
		select {
		case packet := <-t.NetTransport.PacketCh():
			select {
			case t.packets <- packet:
			case <-t.closing:
			}
		case conn := <-t.NetTransport.StreamCh():
			from, proved := conn.RemoteAddr().String(), t.unproven.Add(conn)
			bounded := &boundedConn{Conn: conn, left: maxGossipStream, proved: proved, onClose: func() {
				t.inbound.Delete(from)
				proved()
			}}
			t.inbound.Store(from, bounded)
			select {
			case t.streams <- bounded:
			case <-t.closing:
				bounded.Close()
			}
		case <-t.done:
			return
		}
	}
}

// streamLog is memberlist's log. memberlist answers a stream that it cannot read or decrypt with a sealed error,
// after a line about it: the line mutes the stream, so that a stranger gets nothing but a close.
type streamLog struct {
	io.Writer
	transport *gossipTransport
}

func (l streamLog) Write(line []byte) (int, error) {
	if at := bytes.LastIndex(line, []byte("from=")); at >= 0 && bytes.Contains(line[:at], []byte("failed to receive: ")) {
		if stream, ok := l.transport.inbound.Load(string(bytes.TrimSpace(line[at+len("from="):]))); ok {
			stream.(*boundedConn).muted.Store(true)
		}
	}
	return l.Writer.Write(line)
}

func (t *gossipTransport) PacketCh() <-chan *memberlist.Packet { return t.packets }

func (t *gossipTransport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown closes the listeners and waits for their goroutines. It may be called again.
func (t *gossipTransport) Shutdown() error {
	var err error
	t.stop.Do(func() {
		close(t.closing)
		err = t.NetTransport.Shutdown()
		close(t.done)
	})
	t.wg.Wait()
	return err
}

// DialAddressTimeout connects to a, for at most timeout and not past the end of the board's context.
func (t *gossipTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(t.ctx, "tcp", a.Addr)
	if err != nil {
		return nil, err
	}
	return &boundedConn{Conn: conn, left: maxGossipStream, proved: func() {}, onClose: func() {}}, nil
}

// boundedConn limits the bytes that can be read. While it is muted, it sends nothing. Otherwise memberlist writes
// only to a caller whose message it could decrypt.
type boundedConn struct {
	net.Conn
	muted   atomic.Bool
	proved  func() // called by each write
	left    int64  // bytes; used by the one goroutine that reads
	close   sync.Once
	onClose func()
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errStreamTooLong
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

func (c *boundedConn) Write(p []byte) (int, error) {
	if c.muted.Load() {
		return len(p), nil
	}
	c.proved()
	return c.Conn.Write(p)
}

func (c *boundedConn) Close() error {
	c.close.Do(c.onClose)
	return c.Conn.Close()
}

// hostAddress returns the address of this machine that other boards can most likely reach: a private IPv4
// address, else a link-local one (boards on a bare switch), else any other; IPv6 only without IPv4. ok is
// false if the machine has only loopback addresses.
func hostAddress() (best netip.Addr, ok bool) {
	rank := func(a netip.Addr) int {
		switch {
		case a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.Is6() && a.IsLinkLocalUnicast():
			return 0
		case a.Is6():
			return 1
		case a.IsPrivate():
			return 4
		case a.IsLinkLocalUnicast():
			return 3
		}
		return 2
	}
	for _, a := range hostAddresses() {
		if rank(a) > 0 && (!ok || rank(a) > rank(best)) {
			best, ok = a, true
		}
	}
	return best, ok
}

// hostAddresses lists the addresses of the interfaces that are up, in their order.
func hostAddresses() (all []netip.Addr) {
	for _, addresses := range addressesOf(net.FlagUp) {
		all = append(all, addresses...)
	}
	return all
}

// addressesOf yields the interfaces that have all of these flags, with their addresses.
func addressesOf(required net.Flags) iter.Seq2[net.Interface, []netip.Addr] {
	return func(yield func(net.Interface, []netip.Addr) bool) {
		interfaces, _ := net.Interfaces() // if they cannot be listed, there are none
		for _, i := range interfaces {
			listed, err := i.Addrs()
			if err != nil || i.Flags&required != required {
				continue
			}
			var addresses []netip.Addr
			for _, a := range listed {
				if p, err := netip.ParsePrefix(a.String()); err == nil {
					addresses = append(addresses, p.Addr().Unmap())
				}
			}
			if !yield(i, addresses) {
				return
			}
		}
	}
}
