package front

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// fdConn is the net.Conn of a connection that was accepted without package net: the
// runtime's poller has it from now on.
type fdConn struct {
	file          *os.File
	raw           syscall.RawConn
	local, remote net.Addr
}

// newFDConn takes over a descriptor that does not block. local is the listener's address:
// through which of a board's addresses a client came is of no use here.
func newFDConn(fd int, from netip.AddrPort, local net.Addr) *fdConn {
	file := os.NewFile(uintptr(fd), "socket")
	// It fails for no file that is open.
	raw, _ := file.SyscallConn()
	return &fdConn{file: file, raw: raw, local: local, remote: net.TCPAddrFromAddrPort(from)}
}

// netError returns an error as package net would, which net/http recognizes.
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
