package front

import "syscall"

// An action that takes time (a client that does not read, net/http) is performed on a
// goroutine of its own: the connection leaves its event loop, is offloaded, and comes
// back when only waiting for its client is left.

// runOffloaded performs the actions that are due, and brings the connection back to its
// event loop.
func (c *conn) runOffloaded() {
	c.mu.Lock()
	socket := newFDConn(c.fd, c.address, c.front.Addr())
	c.socket, c.raw, c.fd = socket, socket.raw, -1
	c.mu.Unlock()
	for c.performNext() {
		if c.resume() == actionDue {
			if c.next == actionDrop {
				c.closeAndRemove()
				return
			}
			continue
		}
		if !c.reattach() {
			c.serveOnGoroutine() // from now on: no descriptor is left, or the sweep has closed it
		} else if !c.loop.attach(c, c.fd) {
			c.closeAndRemove()
		}
		return
	}
}

// resume answers what was read meanwhile, and has the connection wait for input.
func (c *conn) resume() readResult {
	if len(c.pendingInput) == 0 {
		return c.waitForMore(nil)
	}
	return c.resumeInput()
}

// resumeInput answers the rest of what was read, and what has arrived since.
func (c *conn) resumeInput() readResult {
	done := false
	if c.raw.Control(func(fd uintptr) { done = c.onReadable(fd) }) != nil {
		return c.setNext(actionDrop, nil)
	}
	return readResult(done)
}

// reattach takes the socket from the runtime's poller, by a second descriptor.
func (c *conn) reattach() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	fd, errno := uintptr(0), syscall.EBADF
	// If the socket is closed, errno stays EBADF.
	_ = c.raw.Control(func(from uintptr) {
		fd, _, errno = syscall.RawSyscall(syscall.SYS_FCNTL, from, syscall.F_DUPFD_CLOEXEC, 0)
	})
	if errno != 0 {
		return false
	}
	c.socket.Close()
	c.socket, c.raw, c.fd = nil, nil, int(fd)
	return true
}
