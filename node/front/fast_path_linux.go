package front

import (
	"net"
	"syscall"
	"unsafe"
)

// The fast path reads what a connection has sent, answers it from memory, and sends the
// replies, without waiting for anything. An event loop calls it for a connection that is
// ready; a connection with a goroutine of its own spends its life in serveFastPath.

// serveFastPath waits for requests and answers those that it can, until another action
// is due. It reports false if the connection must be closed.
//
// The connection spends its life in this one call as a rule: the runtime's poller wakes
// it when there is something to read, and while there is nothing it holds no more than
// its stack.
func (c *conn) serveFastPath() bool {
	return c.raw.Read(c.onReadable) == nil && c.next != actionDrop
}

// onReadable is the callback of RawConn.Read: it is called when there may be input, and
// returns false to be called again when there is more.
func (c *conn) onReadable(fd uintptr) bool {
	b := c.front.buffers.Get().(*replyBuffers)
	c.front.setConnRules(c, &b.rules)
	c.attachRecords(fd)
	result := c.readAndAnswer(fd, b, readOptions{})
	c.detachRecords()
	c.front.buffers.Put(b)
	return result == actionDue
}

type readOptions struct {
	maybeHalfClosed bool   // the client may have closed its side
	limitsPassed    bool   // the client's limits have allowed this input
	maxReads        int    // 0: until nothing is left
	alreadyRead     []byte // input that has been read, and is answered first
}

// readAndAnswer reads what has arrived and answers it. Before it returns needsInput, it
// moves the connection to stateIdle or stateReading.
func (c *conn) readAndAnswer(fd uintptr, b *replyBuffers, o readOptions) readResult {
	size := copy(b.input[:], c.pendingInput)
	if size > 0 && c.currentState() == stateAnswering {
		// It was read after a request that took time, and may have whole requests in it.
		c.pendingInput = nil
		if c.answerInput(fd, b, &size) == actionDue {
			return actionDue
		}
	}
	for reads := 1; ; reads++ {
		n, errno := copy(b.input[size:], o.alreadyRead), syscall.Errno(0)
		if o.alreadyRead = nil; n == 0 {
			n, errno = c.readInput(fd, b.input[size:])
		}
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 || n == 0 {
			return c.endReading(b.input[:size], errno)
		}
		if !c.enter(stateAnswering) {
			return c.setNext(actionDrop, nil)
		}
		isFull := size+n == len(b.input)
		if size > 0 && !isFull && lacksLineEnd(b.input[size:size+n]) {
			size += n
			continue
		}
		size += n
		if c.answerInput(fd, b, &size) == actionDue {
			return actionDue
		}
		if !isFull && size == 0 && c.tls == nil && !o.maybeHalfClosed {
			return c.waitForMore(nil) // the next bytes wake the poller again
		}
		if reads == o.maxReads {
			result := c.waitForMore(b.input[:size])
			c.queued = result == needsInput
			return result
		}
		// Within a request another read is cheap, and finds its end if the client has
		// closed its side.
	}
}

// readInput reads what the client has sent, as sysRead does.
func (c *conn) readInput(fd uintptr, p []byte) (int, syscall.Errno) {
	if c.tls == nil {
		return sysRead(fd, p)
	}
	return c.tls.readPlaintext(p)
}

// answerInput answers the requests in b.input[:*size] and moves what is left to its
// beginning.
func (c *conn) answerInput(fd uintptr, b *replyBuffers, size *int) readResult {
	p := b.input[:*size]
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
			return c.setNext(actionDrop, nil)
		}
		switch {
		case next == actionLend:
			c.lendSize, c.lendHost = b.req.Size, string(b.req.Host)
			return c.setNext(actionLend, p)
		case next == actionHandOff, next == actionClose:
			return c.setNext(next, p)
		case c.hasPendingOutput():
			return c.setNext(actionWait, p)
		case next == actionSendFirst:
			continue
		case len(p) == len(b.input):
			return c.setNext(actionHandOff, p) // too long for the fast path
		}
		*size = copy(b.input[:], p)
		return needsInput
	}
}

