package front

import (
	"syscall"
	"time"
)

// Between two system calls a processor forgets much of what it knew of a program: a
// first Pi has 16 KB for the instructions of kernel and program together, and a
// virtual machine may lose where its pages are. What is done there costs several
// times what it costs in one go. So a crowd is served in strokes: all its requests
// are read, answers are found for those that have a kept one, these are sent, and
// then the others are attended to, one by one.

// readyBytes is room for what is read of a crowd before it is answered: as many
// requests as a lookout is told of at a time, with a browser's cookies. Who does not
// find room is attended to behind the others.
const readyBytes = maxEvents << 10

// readyBatch are connections whose clients have sent something.
type readyBatch struct {
	buffer [readyBytes]byte
	conns  [maxEvents]readyConn
	count  int // of all
}

// readyConn is one of them.
type readyConn struct {
	conn            *conn
	fd              uintptr
	clientMayBeDone bool          // the client may have closed its side
	input           []byte        // what was read
	headers         *cachedHeader // has a kept answer to all of in; nil: none was found
	reply           []byte        // the answer
	isLast          bool          // it is the connection's last
	sent            int
	errno           syscall.Errno
}

// add takes a connection in, of whose earlier requests nothing is left.
func (w *readyBatch) add(c *conn, last bool) {
	w.conns[w.count] = readyConn{conn: c, fd: uintptr(c.fd), clientMayBeDone: last}
	w.count++
}

// isIdleClean reports whether nothing is left of earlier requests.
func (c *conn) isIdleClean() bool {
	is := stateOf(c.state.Load())
	return (is == stateIdle || is == stateNew) && !c.replayInput && len(c.pendingInput) == 0 && !c.hasPendingOutput()
}

// serveReady answers the callers, and lets them go. at is as for attend.
func (l *eventLoop) serveReady(at time.Duration) {
	all := l.ready.conns[:l.ready.count]
	l.ready.count = 0
	l.ready.readAll(all)
	if r := &l.batch.rules; !r.draining {
		l.findMemos(all)
		r.at = at
		l.front.fastReplies.Add(int64(l.batch.headers.confirmMemos(r)))
	}
	sendMemos(all)
	for i := range all {
		if one := &all[i]; len(one.reply) > 0 && one.finishReply() {
			l.performNext(one.conn)
			one.conn = nil
		}
	}
	// From here on kept answers may change.
	for i := range all {
		if one := &all[i]; one.conn != nil && (len(one.reply) == 0 || one.clientMayBeDone) {
			l.serveUnanswered(one, at)
		}
		all[i] = readyConn{}
	}
}

// readAll takes in what the clients have sent. Whoever has sent nothing is found out when
// attended to.
func (w *readyBatch) readAll(all []readyConn) {
	used := 0
	for i := range all {
		if len(w.buffer)-used < maxRequest {
			return
		}
		p := w.buffer[used:][:maxRequest]
		if n, errno := sysRead(all[i].fd, p); errno == 0 {
			all[i].input = p[:n:n]
			used += n
		}
	}
}

// findMemos looks for kept answers to a crowd, and refuses who asks too often.
func (l *eventLoop) findMemos(all []readyConn) {
	r, q := &l.batch.rules, &l.batch.req
	for i := range all {
		one := &all[i]
		if len(one.input) == 0 || !one.conn.enterState(stateAnswering) {
			continue
		}
		like := l.batch.headers.findMemo(q, one.input)
		switch {
		case like == nil, q.close:
		case !r.limits.allowRequest(one.conn.client):
			one.reply, one.isLast = []byte(refusalFor(q.asked.Head, true)), true
		default:
			one.headers = like
			like.memo.pendingUses++
		}
	}
}

// sendMemos sends the answers that were found.
func sendMemos(all []readyConn) {
	for i := range all {
		if one := &all[i]; one.headers != nil && one.headers.memo.lineSize > 0 {
			one.reply = one.headers.memo.bytes
		}
	}
	for i := range all {
		if one := &all[i]; len(one.reply) > 0 {
			one.sent, one.errno = sysSend(one.fd, one.reply)
		}
	}
}

// finishReply does what comes after an answer, and reports whether the connection is to
// do something else than to wait.
func (one *readyConn) finishReply() bool {
	c, next := one.conn, actionWait
	if one.isLast {
		next = actionClose
	}
	switch {
	case one.errno == 0 && one.sent == len(one.reply):
		if !one.isLast && c.enterState(stateIdle) {
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
	return c.stopReading(next, nil)
}

// serveUnanswered attends to a caller for whom there was no answer, or who may have gone.
func (l *eventLoop) serveUnanswered(one *readyConn, at time.Duration) {
	g := readOptions{clientMayBeDone: one.clientMayBeDone, maxReads: readsPerTurn}
	if len(one.reply) == 0 {
		g.alreadyRead = one.input
	}
	if one.headers != nil {
		l.batch.rules.limits = nil // it has passed them
	}
	l.serveOne(one.conn, g, at)
	l.batch.rules.limits = l.front.limits
}
