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

// callersBytes is room for what is read of a crowd before it is answered: as many
// requests as a lookout is told of at a time, with a browser's cookies. Who does not
// find room is attended to behind the others.
const callersBytes = lookoutEvents << 10

// callers are connections whose clients have sent something.
type callers struct {
	room [callersBytes]byte
	all  [lookoutEvents]caller
	size int // of all
}

// caller is one of them.
type caller struct {
	conn  *conn
	fd    uintptr
	last  bool   // the client may have closed its side
	in    []byte // what was read
	like  *block // has a kept answer to all of in; nil: none was found
	reply []byte // the answer
	ends  bool   // it is the connection's last
	sent  int
	errno syscall.Errno
}

// add takes a connection in, of whose earlier requests nothing is left.
func (w *callers) add(c *conn, last bool) {
	w.all[w.size] = caller{conn: c, fd: uintptr(c.fd), last: last}
	w.size++
}

// calm reports whether nothing is left of earlier requests.
func (c *conn) calm() bool {
	is := phaseOf(c.word.Load())
	return (is == phaseIdle || is == phaseNew) && !c.again && len(c.carry) == 0 && !c.owes()
}

// serve answers the callers, and lets them go. at is as for attend.
func (l *lookout) serve(at time.Duration) {
	all := l.callers.all[:l.callers.size]
	l.callers.size = 0
	l.callers.read(all)
	if r := &l.batch.rules; !r.draining {
		l.find(all)
		r.at = at
		l.front.fast.Add(int64(l.batch.known.confirm(r)))
	}
	send(all)
	for i := range all {
		if one := &all[i]; len(one.reply) > 0 && one.replied() {
			l.turn(one.conn)
			one.conn = nil
		}
	}
	// From here on kept answers may change.
	for i := range all {
		if one := &all[i]; one.conn != nil && (len(one.reply) == 0 || one.last) {
			l.attendTo(one, at)
		}
		all[i] = caller{}
	}
}

// read takes in what the clients have sent. Whoever has sent nothing is found out when
// attended to.
func (w *callers) read(all []caller) {
	used := 0
	for i := range all {
		if len(w.room)-used < maxRequest {
			return
		}
		p := w.room[used:][:maxRequest]
		if n, errno := sysRead(all[i].fd, p); errno == 0 {
			all[i].in = p[:n:n]
			used += n
		}
	}
}

// find looks for kept answers to a crowd, and refuses who asks too often.
func (l *lookout) find(all []caller) {
	r, q := &l.batch.rules, &l.batch.req
	for i := range all {
		one := &all[i]
		if len(one.in) == 0 || !one.conn.enter(phaseBusy) {
			continue
		}
		like := l.batch.known.find(q, one.in)
		switch {
		case like == nil, q.close:
		case !r.limits.asks(one.conn.client):
			one.reply, one.ends = []byte(refusalTo(q.asked.Head, true)), true
		default:
			one.like = like
			like.last.wanted++
		}
	}
}

// send sends the answers that were found.
func send(all []caller) {
	for i := range all {
		if one := &all[i]; one.like != nil && one.like.last.size > 0 {
			one.reply = one.like.last.whole
		}
	}
	for i := range all {
		if one := &all[i]; len(one.reply) > 0 {
			one.sent, one.errno = sysSend(one.fd, one.reply)
		}
	}
}

// replied does what comes after an answer, and reports whether the connection is to
// do something else than to wait.
func (one *caller) replied() bool {
	c, next := one.conn, stepWait
	if one.ends {
		next = stepClose
	}
	switch {
	case one.errno == 0 && one.sent == len(one.reply):
		if !one.ends && c.enter(phaseIdle) {
			return false
		}
		if !one.ends {
			next = stepDrop
		}
	case one.errno == 0, one.errno == syscall.EAGAIN, one.errno == syscall.EINTR:
		c.owed = append(c.owed, append([]byte(nil), one.reply[max(one.sent, 0):]...))
	default:
		next = stepDrop
	}
	return c.then(next, nil)
}

// attendTo attends to a caller for whom there was no answer, or who may have gone.
func (l *lookout) attendTo(one *caller, at time.Duration) {
	g := glance{last: one.last, reads: lookoutReads}
	if len(one.reply) == 0 {
		g.early = one.in
	}
	if one.like != nil {
		l.batch.rules.limits = nil // it has passed them
	}
	l.attend(one.conn, g, at)
	l.batch.rules.limits = l.front.limits
}
