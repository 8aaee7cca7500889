//go:build !linux

package front

import (
	"net"
	"net/netip"
	"syscall"
)

// There is no lane here: net/http serves every connection.

type sendVector struct{}

type batchPool struct{}

type eventLoop struct{}

func (l *eventLoop) attach(*conn, int) bool { return false }

func (l *eventLoop) detach(int) {}

func (f *Front) startEventLoops() error { return nil }

func (f *Front) stopEventLoops() {}

func (f *Front) newAcceptor() (connAcceptor, error) { return netAcceptor{f.listener}, nil }

func newFDConn(int, netip.AddrPort, net.Addr) net.Conn { return nil }

func sysClose(int) {}

func sysShutdown(int) {}

func rawConnOf(net.Conn) syscall.RawConn { return nil }

func (c *conn) serveFastPath() bool { return false }

func (c *conn) flushPending() bool { return false }

func (c *conn) recheckMemory() (action, bool) { return actionDrop, false }

func (c *conn) lingerClose() {}

func (c *conn) isHalfClosed() bool { return false }

func (c *conn) hasUnread() bool { return false }

func hasClientEnded(uintptr) bool { return true }

// drainBacklog does nothing: who waits in the backlog is reset when it is closed.
func (f *Front) drainBacklog() {}
