package front

import (
	"errors"
	"io"
	"syscall"
	"unsafe"
)

// awaitFirst waits until a client has sent something. Until then a connection
// holds no more than one without TLS. It reports false if the client is gone.
func (c *conn) awaitFirst() bool {
	if c.raw == nil {
		return true
	}
	gone := false
	err := c.raw.Read(func(fd uintptr) bool {
		var some bool
		some, gone = peek(fd)
		return some || gone
	})
	return err == nil && !gone
}

// lease gives crypto/tls memory in place of the socket, until it is taken back.
func (c *conn) lease(fd uintptr) {
	if s := c.secure; s != nil {
		one := c.front.ciphers.get()
		one.fd, one.to = fd, copy(one.in[:], s.wire.early)
		s.wire.cipher, s.wire.early = one, nil
	}
}

func (c *conn) takeBack() {
	if s := c.secure; s != nil {
		one := s.wire.cipher
		if len(one.out) > 0 {
			// crypto/tls has answered for itself. If the client is gone, the next
			// read will tell.
			_, _ = s.flush()
		}
		s.wire.cipher, s.wire.early = nil, append([]byte(nil), one.in[one.from:one.to]...)
		c.front.ciphers.put(one)
	}
}

// read gives crypto/tls what the socket has; errDry if it has nothing.
func (c *cipher) read(p []byte) (int, error) {
	for c.from == c.to {
		if c.dry {
			return 0, errDry{}
		}
		n, errno := sysRead(c.fd, c.in[:])
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			c.dry = true
			continue
		case errno != 0:
			return 0, errno
		case n == 0:
			return 0, io.EOF
		}
		// After a short read there is nothing more: what comes later wakes the
		// poller anew.
		c.from, c.to, c.dry = 0, n, n < len(c.in)
	}
	n := copy(p, c.in[c.from:c.to])
	c.from += n
	return n, nil
}

// read reads what the client says, as sysRead does.
func (c *conn) read(fd uintptr, p []byte) (int, syscall.Errno) {
	if c.secure == nil {
		return sysRead(fd, p)
	}
	return c.secure.read(p)
}

func (s *secured) read(p []byte) (int, syscall.Errno) {
	n, err := s.tls.Read(p)
	if _, dry := err.(errDry); dry {
		return 0, syscall.EAGAIN
	}
	var errno syscall.Errno
	switch {
	case n > 0:
		return n, 0 // an error will come again
	case errors.Is(err, io.EOF):
		return 0, 0
	case errors.As(err, &errno):
		return 0, errno
	default:
		// What was wrong has been said to the client: crypto/tls has written it.
		_, _ = s.flush()
		return 0, syscall.EPROTO
	}
}

// push encrypts parts and sends as much as the client takes. It returns those
// that are not encrypted yet; ok is false if the connection is broken. parts is changed.
func (s *secured) push(parts [][]byte) (left [][]byte, ok bool) {
	c := s.wire.cipher
	for {
		for len(parts) > 0 && len(s.unsent) == 0 && len(c.out) < cipherOut {
			n := 0
			for len(parts) > 0 && n < len(c.text) {
				took := copy(c.text[n:], parts[0])
				n += took
				if parts[0] = parts[0][took:]; len(parts[0]) == 0 {
					parts = parts[1:]
				}
			}
			if _, err := s.tls.Write(c.text[:n]); err != nil {
				return nil, false
			}
		}
		all, ok := s.flush()
		if !ok || !all || len(parts) == 0 {
			return parts, ok
		}
	}
}

// flush sends what is encrypted and keeps what the client does not take. all is
// whether it took everything.
func (s *secured) flush() (all, ok bool) {
	c := s.wire.cipher
	// What was kept goes before what was made meanwhile, which is no more than
	// crypto/tls's own few bytes.
	out := c.out
	if len(s.unsent) > 0 {
		out = append(s.unsent, c.out...)
	}
	for len(out) > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, c.fd, uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)))
		switch errno {
		case 0:
			out = out[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			s.unsent = append([]byte(nil), out...)
			c.out = c.out[:0]
			return false, true
		default:
			return false, false
		}
	}
	s.unsent, c.out = nil, c.out[:0]
	return true, true
}

// writeSecure sends the replies of a batch. What the client does not take now is
// owed to it.
func (c *conn) writeSecure(b *batch) bool {
	left, ok := c.secure.push(b.pieces())
	if ok && len(left) > 0 {
		c.owe(left, b)
	}
	b.written()
	return ok
}

// settleSecure sends what is owed. It reports whether that is all, or the client gone.
func (c *conn) settleSecure(fd uintptr) (done, alive bool) {
	c.lease(fd)
	defer c.takeBack()
	c.owed, alive = c.secure.push(c.owed)
	return !alive || !c.owes(), alive
}

// farewell tells a client that this side will say no more.
func (c *conn) farewell() {
	s := c.secure
	if s == nil {
		return
	}
	// Whether it can be said is of no interest: each reply has told its own end.
	_ = c.raw.Control(func(fd uintptr) {
		c.lease(fd)
		defer c.takeBack()
		_ = s.tls.CloseWrite()
		_, _ = s.flush()
	})
}

// endedSecure is ended for TLS, where the last that a client sends says that it
// is the last, and is not taken.
func endedSecure(fd uintptr) bool { return ended(fd) || closeWaits(fd) }

// peek looks whether something has come, or the client has gone, and takes nothing.
func peek(fd uintptr) (some, gone bool) {
	var one [1]byte
	n, errno := receiveFrom(fd, one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	switch errno {
	case 0:
		return n > 0, n == 0
	case syscall.EAGAIN, syscall.EINTR:
		return false, false
	}
	return false, true
}
