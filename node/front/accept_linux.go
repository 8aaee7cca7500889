package front

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
)

// fdAcceptor accepts descriptors, which an event loop can serve.
type fdAcceptor struct {
	file *os.File
	raw  syscall.RawConn
}

// newAcceptor returns an acceptor of bare descriptors if there is a fast path to serve
// them, otherwise package net's.
func (f *Front) newAcceptor() (connAcceptor, error) {
	tcp, ok := f.listener.(*net.TCPListener)
	if !ok || f.cfg.FastHandler == nil {
		return netAcceptor{f.listener}, nil
	}
	file, err := tcp.File()
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	// The sockets that it accepts inherit this: a reply goes out whole at once.
	_ = raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) })
	if err != nil {
		file.Close()
		return nil, err
	}
	return &fdAcceptor{file, raw}, nil
}

func (a *fdAcceptor) acceptConn() (accepted arrival, err error) {
	closed := a.raw.Read(func(listening uintptr) bool {
		var from syscall.Sockaddr
		for {
			accepted.fd, from, err = syscall.Accept4(int(listening), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
			switch err {
			case nil:
				accepted.address = addressOfSockaddr(from)
				return true
			case syscall.EINTR, syscall.ECONNABORTED:
				continue // another may be waiting
			}
			return err != syscall.EAGAIN
		}
	})
	if closed != nil {
		return arrival{}, net.ErrClosed
	}
	return accepted, err
}

// Close ends acceptConn.
func (a *fdAcceptor) Close() error { return a.file.Close() }

func addressOfSockaddr(from syscall.Sockaddr) netip.AddrPort {
	switch a := from.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		address := netip.AddrFrom16(a.Addr).Unmap()
		if a.ZoneId != 0 {
			address = address.WithZone(strconv.FormatUint(uint64(a.ZoneId), 10))
		}
		return netip.AddrPortFrom(address, uint16(a.Port))
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}
