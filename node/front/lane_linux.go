package front

import (
	"net"
	"sync"
	"syscall"
	"unsafe"
)

// vector is the kernel's list of what to write.
type vector struct {
	message syscall.Msghdr
	parts   [maxParts]syscall.Iovec
}

// send writes the first so many parts.
func (v *vector) send(fd uintptr, count int) (int, syscall.Errno) {
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

// batches lends batches to connections that have bytes: as many as run at once.
type batches struct{ pool sync.Pool }

func (b *batches) get() *batch {
	if one, ok := b.pool.Get().(*batch); ok {
		return one
	}
	return new(batch)
}

func (b *batches) put(one *batch) { b.pool.Put(one) }

// rawConn is the socket of a TCP connection, for the lane.
func rawConn(inner net.Conn) syscall.RawConn {
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

// await waits for requests and answers those that it can, until something else
// is to be done. It reports false if the connection is to be closed.
//
// The connection spends its life in this one call as a rule: the runtime's poller
// wakes it when there is something to read, and while there is nothing it holds
// no more than its stack.
func (c *conn) await() bool {
	return c.raw.Read(c.ready) == nil && c.next != stepDrop
}

// ready is called when there may be bytes. It reports false to wait for more.
func (c *conn) ready(fd uintptr) bool {
	b := c.front.batches.get()
	c.front.ruleFor(c, &b.rules)
	c.lease(fd)
	done := c.work(fd, b, glance{})
	c.takeBack()
	c.front.batches.put(b)
	return done
}

// glance is how closely a connection is looked at.
type glance struct {
	last  bool   // its client may have closed its side
	reads int    // at most; 0: as many as there is something for
	early []byte // what has been read already
}

// work reads what is there and answers it. It reports false to wait for more.
func (c *conn) work(fd uintptr, b *batch, g glance) bool {
	have := copy(b.in[:], c.carry)
	if c.again {
		c.again, c.carry = false, nil
		if c.answer(fd, b, &have) {
			return true
		}
	}
	for reads := 1; ; reads++ {
		n, errno := copy(b.in[have:], g.early), syscall.Errno(0)
		if g.early = nil; n == 0 {
			n, errno = c.read(fd, b.in[have:])
		}
		switch {
		case errno == syscall.EAGAIN && phaseOf(c.word.Load()) != phaseBusy:
			return false // nothing has come since
		case errno == syscall.EAGAIN:
			return c.rest(b.in[:have])
		case errno == syscall.EINTR:
			continue
		case errno != 0, n == 0 && have == 0:
			return c.then(stepDrop, nil)
		case n == 0:
			// Half a request is all that will come: net/http knows what to say.
			return c.then(stepGive, b.in[:have])
		}
		if !c.enter(phaseBusy) {
			return c.then(stepDrop, nil)
		}
		full := have+n == len(b.in)
		if have > 0 && !full && endless(b.in[have:have+n]) {
			have += n
			continue
		}
		have += n
		if c.answer(fd, b, &have) {
			return true
		}
		if !full && have == 0 && c.secure == nil && !g.last {
			return c.rest(nil) // the next bytes wake the poller anew
		}
		if reads == g.reads {
			c.hungry = !c.rest(b.in[:have])
			return !c.hungry
		}
		// Within a request another look is cheap, and finds its end if the client
		// has closed its side.
	}
}

// answer answers the requests in b.in[:have] and moves what is left of it to the
// front. It reports true if something else than more bytes is needed.
func (c *conn) answer(fd uintptr, b *batch, have *int) bool {
	p := b.in[:*have]
	for {
		answered, next := b.answer(p, &b.rules)
		p = p[answered:]
		if answered > 0 {
			c.carry = nil // that was a part of what has been answered
		}
		if b.replies > 0 {
			c.front.fast.Add(b.replies)
			b.replies = 0
		}
		if b.count > 0 && !c.write(fd, b) {
			return c.then(stepDrop, nil)
		}
		switch {
		case next == stepLend:
			c.size = b.req.size
			return c.then(stepLend, p)
		case next == stepGive, next == stepClose:
			return c.then(next, p)
		case c.owes():
			return c.then(stepWait, p)
		case next == stepFlush:
			continue
		case len(p) == len(b.in):
			return c.then(stepGive, p) // longer than requests are here
		}
		*have = copy(b.in[:], p)
		return false
	}
}

// then leaves the wait for something else. carry is what has not been answered.
func (c *conn) then(next step, carry []byte) bool {
	c.next = next
	c.carry = append([]byte(nil), carry...)
	return true
}

// rest ends one reading: the connection waits, idle or within a request.
func (c *conn) rest(carry []byte) bool {
	alive := true
	switch {
	case len(carry) == 0:
		alive = c.enter(phaseIdle)
	case len(c.carry) == 0:
		c.since = c.front.table.tick.Load()
		alive = c.front.table.enter(c, phaseHeader, c.since)
	default: // the time runs from its first byte
		alive = c.front.table.enter(c, phaseHeader, c.since)
	}
	if !alive {
		return c.then(stepDrop, nil)
	}
	c.carry = append(c.carry[:0], carry...)
	return false
}

// write sends the replies. What the client does not take now is owed to it. It
// reports false if the client is gone.
func (c *conn) write(fd uintptr, b *batch) bool {
	if c.secure != nil {
		return c.writeSecure(b)
	}
	if b.count == 1 {
		// The kernel takes one piece sooner than a list of one.
		part := b.parts[0]
		if n, errno := sysSend(fd, part); errno == 0 && n == len(part) {
			b.written()
			return true
		} else if errno == 0 {
			b.parts[0] = part[n:]
		}
	}
	left, ok := sendParts(fd, b.pieces(), &b.vector)
	if ok && len(left) > 0 {
		c.owe(left, b)
	}
	b.written()
	return ok
}

// owe keeps what is left of some replies, without the batch that it lies in.
func (c *conn) owe(left [][]byte, b *batch) {
	first, last := uintptr(unsafe.Pointer(&b.heads[0])), uintptr(unsafe.Pointer(&b.heads[headBytes-1]))
	for _, part := range left {
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(part))); b.kept || at >= first && at <= last {
			part = append([]byte(nil), part...)
		}
		c.owed = append(c.owed, part)
	}
}

