//go:build !linux

package front

import (
	"net"
	"net/netip"
	"syscall"
)

// There is no lane here: net/http serves every connection.

type vector struct{}

type batches struct{}

type lookout struct{}

func (l *lookout) add(*conn, int) bool { return false }

func (l *lookout) forget(int) {}

func (f *Front) lookOut() error { return nil }

func (f *Front) lookIn() {}

func (f *Front) newAcceptor() (acceptor, error) { return netAcceptor{f.listener}, nil }

func newSocket(int, netip.AddrPort, net.Addr) net.Conn { return nil }

func closeSocket(int) {}

func shutDown(int) {}

func rawConn(net.Conn) syscall.RawConn { return nil }

func (c *conn) await() bool { return false }

func (c *conn) settle() bool { return false }

func (c *conn) recall() (step, bool) { return stepDrop, false }

func (c *conn) linger() {}

func (c *conn) halfClosed() bool { return false }

func (c *conn) unread() bool { return false }

func ended(uintptr) bool { return true }

// lastCall does nothing: who waits in the backlog is reset when it is closed.
func (f *Front) lastCall() {}
