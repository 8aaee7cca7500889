package front

import (
	"errors"
	"io"
	"syscall"
	"unsafe"
)

// awaitFirstByte waits until a client has sent something. Until then a connection
// holds no more than one without TLS. It reports false if the client is gone.
func (c *conn) awaitFirstByte() bool {
	if c.raw == nil {
		return true
	}
	gone := false
	err := c.raw.Read(func(fd uintptr) bool {
		var some bool
		some, gone = peekInput(fd)
		return some || gone
	})
	return err == nil && !gone
}

// attachRecords gives crypto/tls memory in place of the socket, until it is taken back.
func (c *conn) attachRecords(fd uintptr) {
	if s := c.tls; s != nil {
		one := c.front.records.get()
		one.fd, one.inEnd = fd, copy(one.in[:], s.transport.earlyInput)
		s.transport.records, s.transport.earlyInput = one, nil
	}
}

func (c *conn) detachRecords() {
	if s := c.tls; s != nil {
		one := s.transport.records
		if len(one.out) > 0 {
			// crypto/tls has answered for itself. If the client is gone, the next
			// read will tell.
			_, _ = s.flushRecords()
		}
		s.transport.records, s.transport.earlyInput = nil, append([]byte(nil), one.in[one.inStart:one.inEnd]...)
		c.front.records.put(one)
	}
}

// readSocket gives crypto/tls what the socket has; errDry if it has nothing.
func (c *recordBuffers) readSocket(p []byte) (int, error) {
	for c.inStart == c.inEnd {
		if c.isDrained {
			return 0, errDrained{}
		}
		n, errno := sysRead(c.fd, c.in[:])
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			c.isDrained = true
			continue
		case errno != 0:
			return 0, errno
		case n == 0:
			return 0, io.EOF
		}
		// After a short read there is nothing more: what comes later wakes the
		// poller anew.
		c.inStart, c.inEnd, c.isDrained = 0, n, n < len(c.in)
	}
	n := copy(p, c.in[c.inStart:c.inEnd])
	c.inStart += n
	return n, nil
}

// readInput reads what the client says, as sysRead does.
func (c *conn) readInput(fd uintptr, p []byte) (int, syscall.Errno) {
	if c.tls == nil {
		return sysRead(fd, p)
	}
	return c.tls.readPlaintext(p)
}

func (s *tlsState) readPlaintext(p []byte) (int, syscall.Errno) {
	n, err := s.tls.Read(p)
	if _, dry := err.(errDrained); dry {
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
		_, _ = s.flushRecords()
		return 0, syscall.EPROTO
	}
}

// encryptAndSend encrypts parts and sends as much as the client takes. It returns those
// that are not encrypted yet; ok is false if the connection is broken. parts is changed.
func (s *tlsState) encryptAndSend(parts [][]byte) (left [][]byte, ok bool) {
	c := s.transport.records
	for {
		for len(parts) > 0 && len(s.unsentRecords) == 0 && len(c.out) < maxRecordsOut {
			n := 0
			for len(parts) > 0 && n < len(c.plaintext) {
				took := copy(c.plaintext[n:], parts[0])
				n += took
				if parts[0] = parts[0][took:]; len(parts[0]) == 0 {
					parts = parts[1:]
				}
			}
			if _, err := s.tls.Write(c.plaintext[:n]); err != nil {
				return nil, false
			}
		}
		all, ok := s.flushRecords()
		if !ok || !all || len(parts) == 0 {
			return parts, ok
		}
	}
}

// flushRecords sends what is encrypted and keeps what the client does not take. all is
// whether it took everything.
func (s *tlsState) flushRecords() (all, ok bool) {
	c := s.transport.records
	// What was kept goes before what was made meanwhile, which is no more than
	// crypto/tls's own few bytes.
	out := c.out
	if len(s.unsentRecords) > 0 {
		out = append(s.unsentRecords, c.out...)
	}
	for len(out) > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, c.fd, uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)))
		switch errno {
		case 0:
			out = out[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			s.unsentRecords = append([]byte(nil), out...)
			c.out = c.out[:0]
			return false, true
		default:
			return false, false
		}
	}
	s.unsentRecords, c.out = nil, c.out[:0]
	return true, true
}

// sendRepliesTLS sends the replies of a batch. What the client does not take now is
// owed to it.
func (c *conn) sendRepliesTLS(b *replyBatch) bool {
	left, ok := c.tls.encryptAndSend(b.unsent())
	if ok && len(left) > 0 {
		c.savePendingOutput(left, b)
	}
	b.clearReplies()
	return ok
}

// flushPendingTLS sends what is owed. It reports whether that is all, or the client gone.
func (c *conn) flushPendingTLS(fd uintptr) (done, alive bool) {
	c.attachRecords(fd)
	defer c.detachRecords()
	c.pendingOutput, alive = c.tls.encryptAndSend(c.pendingOutput)
	return !alive || !c.hasPendingOutput(), alive
}

// sendCloseNotify tells a client that this side will say no more.
func (c *conn) sendCloseNotify() {
	s := c.tls
	if s == nil {
		return
	}
	// Whether it can be said is of no interest: each reply has told its own end.
	_ = c.raw.Control(func(fd uintptr) {
		c.attachRecords(fd)
		defer c.detachRecords()
		_ = s.tls.CloseWrite()
		_, _ = s.flushRecords()
	})
}

// hasTLSClientEnded is ended for TLS, where the last that a client sends says that it
// is the last, and is not taken.
func hasTLSClientEnded(fd uintptr) bool { return hasClientEnded(fd) || isInCloseWait(fd) }

// peekInput looks whether something has come, or the client has gone, and takes nothing.
func peekInput(fd uintptr) (some, gone bool) {
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
