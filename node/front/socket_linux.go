package front

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
)

// fdConn is a connection that was accepted without package net, for whoever waits
// for its client: the runtime's poller has it from now on.
type fdConn struct {
	file          *os.File
	raw           syscall.RawConn
	local, remote net.Addr
}

// newFDConn takes a descriptor that does not block over. local is the listener's
// address: nobody here asks through which of a board's addresses a client came.
func newFDConn(fd int, from netip.AddrPort, local net.Addr) *fdConn {
	file := os.NewFile(uintptr(fd), "socket")
	// It fails for no file that is open.
	raw, _ := file.SyscallConn()
	return &fdConn{file: file, raw: raw, local: local, remote: net.TCPAddrFromAddrPort(from)}
}

// netError is an error as package net would tell it, which net/http looks for.
func (s *fdConn) netError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: "tcp", Source: s.local, Addr: s.remote, Err: err}
}

func (s *fdConn) Read(p []byte) (int, error) {
	n, err := s.file.Read(p)
	return n, s.netError("read", err)
}

func (s *fdConn) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	return n, s.netError("write", err)
}

// Close closes the descriptor.
func (s *fdConn) Close() error { return s.netError("close", s.file.Close()) }

// CloseWrite closes this side.
func (s *fdConn) CloseWrite() error {
	var err error
	if closed := s.raw.Control(func(fd uintptr) { err = syscall.Shutdown(int(fd), syscall.SHUT_WR) }); closed != nil {
		err = closed
	}
	return s.netError("close", err)
}

func (s *fdConn) LocalAddr() net.Addr                   { return s.local }
func (s *fdConn) RemoteAddr() net.Addr                  { return s.remote }
func (s *fdConn) SyscallConn() (syscall.RawConn, error) { return s.raw, nil }

func (s *fdConn) SetDeadline(t time.Time) error { return s.netError("set", s.file.SetDeadline(t)) }
func (s *fdConn) SetReadDeadline(t time.Time) error {
	return s.netError("set", s.file.SetReadDeadline(t))
}
func (s *fdConn) SetWriteDeadline(t time.Time) error {
	return s.netError("set", s.file.SetWriteDeadline(t))
}

// hasUnread reports whether the client has sent something that nobody has read.
func (c *conn) hasUnread() (some bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket == nil && c.fd >= 0 {
		some, _ = peekInput(uintptr(c.fd))
	} else if c.raw != nil && c.raw.Control(func(fd uintptr) { some, _ = peekInput(fd) }) != nil {
		return false // closed
	}
	return some
}

// fdAcceptor accepts descriptors, which a lookout can take.
type fdAcceptor struct {
	file *os.File
	raw  syscall.RawConn
}

// newAcceptor accepts what the lane is to serve as bare descriptors.
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

func (b *fdAcceptor) acceptConn() (one arrival, err error) {
	closed := b.raw.Read(func(listening uintptr) bool {
		var from syscall.Sockaddr
		for {
			one.fd, from, err = syscall.Accept4(int(listening), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
			switch err {
			case nil:
				one.address = addressOfSockaddr(from)
				return true
			case syscall.EINTR, syscall.ECONNABORTED:
				continue // another may wait
			}
			return err != syscall.EAGAIN
		}
	})
	if closed != nil {
		return arrival{}, net.ErrClosed
	}
	return one, err
}

// Close ends accept.
func (b *fdAcceptor) Close() error { return b.file.Close() }

// addressOfSockaddr is a client's address and port.
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
