//go:build !linux

package front

import (
	"net"
	"syscall"
)

// There is no lane here: net/http serves every connection.

type vector struct{}

type batches struct{}

func rawConn(net.Conn) syscall.RawConn { return nil }

func (c *conn) await() bool { return false }

func (c *conn) settle() bool { return false }

func (c *conn) recall() (step, bool) { return stepDrop, false }

func (c *conn) linger() {}

func (c *conn) halfClosed() bool { return false }

func ended(uintptr) bool { return true }
