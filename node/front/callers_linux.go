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
// requests as a lookout is told of at a time, with a browser's cookies.
const callersBytes = lookoutEvents << 10

// callers are connections whose clients have sent something.
type callers struct {
	room [callersBytes + maxRequest]byte
	used int
	all  [lookoutEvents]caller
	size int // of all
}

// caller is a connection of a crowd.
type caller struct {
	conn  *conn
	in    []byte // what was read
	last  bool   // the client may have closed its side
	like  *block // has a kept answer to all of in; nil: none was found
	reply []byte // the answer
	ends  bool   // it is the connection's last
	sent  int
	errno syscall.Errno
}

// full reports whether nobody else can be read.
func (w *callers) full() bool { return w.used > callersBytes || w.size == len(w.all) }

// read takes in what a client has sent. It reports false if there is nothing.
func (w *callers) read(c *conn, last bool) bool {
	p := w.room[w.used:][:maxRequest]
	n, errno := sysRead(uintptr(c.fd), p)
	if errno != 0 || n == 0 {
		return false
	}
	w.all[w.size] = caller{conn: c, in: p[:n:n], last: last}
	w.size++
	w.used += n
	return true
}

// calm reports whether nothing is left of earlier requests.
func (c *conn) calm() bool {
	is := phaseOf(c.word.Load())
	return (is == phaseIdle || is == phaseNew) && !c.again && len(c.carry) == 0 && !c.owes()
}

// serve answers a crowd, and leaves it empty. at is as for attend.
func (l *lookout) serve(w *callers, at time.Duration) {
	all := w.all[:w.size]
	if !l.batch.rules.draining {
		l.find(all)
	}
	l.batch.rules.at = at
	l.front.fast.Add(int64(l.batch.known.confirm(&l.batch.rules)))
	for i := range all {
		one := &all[i]
		if one.like != nil && one.like.last.size > 0 {
			one.reply = one.like.last.whole
		}
		if one.reply != nil {
			one.sent, one.errno = sysSend(uintptr(one.conn.fd), one.reply)
		}
	}
	for i := range all {
		if one := &all[i]; one.reply != nil && one.conn.replied(one) {
			l.turn(one.conn)
			one.conn = nil
		}
	}
	// From here on kept answers may change.
	for i := range all {
		one := &all[i]
		if one.conn != nil && (one.reply == nil || one.last) {
			g := glance{last: one.last, reads: lookoutReads}
			if one.reply == nil {
				g.early = one.in
			}
			if one.like != nil {
				l.batch.rules.limits = nil // it has passed them
			}
			l.attend(one.conn, g, at)
			l.batch.rules.limits = l.front.limits
		}
		*one = caller{}
	}
	w.used, w.size = 0, 0
}

// find looks for kept answers to a crowd, and refuses who asks too often.
func (l *lookout) find(all []caller) {
	r, q := &l.batch.rules, &l.batch.req
	for i := range all {
		one := &all[i]
		if !one.conn.enter(phaseBusy) {
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

// confirm lets those kept answers go that were found for a crowd and do not hold any
// more, and gives how many will be given.
func (k *known) confirm(r *rules) (given int) {
	at := r.at
	for i := range k.blocks {
		last := &k.blocks[i].last
		if n := last.wanted; n > 0 {
			last.wanted = 0
			r.at = at
			if last.holds(r, n) {
				given += n
			}
		}
	}
	return given
}

// replied does what comes after a reply, and reports whether that is something else
// than to wait.
func (c *conn) replied(one *caller) bool {
	next := stepWait
	if one.ends {
		next = stepClose
	}
	switch {
	case one.errno == 0 && one.sent == len(one.reply):
		if one.ends {
			return c.then(next, nil)
		}
		if one.last || c.enter(phaseIdle) {
			return false
		}
		next = stepDrop
		return c.then(next, nil)
	case one.errno == 0, one.errno == syscall.EAGAIN, one.errno == syscall.EINTR:
		c.owed = append(c.owed, append([]byte(nil), one.reply[max(one.sent, 0):]...))
		return c.then(next, nil)
	}
	return c.then(stepDrop, nil)
}
