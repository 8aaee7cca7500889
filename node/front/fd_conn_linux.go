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
// which of the board's addresses the client used is not needed.
func newFDConn(fd int, from netip.AddrPort, local net.Addr) *fdConn {
	file := os.NewFile(uintptr(fd), "socket")
	// It fails only for a closed file.
	raw, _ := file.SyscallConn()
	return &fdConn{file: file, raw: raw, local: local, remote: net.TCPAddrFromAddrPort(from)}
}

// netError returns an error as package net would, which net/http recognizes.
func (c *fdConn) netError(op string, err error) error {
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
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

func (c *fdConn) Read(p []byte) (int, error) {
	n, err := c.file.Read(p)
	return n, c.netError("read", err)
}

func (c *fdConn) Write(p []byte) (int, error) {
	n, err := c.file.Write(p)
	return n, c.netError("write", err)
}

func (c *fdConn) Close() error { return c.netError("close", c.file.Close()) }

func (c *fdConn) CloseWrite() error {
	var err error
	if closed := c.raw.Control(func(fd uintptr) { err = syscall.Shutdown(int(fd), syscall.SHUT_WR) }); closed != nil {
		err = closed
	}
	return c.netError("close", err)
}

func (c *fdConn) LocalAddr() net.Addr                   { return c.local }
func (c *fdConn) RemoteAddr() net.Addr                  { return c.remote }
func (c *fdConn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

func (c *fdConn) SetDeadline(t time.Time) error { return c.netError("set", c.file.SetDeadline(t)) }
func (c *fdConn) SetReadDeadline(t time.Time) error {
	return c.netError("set", c.file.SetReadDeadline(t))
}
func (c *fdConn) SetWriteDeadline(t time.Time) error {
	return c.netError("set", c.file.SetWriteDeadline(t))
}
