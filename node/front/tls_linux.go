package front

import (
	"errors"
	"io"
	"syscall"
	"unsafe"
)

// awaitFirstByte waits until a client has sent something. Until then a connection holds
// no more memory than one without TLS. It reports false if the client has gone.
func (c *conn) awaitFirstByte() bool {
	if c.raw == nil {
		return true
	}
	hasEnded := false
	err := c.raw.Read(func(fd uintptr) bool {
		var hasInput bool
		hasInput, hasEnded = peekInput(fd)
		return hasInput || hasEnded
	})
	return err == nil && !hasEnded
}

// attachRecords replaces the socket by memory for crypto/tls, until detachRecords.
func (c *conn) attachRecords(fd uintptr) {
	if s := c.tls; s != nil {
		records := c.front.records.Get().(*recordBuffers)
		records.fd, records.inEnd = fd, copy(records.in[:], s.transport.earlyInput)
		s.transport.records, s.transport.earlyInput = records, nil
	}
}

// detachRecords replaces the memory by the socket again.
func (c *conn) detachRecords() {
	if s := c.tls; s != nil {
		records := s.transport.records
		if len(records.out) > 0 {
			// crypto/tls has written something of its own. If the client has gone, the next
			// read reports it.
			_, _ = s.flushRecords()
		}
		s.transport.records, s.transport.earlyInput = nil, append([]byte(nil), records.in[records.inStart:records.inEnd]...)
		records.inStart, records.inEnd, records.isExhausted, records.out = 0, 0, false, records.out[:0]
		c.front.records.Put(records)
	}
}

// readSocket reads what the socket has for crypto/tls; errNoInput if it has nothing.
func (r *recordBuffers) readSocket(p []byte) (int, error) {
	for r.inStart == r.inEnd {
		if r.isExhausted {
			return 0, errNoInput{}
		}
		n, errno := sysRead(r.fd, r.in[:])
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			r.isExhausted = true
			continue
		case errno != 0:
			return 0, errno
		case n == 0:
			return 0, io.EOF
		}
		// After a short read there is nothing more: what arrives later wakes the poller again.
		r.inStart, r.inEnd, r.isExhausted = 0, n, n < len(r.in)
	}
	n := copy(p, r.in[r.inStart:r.inEnd])
	r.inStart += n
	return n, nil
}

// readPlaintext reads what the client has sent, as sysRead does.
func (s *tlsState) readPlaintext(p []byte) (int, syscall.Errno) {
	n, err := s.conn.Read(p)
	if _, hasNoInput := err.(errNoInput); hasNoInput {
		return 0, syscall.EAGAIN
	}
	var errno syscall.Errno
	switch {
	case n > 0:
		return n, 0 // an error is returned again
	case errors.Is(err, io.EOF):
		return 0, 0
	case errors.As(err, &errno):
		return 0, errno
	default:
		// crypto/tls has written an alert for the client.
		_, _ = s.flushRecords()
		return 0, syscall.EPROTO
	}
}

// encryptAndSend encrypts parts and sends as much as the client takes. It returns the
// parts that are not encrypted yet; ok is false if the connection is broken. parts is
// changed.
func (s *tlsState) encryptAndSend(parts [][]byte) (left [][]byte, ok bool) {
	records := s.transport.records
	for {
		for len(parts) > 0 && len(s.unsentRecords) == 0 && len(records.out) < maxRecordsOut {
			n := 0
			for len(parts) > 0 && n < len(records.plaintext) {
				took := copy(records.plaintext[n:], parts[0])
				n += took
				if parts[0] = parts[0][took:]; len(parts[0]) == 0 {
					parts = parts[1:]
				}
			}
			if _, err := s.conn.Write(records.plaintext[:n]); err != nil {
				return nil, false
			}
		}
		sentAll, ok := s.flushRecords()
		if !ok || !sentAll || len(parts) == 0 {
			return parts, ok
		}
	}
}

// flushRecords sends the ciphertext, and what the client does not take becomes
// unsentRecords. sentAll reports whether it took everything.
func (s *tlsState) flushRecords() (sentAll, ok bool) {
	records := s.transport.records
	// The unsent records go first. What was encrypted since is no more than a few bytes of
	// crypto/tls's own.
	out := records.out
	if len(s.unsentRecords) > 0 {
		out = append(s.unsentRecords, records.out...)
	}
	for len(out) > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, records.fd, uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)))
		switch errno {
		case 0:
			out = out[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			s.unsentRecords = append([]byte(nil), out...)
			records.out = records.out[:0]
			return false, true
		default:
			return false, false
		}
	}
	s.unsentRecords, records.out = nil, records.out[:0]
	return true, true
}

func (c *conn) sendRepliesTLS(b *replyBuffers) bool {
	left, ok := c.tls.encryptAndSend(b.unsent())
	if ok && len(left) > 0 {
		c.savePendingOutput(left, b)
	}
	b.clearReplies()
	return ok
}

// flushPendingTLS sends the pending output. done reports whether that is all, or the
// client has gone.
func (c *conn) flushPendingTLS(fd uintptr) (done, isAlive bool) {
	c.attachRecords(fd)
	defer c.detachRecords()
	c.pendingOutput, isAlive = c.tls.encryptAndSend(c.pendingOutput)
	return !isAlive || !c.hasPendingOutput(), isAlive
}

// sendCloseNotify sends close_notify, if the connection speaks TLS.
func (c *conn) sendCloseNotify() {
	s := c.tls
	if s == nil {
		return
	}
	// Whether it can be sent does not matter: each reply has marked its own end.
	_ = c.raw.Control(func(fd uintptr) {
		c.attachRecords(fd)
		defer c.detachRecords()
		_ = s.conn.CloseWrite()
		_, _ = s.flushRecords()
	})
}
