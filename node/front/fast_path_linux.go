package front

import (
	"net"
	"sync"
	"syscall"
	"unsafe"
)

// sendVector is the kernel's list of what to write.
type sendVector struct {
	message syscall.Msghdr
	parts   [maxParts]syscall.Iovec
}

// send writes the first so many parts.
func (v *sendVector) send(fd uintptr, count int) (int, syscall.Errno) {
	v.message.Iov = &v.parts[0]
	setLength(&v.message.Iovlen, count)
	n, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&v.message)), syscall.MSG_NOSIGNAL)
	for i := range v.parts[:count] {
		v.parts[i].Base = nil // hold no page that the store has let go
	}
	return int(n), errno
}

// setLength sets a length that has another type on each processor.
func setLength[T uint32 | uint64](to *T, n int) { *to = T(n) }

// batchPool lends batches to connections that have bytes: as many as run at once.
type batchPool struct{ pool sync.Pool }

func (b *batchPool) get() *replyBatch {
	if one, ok := b.pool.Get().(*replyBatch); ok {
		return one
	}
	return new(replyBatch)
}

func (b *batchPool) put(one *replyBatch) { b.pool.Put(one) }

// rawConnOf is the socket of a TCP connection, for the lane.
func rawConnOf(inner net.Conn) syscall.RawConn {
	tcp, ok := inner.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// serveFastPath waits for requests and answers those that it can, until something else
// is to be done. It reports false if the connection is to be closed.
//
// The connection spends its life in this one call as a rule: the runtime's poller
// wakes it when there is something to read, and while there is nothing it holds
// no more than its stack.
func (c *conn) serveFastPath() bool {
	return c.raw.Read(c.onReadable) == nil && c.next != actionDrop
}

// onReadable is called when there may be bytes. It reports false to wait for more.
func (c *conn) onReadable(fd uintptr) bool {
	b := c.front.batches.get()
	c.front.setConnRules(c, &b.rules)
	c.attachRecords(fd)
	done := c.readAndAnswer(fd, b, readOptions{})
	c.detachRecords()
	c.front.batches.put(b)
	return done
}

// readOptions is how closely a connection is looked at.
type readOptions struct {
	clientMayBeDone bool   // its client may have closed its side
	maxReads        int    // at most; 0: as many as there is something for
	alreadyRead     []byte // what has been read already
}

// readAndAnswer reads what is there and answers it. It reports false to wait for more.
func (c *conn) readAndAnswer(fd uintptr, b *replyBatch, g readOptions) bool {
	have := copy(b.input[:], c.pendingInput)
	if c.replayInput {
		c.replayInput, c.pendingInput = false, nil
		if c.answerInput(fd, b, &have) {
			return true
		}
	}
	for reads := 1; ; reads++ {
		n, errno := copy(b.input[have:], g.alreadyRead), syscall.Errno(0)
		if g.alreadyRead = nil; n == 0 {
			n, errno = c.readInput(fd, b.input[have:])
		}
		switch {
		case errno == syscall.EAGAIN && stateOf(c.state.Load()) != stateAnswering:
			return false // nothing has come since
		case errno == syscall.EAGAIN:
			return c.waitForMore(b.input[:have])
		case errno == syscall.EINTR:
			continue
		case errno != 0, n == 0 && have == 0:
			return c.stopReading(actionDrop, nil)
		case n == 0:
			// Half a request is all that will come: net/http knows what to say.
			return c.stopReading(actionHandOff, b.input[:have])
		}
		if !c.enterState(stateAnswering) {
			return c.stopReading(actionDrop, nil)
		}
		full := have+n == len(b.input)
		if have > 0 && !full && lacksLineEnd(b.input[have:have+n]) {
			have += n
			continue
		}
		have += n
		if c.answerInput(fd, b, &have) {
			return true
		}
		if !full && have == 0 && c.tls == nil && !g.clientMayBeDone {
			return c.waitForMore(nil) // the next bytes wake the poller anew
		}
		if reads == g.maxReads {
			c.queued = !c.waitForMore(b.input[:have])
			return !c.queued
		}
		// Within a request another look is cheap, and finds its end if the client
		// has closed its side.
	}
}

// answerInput answers the requests in b.in[:have] and moves what is left of it to the
// front. It reports true if something else than more bytes is needed.
func (c *conn) answerInput(fd uintptr, b *replyBatch, have *int) bool {
	p := b.input[:*have]
	for {
		answered, next := b.answerRequests(p, &b.rules)
		p = p[answered:]
		if answered > 0 {
			c.pendingInput = nil // that was a part of what has been answered
		}
		if b.replies > 0 {
			c.front.fastReplies.Add(b.replies)
			b.replies = 0
		}
		if b.partCount > 0 && !c.sendReplies(fd, b) {
			return c.stopReading(actionDrop, nil)
		}
		switch {
		case next == actionLend:
			c.lendSize = b.req.size
			return c.stopReading(actionLend, p)
		case next == actionHandOff, next == actionClose:
			return c.stopReading(next, p)
		case c.hasPendingOutput():
			return c.stopReading(actionWait, p)
		case next == actionFlush:
			continue
		case len(p) == len(b.input):
			return c.stopReading(actionHandOff, p) // longer than requests are here
		}
		*have = copy(b.input[:], p)
		return false
	}
}

// stopReading leaves the wait for something else. carry is what has not been answered.
func (c *conn) stopReading(next action, carry []byte) bool {
	c.next = next
	c.pendingInput = append([]byte(nil), carry...)
	return true
}

// waitForMore ends one reading: the connection waits, idle or within a request.
func (c *conn) waitForMore(carry []byte) bool {
	alive := true
	switch {
	case len(carry) == 0:
		alive = c.enterState(stateIdle)
	case len(c.pendingInput) == 0:
		c.readingSince = c.front.conns.sweeps.Load()
		alive = c.front.conns.enterState(c, stateReading, c.readingSince)
	default: // the time runs from its first byte
		alive = c.front.conns.enterState(c, stateReading, c.readingSince)
	}
	if !alive {
		return c.stopReading(actionDrop, nil)
	}
	c.pendingInput = append(c.pendingInput[:0], carry...)
	return false
}

// sendReplies sends the replies. What the client does not take now is owed to it. It
// reports false if the client is gone.
func (c *conn) sendReplies(fd uintptr, b *replyBatch) bool {
	if c.tls != nil {
		return c.sendRepliesTLS(b)
	}
	if b.partCount == 1 {
		// The kernel takes one piece sooner than a list of one.
		part := b.parts[0]
		if n, errno := sysSend(fd, part); errno == 0 && n == len(part) {
			b.clearReplies()
			return true
		} else if errno == 0 {
			b.parts[0] = part[n:]
		}
	}
	left, ok := sendParts(fd, b.unsent(), &b.vector)
	if ok && len(left) > 0 {
		c.savePendingOutput(left, b)
	}
	b.clearReplies()
	return ok
}

// savePendingOutput keeps what is left of some replies, without the batch that it lies in.
func (c *conn) savePendingOutput(left [][]byte, b *replyBatch) {
	first, last := uintptr(unsafe.Pointer(&b.heads[0])), uintptr(unsafe.Pointer(&b.heads[headBytes-1]))
	for _, part := range left {
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(part))); b.hasMemo || at >= first && at <= last {
			part = append([]byte(nil), part...)
		}
		c.pendingOutput = append(c.pendingOutput, part)
	}
}

