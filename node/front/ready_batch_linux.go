package front

import (
	"syscall"
	"time"
)

// Between two system calls a processor loses much of a program from its caches: a first
// Pi has 16 KB for the instructions of kernel and program together, and a virtual
// machine may lose the addresses of its pages. A step after a system call costs several
// times what it costs when it is repeated. So an event loop serves the connections that
// one poll reports in phases, as one batch: read all, look up all memoised replies,
// revalidate them, send all, and then handle the rest one by one. DESIGN.md has the
// figures.

// readyBytes is the room for input of a batch: for as many requests as one poll reports,
// with a browser's cookies. A connection that does not find room is handled with the
// rest.
const readyBytes = maxEvents << 10

// readyBatch is a batch of connections whose clients have sent something.
type readyBatch struct {
	buffer [readyBytes]byte
	conns  [maxEvents]readyConn
	count  int // of conns
}

// readyConn is one of them.
type readyConn struct {
	conn            *conn
	fd              uintptr
	clientMayBeDone bool   // the client may have closed its side
	input           []byte // what was read
	memo            *replyMemo
	reply           []byte // memoised, or a refusal; nil: none
	isLast          bool   // the connection ends with the reply
	sent            int
	errno           syscall.Errno
}

// add adds a connection that isIdleClean.
func (w *readyBatch) add(c *conn, clientMayBeDone bool) {
	w.conns[w.count] = readyConn{conn: c, fd: uintptr(c.fd), clientMayBeDone: clientMayBeDone}
	w.count++
}

// isIdleClean reports whether nothing is left of earlier requests.
func (c *conn) isIdleClean() bool {
	state := c.currentState()
	return (state == stateIdle || state == stateNew) && len(c.pendingInput) == 0 && !c.hasPendingOutput()
}

// serveReady serves the ready connections, and empties the batch. at is as for serveOne.
func (l *eventLoop) serveReady(at time.Duration) {
	conns := l.ready.conns[:l.ready.count]
	l.ready.count = 0
	l.ready.readAll(conns)
	if r := &l.batch.rules; !r.draining {
		l.findMemos(conns)
		r.at = at
		l.front.fastReplies.Add(int64(l.batch.memos.revalidatePending(r)))
	}
	sendMemos(conns)
	for i := range conns {
		if one := &conns[i]; len(one.reply) > 0 && one.finishReply() {
			l.performNext(one.conn)
			one.conn = nil
		}
	}
	// From here on memoised replies may change.
	for i := range conns {
		if one := &conns[i]; one.conn != nil && (len(one.reply) == 0 || one.clientMayBeDone) {
			l.serveUnanswered(one, at)
		}
		conns[i] = readyConn{}
	}
}

// readAll reads what the clients have sent. A client that has sent nothing is found out
// by serveUnanswered.
func (w *readyBatch) readAll(conns []readyConn) {
	used := 0
	for i := range conns {
		if len(w.buffer)-used < maxRequest {
			return
		}
		p := w.buffer[used:][:maxRequest]
		if n, errno := sysRead(conns[i].fd, p); errno == 0 {
			conns[i].input = p[:n:n]
			used += n
		}
	}
}

// findMemos looks up memoised replies, and refuses clients that are over their limits.
func (l *eventLoop) findMemos(conns []readyConn) {
	r, q := &l.batch.rules, &l.batch.req.Request
	for i := range conns {
		one := &conns[i]
		if len(one.input) == 0 || !one.conn.enter(stateAnswering) {
			continue
		}
		header := l.batch.headers.FindRemembered(q, one.input)
		switch {
		case header == nil, q.Close:
		case !r.limits.AllowRequest(one.conn.client):
			one.reply, one.isLast = []byte(refusalFor(q.Head, true)), true
		default:
			one.memo = l.batch.memos.of(header)
			one.memo.pendingUses++
		}
	}
}

// sendMemos sends the replies that were found.
func sendMemos(conns []readyConn) {
	for i := range conns {
		if one := &conns[i]; one.memo != nil && one.memo.header.HasLine() {
			one.reply = one.memo.bytes
		}
	}
	for i := range conns {
		if one := &conns[i]; len(one.reply) > 0 {
			one.sent, one.errno = sysSend(one.fd, one.reply)
		}
	}
}

// finishReply has the connection wait after its reply. It reports true if another action
// is due.
func (one *readyConn) finishReply() bool {
	c, next := one.conn, actionWait
	if one.isLast {
		next = actionClose
	}
	switch {
	case one.errno == 0 && one.sent == len(one.reply):
		if !one.isLast && c.enter(stateIdle) {
			return false
		}
		if !one.isLast {
			next = actionDrop
		}
	case one.errno == 0, one.errno == syscall.EAGAIN, one.errno == syscall.EINTR:
		c.pendingOutput = append(c.pendingOutput, append([]byte(nil), one.reply[max(one.sent, 0):]...))
	default:
		next = actionDrop
	}
	return c.setNext(next, nil)
}

// serveUnanswered serves a connection for which there was no memo, or whose client may
// have gone.
func (l *eventLoop) serveUnanswered(one *readyConn, at time.Duration) {
	o := readOptions{clientMayBeDone: one.clientMayBeDone, maxReads: readsPerTurn}
	if len(one.reply) == 0 {
		o.alreadyRead = one.input
	}
	limits := l.batch.rules.limits
	if one.memo != nil {
		l.batch.rules.limits = nil // it has passed them
	}
	l.serveOne(one.conn, o, at)
	l.batch.rules.limits = limits
}
