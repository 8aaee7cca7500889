package front

import (
	"syscall"
	"unsafe"
)

// The calls in this file never block, so that they need not pass through the scheduler,
// which takes as long as a small read.

func sysRead(fd uintptr, p []byte) (int, syscall.Errno) {
	return sysReceive(fd, p, 0)
}

func sysSend(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), syscall.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// sysReceive reads from a socket. read(2) does the same without flags, with more of the
// kernel in between.
func sysReceive(fd uintptr, p []byte, flags uintptr) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
	return int(n), errno
}

// sysClose closes a descriptor that only the caller has.
func sysClose(fd int) { syscall.Close(fd) }

// sysShutdown closes both sides of a socket, which wakes the event loop that has it. If
// it fails, the client has gone, and the event loop has noticed.
func sysShutdown(fd int) { _ = syscall.Shutdown(fd, syscall.SHUT_RDWR) }

// sendVector is the kernel's list of what to send.
type sendVector struct {
	message syscall.Msghdr
	parts   [maxParts]syscall.Iovec
}

func (v *sendVector) send(fd uintptr, count int) (int, syscall.Errno) {
	v.message.Iov = &v.parts[0]
	setLength(&v.message.Iovlen, count)
	n, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&v.message)), syscall.MSG_NOSIGNAL)
	for i := range v.parts[:count] {
		v.parts[i].Base = nil // hold no page that the store has dropped
	}
	return int(n), errno
}

// setLength sets a length whose type depends on the processor.
func setLength[T uint32 | uint64](to *T, n int) { *to = T(n) }

// sendParts sends as much of the parts as the client takes and returns the rest. ok is
// false if the connection is broken. parts is changed.
func sendParts(fd uintptr, parts [][]byte, v *sendVector) (left [][]byte, ok bool) {
	for len(parts) > 0 {
		count := min(len(parts), maxParts)
		for i, part := range parts[:count] {
			v.parts[i].Base = &part[0]
			v.parts[i].SetLen(len(part))
		}
		n, errno := v.send(fd, count)
		switch errno {
		case 0:
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return parts, true
		default:
			return nil, false
		}
		for n > 0 {
			if taken := min(n, len(parts[0])); taken < len(parts[0]) {
				parts[0] = parts[0][taken:]
				break
			} else {
				n -= taken
				parts = parts[1:]
			}
		}
	}
	return nil, true
}

// peekInput reports whether something has arrived, or the client has closed its side,
// and reads nothing.
func peekInput(fd uintptr) (hasInput, hasEnded bool) {
	var next [1]byte
	n, errno := sysReceive(fd, next[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	switch errno {
	case 0:
		return n > 0, n == 0
	case syscall.EAGAIN, syscall.EINTR:
		return false, false
	}
	return false, true
}

// hasClientEnded reports whether the client has closed its side, and reads nothing.
func hasClientEnded(fd uintptr) bool {
	_, hasEnded := peekInput(fd)
	return hasEnded
}

// hasTLSClientEnded is hasClientEnded for TLS, where the client's last record says that
// it is the last, and is not read.
func hasTLSClientEnded(fd uintptr) bool { return hasClientEnded(fd) || isInCloseWait(fd) }

// isInCloseWait reports whether the kernel has received the client's FIN.
func isInCloseWait(fd uintptr) bool {
	const closeWait = 8 // TCP_CLOSE_WAIT in the kernel's net/tcp_states.h
	// The state is the first byte of struct tcp_info; the kernel returns as much of that as
	// is requested, and this call requests four bytes.
	info, err := syscall.GetsockoptInet4Addr(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
	return err == nil && info[0] == closeWait
}

// isHalfClosed reports whether the client has closed its side. If it did so in the packet
// of its last request, the runtime's poller has not reported it.
func (c *conn) isHalfClosed() bool {
	c.mu.Lock()
	raw, closed := c.raw, false
	c.mu.Unlock()
	// An event loop learns it from EPOLLRDHUP.
	if raw == nil || raw.Control(func(fd uintptr) { closed = isInCloseWait(fd) }) != nil {
		return false
	}
	return closed
}

// hasUnread reports whether the client has sent something that has not been read.
func (c *conn) hasUnread() (unread bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket == nil && c.fd >= 0 {
		unread, _ = peekInput(uintptr(c.fd))
	} else if c.raw != nil && c.raw.Control(func(fd uintptr) { unread, _ = peekInput(fd) }) != nil {
		return false // closed
	}
	return unread
}
