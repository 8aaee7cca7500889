//go:build !linux

package front

import (
	"net"
	"net/netip"
	"syscall"
)

// There is no fast path on these systems: net/http serves every connection, and
// crypto/tls has every socket.

type sendVector struct{}

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

// drainBacklog does nothing: clients in the backlog are reset when it is closed.
func (f *Front) drainBacklog() {}

func (c *conn) awaitFirstByte() bool { return true }

func (r *recordBuffers) readSocket([]byte) (int, error) { return 0, errNoInput{} }

func hasTLSClientEnded(uintptr) bool { return true }