// sendReplies sends the replies in b. What the client does not take now becomes pending
// output. It reports false if the client has gone.
func (c *conn) sendReplies(fd uintptr, b *replyBuffers) bool {
	if c.tls != nil {
		return c.sendRepliesTLS(b)
	}
	if b.partCount == 1 {
		// The kernel sends one piece faster than a list of one.
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

// savePendingOutput makes what the client has not taken pending output. It copies the
// parts that lie in b or in a memo.
func (c *conn) savePendingOutput(left [][]byte, b *replyBuffers) {
	first, last := uintptr(unsafe.Pointer(&b.heads[0])), uintptr(unsafe.Pointer(&b.heads[headBytes-1]))
	for _, part := range left {
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(part))); b.hasMemo || at >= first && at <= last {
			part = append([]byte(nil), part...)
		}
		c.pendingOutput = append(c.pendingOutput, part)
	}
}

// waitForMore has the connection wait for input, in stateIdle, or in stateReading if rest
// is the beginning of a request. It returns needsInput, unless the sweep has ended the
// connection.
func (c *conn) waitForMore(rest []byte) readResult {
	isAlive := true
	switch {
	case len(rest) == 0:
		isAlive = c.enter(stateIdle)
	case len(c.pendingInput) == 0:
		c.readingSince = c.front.conns.sweeps.Load()
		isAlive = c.enterAsOf(stateReading, c.readingSince)
	default: // the time runs from the request's first byte
		isAlive = c.enterAsOf(stateReading, c.readingSince)
	}
	if !isAlive {
		return c.setNext(actionDrop, nil)
	}
	c.pendingInput = append(c.pendingInput[:0], rest...)
	return needsInput
}

// endReading handles a read that returned no bytes: an error, or 0 for the end of the
// client's side. rest is the beginning of a request.
func (c *conn) endReading(rest []byte, errno syscall.Errno) readResult {
	switch {
	case errno == syscall.EAGAIN && c.currentState() != stateAnswering:
		return needsInput // nothing has arrived since
	case errno == syscall.EAGAIN:
		return c.waitForMore(rest)
	case errno != 0 || len(rest) == 0:
		return c.setNext(actionDrop, nil)
	}
	// No more of this request will arrive: net/http answers that.
	return c.setNext(actionHandOff, rest)
}

// recheckMemory answers the request at the start of pendingInput from memory, if its page
// was stored while it waited for a permit, and returns the action that is due.
func (c *conn) recheckMemory() (next action, ok bool) {
	b := c.front.buffers.Get().(*replyBuffers)
	defer c.front.buffers.Put(b)
	c.front.setConnRules(c, &b.rules)
	b.rules.limits, b.rules.gate = nil, nil // the request has passed both
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

// flushPending waits until the client has taken the pending output, if there is any.
func (c *conn) flushPending() bool {
	if !c.hasPendingOutput() {
		return true
	}
	if !c.enter(stateFlushing) {
		return false
	}
	isAlive := false
	var v sendVector
	err := c.raw.Write(func(fd uintptr) (done bool) {
		if c.tls != nil {
			done, isAlive = c.flushPendingTLS(fd)
			return done
		}
		c.pendingOutput, isAlive = sendParts(fd, c.pendingOutput, &v)
		return !isAlive || len(c.pendingOutput) == 0
	})
	c.pendingOutput = nil
	return err == nil && isAlive && c.enter(stateAnswering)
}

// lingerClose closes this side and waits until the client has closed its own, if it may
// have sent something that was not read: a socket that is closed over unread bytes takes
// the reply with it.
func (c *conn) lingerClose() {
	c.sendCloseNotify()
	if !c.enter(stateLingering) || closeWrite(c.socket) != nil {
		return
	}
	// Why the client's side ends does not matter: the reply is out.
	_ = c.raw.Read(func(fd uintptr) bool {
		b := c.front.buffers.Get().(*replyBuffers)
		defer c.front.buffers.Put(b)
		hasEnded, _ := discardInput(fd, b, 0)
		return hasEnded
	})
}

// discardInput reads and drops input, in at most maxReads reads, or until nothing is left
// (0). hasEnded reports whether the client has closed its side.
func discardInput(fd uintptr, b *replyBuffers, maxReads int) (hasEnded, isExhausted bool) {
	for reads := 1; ; reads++ {
		n, errno := sysRead(fd, b.input[:])
		switch {
		case errno == syscall.EAGAIN:
			return false, true
		case errno == 0 && n > 0, errno == syscall.EINTR:
		default:
			return true, true
		}
		if reads == maxReads {
			return false, false
		}
	}
}

// rawConnOf returns the socket of a TCP connection for the fast path; nil if it has none.
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