// recall answers the request at the start of carry from memory, if what it asks
// for has come there while it waited, and says what is to be done next.
func (c *conn) recall() (next step, ok bool) {
	b := c.front.batches.get()
	defer c.front.batches.put(b)
	c.front.ruleFor(c, &b.rules)
	b.rules.limits, b.rules.gate = nil, nil // it has passed them
	answered, next := b.answer(c.carry[:c.size], &b.rules)
	if answered == 0 {
		return next, false
	}
	c.front.fast.Add(b.replies)
	b.replies = 0
	c.carry = c.carry[answered:]
	c.owe(b.pieces(), b)
	b.written()
	return next, true
}

// settle waits until the client has taken what is owed to it, if anything is.
func (c *conn) settle() bool {
	if !c.owes() {
		return true
	}
	if !c.enter(phaseWriting) {
		return false
	}
	alive := false
	var v vector
	err := c.raw.Write(func(fd uintptr) (done bool) {
		if c.secure != nil {
			done, alive = c.settleSecure(fd)
			return done
		}
		c.owed, alive = sendParts(fd, c.owed, &v)
		return !alive || len(c.owed) == 0
	})
	c.owed = nil
	return err == nil && alive && c.enter(phaseBusy)
}

// linger closes this side and waits until the client has closed its own, if it
// may have sent something that was not read: a socket that is closed over that
// takes the reply with it.
func (c *conn) linger() {
	c.farewell()
	if !c.enter(phaseLinger) || closeWrite(c.tcp) != nil {
		return
	}
	// Why it ended is of no interest: all is said.
	_ = c.raw.Read(func(fd uintptr) bool {
		b := c.front.batches.get()
		defer c.front.batches.put(b)
		gone, _ := discard(fd, b, 0)
		return gone
	})
}

// discard reads what nobody wants to know, at most so many times, or until it is
// dry (0). gone is whether the client has closed its side.
func discard(fd uintptr, b *batch, most int) (gone, dry bool) {
	for reads := 1; ; reads++ {
		n, errno := sysRead(fd, b.in[:])
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

// closeSocket closes a descriptor that nobody else has.
func closeSocket(fd int) { syscall.Close(fd) }

// shutDown closes both sides of a socket, which wakes the lookout that has it. If
// it fails, the client has gone, and the lookout knows.
func shutDown(fd int) { _ = syscall.Shutdown(fd, syscall.SHUT_RDWR) }

// halfClosed reports whether the client has closed its side. In one packet with
// its last request that wakes nobody.
func (c *conn) halfClosed() bool {
	c.mu.Lock()
	raw, closed := c.raw, false
	c.mu.Unlock()
	// A lookout is told.
	if raw == nil || raw.Control(func(fd uintptr) { closed = closeWaits(fd) }) != nil {
		return false
	}
	return closed
}

func closeWaits(fd uintptr) bool {
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
func sendParts(fd uintptr, parts [][]byte, v *vector) (left [][]byte, ok bool) {
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

// ended looks whether a client has closed its side, without taking anything of
// what it sent. It reports false to wait on.
func ended(fd uintptr) bool {
	_, gone := peek(fd)
	return gone
}
