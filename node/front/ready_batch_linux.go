package front

import (
	"syscall"
	"time"
)

// Between two system calls a processor loses much of a program from its caches: a first
// Pi has 16 KB for the instructions of kernel and program together, and a virtual machine
// may lose the addresses of its pages. Code that runs once after each system call costs
// several times what it costs in a loop. So an event loop serves the connections that one
// poll reports as one batch: read all, find all memoised replies, revalidate them, send
// all, and then serve the rest one by one. DESIGN.md has the figures.

// readyBytes is the room for a batch's input: one request with a browser's cookies for
// each connection that one poll reports. A connection for which no room is left is served
// with the rest.
const readyBytes = maxEvents << 10

// readyBatch is a batch of connections whose clients have sent something.
type readyBatch struct {
	buffer [readyBytes]byte
	conns  [maxEvents]readyConn
	count  int // of conns
}

type readyConn struct {
	conn            *conn
	fd              uintptr
	maybeHalfClosed bool   // the client may have closed its side
	input           []byte // what was read
	memo            *replyMemo
	reply           []byte // memoised, or a refusal; nil: none
	isLast          bool   // the connection ends with the reply
	sent            int
	errno           syscall.Errno
}

// add adds a connection for which hasNothingPending reports true.
func (b *readyBatch) add(c *conn, maybeHalfClosed bool) {
	b.conns[b.count] = readyConn{conn: c, fd: uintptr(c.fd), maybeHalfClosed: maybeHalfClosed}
	b.count++
}

// hasNothingPending reports whether nothing is left of earlier requests.
func (c *conn) hasNothingPending() bool {
	state := c.currentState()
	return (state == stateIdle || state == stateNew) && len(c.pendingInput) == 0 && !c.hasPendingOutput()
}

// serveReady serves the ready connections, and empties the batch. clock is as for serveOne.
func (l *eventLoop) serveReady(clock time.Duration) {
	conns := l.ready.conns[:l.ready.count]
	l.ready.count = 0
	l.ready.readAll(conns)
	if rules := &l.buffers.rules; !rules.draining {
		l.findMemos(conns)
		l.front.fastReplies.Add(int64(l.buffers.memos.revalidatePending(rules, clock)))
	}
	sendMemos(conns)
	for i := range conns {
		if ready := &conns[i]; len(ready.reply) > 0 && ready.finishReply() == actionDue {
			l.performOrOffload(ready.conn)
			ready.conn = nil
		}
	}
	// From here on memoised replies may change.
	for i := range conns {
		if ready := &conns[i]; ready.conn != nil && (len(ready.reply) == 0 || ready.maybeHalfClosed) {
			l.serveUnanswered(ready, clock)
		}
		conns[i] = readyConn{}
	}
}

// readAll reads what the clients have sent. serveUnanswered handles those that have sent
// nothing.
func (b *readyBatch) readAll(conns []readyConn) {
	used := 0
	for i := range conns {
		if len(b.buffer)-used < maxRequest {
			return
		}
		p := b.buffer[used:][:maxRequest]
		if n, errno := sysRead(conns[i].fd, p); errno == 0 {
			conns[i].input = p[:n:n]
			used += n
		}
	}
}

// findMemos finds memoised replies, and refuses clients beyond their limits.
func (l *eventLoop) findMemos(conns []readyConn) {
	limits, q := l.front.limits, &l.buffers.req.Request
	for i := range conns {
		ready := &conns[i]
		if len(ready.input) == 0 || !ready.conn.enter(stateAnswering) {
			continue
		}
		header := l.buffers.headers.FindRemembered(q, ready.input)
		switch {
		case header == nil, q.Close:
		case !limits.AllowRequest(ready.conn.client):
			ready.reply, ready.isLast = []byte(refusalFor(q.IsHEAD, true)), true
		default:
			ready.memo = l.buffers.memos.of(header)
			ready.memo.pendingUses++
		}
	}
}

func sendMemos(conns []readyConn) {
	for i := range conns {
		if ready := &conns[i]; ready.memo != nil && ready.memo.isValid() {
			ready.reply = ready.memo.bytes
		}
	}
	for i := range conns {
		if ready := &conns[i]; len(ready.reply) > 0 {
			ready.sent, ready.errno = sysSend(ready.fd, ready.reply)
		}
	}
}

// finishReply has the connection wait for input after its reply, in stateIdle, if nothing
// else is due.
func (r *readyConn) finishReply() readResult {
	c, next := r.conn, actionWait
	if r.isLast {
		next = actionClose
	}
	switch {
	case r.errno == 0 && r.sent == len(r.reply):
		if !r.isLast && c.enter(stateIdle) {
			return needsInput
		}
		if !r.isLast {
			next = actionDrop
		}
	case r.errno == 0, r.errno == syscall.EAGAIN, r.errno == syscall.EINTR:
		c.pendingOutput = append(c.pendingOutput, append([]byte(nil), r.reply[max(r.sent, 0):]...))
	default:
		next = actionDrop
	}
	return c.setNext(next, nil)
}

// serveUnanswered serves a connection for which there was no memo, or whose client may
// have gone.
func (l *eventLoop) serveUnanswered(ready *readyConn, clock time.Duration) {
	o := readOptions{maybeHalfClosed: ready.maybeHalfClosed, limitsPassed: ready.memo != nil, maxReads: readsPerTurn}
	if len(ready.reply) == 0 {
		o.alreadyRead = ready.input
	}
	l.serveOne(ready.conn, o, clock)
}