// recheckMemory answers the request at the start of carry from memory, if what it asks
// for has come there while it waited, and says what is to be done next.
func (c *conn) recheckMemory() (next action, ok bool) {
	b := c.front.batches.get()
	defer c.front.batches.put(b)
	c.front.setConnRules(c, &b.rules)
	b.rules.limits, b.rules.gate = nil, nil // it has passed them
	answered, next := b.answerRequests(c.pendingInput[:c.lendSize], &b.rules)
	if answered == 0 {
		return next, false
	}
	c.front.fastReplies.Add(b.replies)
	b.replies = 0
	c.pendingInput = c.pendingInput[answered:]
	c.savePendingOutput(b.unsent(), b)
	b.clearReplies()
	return next, true
}

// flushPending waits until the client has taken what is owed to it, if anything is.
func (c *conn) flushPending() bool {
	if !c.hasPendingOutput() {
		return true
	}
	if !c.enterState(stateFlushing) {
		return false
	}
	alive := false
	var v sendVector
	err := c.raw.Write(func(fd uintptr) (done bool) {
		if c.tls != nil {
			done, alive = c.flushPendingTLS(fd)
			return done
		}
		c.pendingOutput, alive = sendParts(fd, c.pendingOutput, &v)
		return !alive || len(c.pendingOutput) == 0
	})
	c.pendingOutput = nil
	return err == nil && alive && c.enterState(stateAnswering)
}

// lingerClose closes this side and waits until the client has closed its own, if it
// may have sent something that was not read: a socket that is closed over that
// takes the reply with it.
func (c *conn) lingerClose() {
	c.sendCloseNotify()
	if !c.enterState(stateLingering) || closeWrite(c.socket) != nil {
		return
	}
	// Why it ended is of no interest: all is said.
	_ = c.raw.Read(func(fd uintptr) bool {
		b := c.front.batches.get()
		defer c.front.batches.put(b)
		gone, _ := discardInput(fd, b, 0)
		return gone
	})
}

// discardInput reads what nobody wants to know, at most so many times, or until it is
// dry (0). gone is whether the client has closed its side.
func discardInput(fd uintptr, b *replyBatch, most int) (gone, dry bool) {
	for reads := 1; ; reads++ {
		n, errno := sysRead(fd, b.input[:])
		switch {
		case errno == syscall.EAGAIN:
			return false, true
		case errno == 0 && n > 0, errno == syscall.EINTR:
		default:
			return true, true
		}
		if reads == most {
			return false, false
		}
	}
}

// sysClose closes a descriptor that nobody else has.
func sysClose(fd int) { syscall.Close(fd) }

// sysShutdown closes both sides of a socket, which wakes the lookout that has it. If
// it fails, the client has gone, and the lookout knows.
func sysShutdown(fd int) { _ = syscall.Shutdown(fd, syscall.SHUT_RDWR) }

// isHalfClosed reports whether the client has closed its side. In one packet with
// its last request that wakes nobody.
func (c *conn) isHalfClosed() bool {
	c.mu.Lock()
	raw, closed := c.raw, false
	c.mu.Unlock()
	// A lookout is told.
	if raw == nil || raw.Control(func(fd uintptr) { closed = isInCloseWait(fd) }) != nil {
		return false
	}
	return closed
}

func isInCloseWait(fd uintptr) bool {
	const closeWait = 8 // TCP_CLOSE_WAIT in the kernel's net/tcp_states.h
	// The state is the first byte of struct tcp_info; the kernel gives as
	// much of that as is asked for, and this call asks for four bytes.
	info, err := syscall.GetsockoptInet4Addr(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
	return err == nil && info[0] == closeWait
}

// The calls below never block, so that the scheduler need not hear of them: to
// tell it takes as long as a small read.

func sysRead(fd uintptr, p []byte) (int, syscall.Errno) {
	return receiveFrom(fd, p, 0)
}

func sysSend(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), syscall.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// receiveFrom reads from a socket. read(2) does the same without flags, with more
// of the kernel in between.
func receiveFrom(fd uintptr, p []byte, flags uintptr) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
	return int(n), errno
}

// sendParts writes as much of the parts as the client takes and returns the rest.
// ok is false if the connection is broken. parts is changed.
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

// hasClientEnded looks whether a client has closed its side, without taking anything of
// what it sent. It reports false to wait on.
func hasClientEnded(fd uintptr) bool {
	_, gone := peekInput(fd)
	return gone
}
