package front

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	// maxEvents is how many connections a lookout attends to before everything
	// else in the program has its turn: about 6 ms on a board.
	maxEvents = 64
	// busyEvents is how many at a time are a crowd, in which others have come
	// meanwhile: to look again at once costs half of being woken.
	busyEvents = 8
	// readsPerTurn is how often a lookout reads one connection before the others
	// have their turn: 32 KB of requests that came at once.
	readsPerTurn = 4
)

// eventLoop waits for all plain connections of one processor at a time, and answers
// what can be answered in passing. A connection has no goroutine here, and so no
// stack: what takes time is done on one of its own (conn.errand), and then the
// connection comes back.
//
// It waits on an epoll descriptor that the runtime's poller watches in turn, so
// that the program's other connections wake their goroutines as ever, and a lookout
// that has nothing to do takes no thread.
type eventLoop struct {
	front   *Front
	file    *os.File // the epoll descriptor
	raw     syscall.RawConn
	wakeFD  int // an eventfd: to be woken at once
	stopped chan struct{}

	batch  replyBatch
	ready  readyBatch
	events [maxEvents]syscall.EpollEvent
	queued []*conn // have sent more than is read at a time
	taken  []*conn // room for those whose turn it is

	mu        sync.Mutex // guards what follows
	conns     []*conn    // by descriptor; nil: not here
	isStopped bool
}

// startEventLoops starts a lookout for each processor, if connections will come that a
// lookout can take.
func (f *Front) startEventLoops() error {
	if _, bare := f.acceptor.(*fdAcceptor); !bare {
		return nil
	}
	for range runtime.GOMAXPROCS(0) {
		l, err := f.newEventLoop()
		if err != nil {
			f.stopEventLoops()
			return err
		}
		f.loops = append(f.loops, l)
	}
	return nil
}

// stopEventLoops ends the lookouts and the connections that are there.
func (f *Front) stopEventLoops() {
	for _, l := range f.loops {
		l.stop()
	}
}

func (f *Front) newEventLoop() (*eventLoop, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	// The runtime's poller takes only what does not block.
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l := &eventLoop{front: f, file: os.NewFile(uintptr(fd), "epoll"), stopped: make(chan struct{})}
	bell, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		l.file.Close()
		return nil, fmt.Errorf("eventfd: %w", errno)
	}
	l.wakeFD = int(bell)
	if l.raw, err = l.file.SyscallConn(); err == nil {
		err = l.register(l.wakeFD)
	}
	if err != nil {
		l.file.Close()
		syscall.Close(l.wakeFD)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	go func() {
		// It ends when the descriptor is closed, with nothing to say.
		_ = l.raw.Read(l.runOnce)
		close(l.stopped)
	}()
	return l, nil
}

// stop ends the lookout, and every connection that is there.
func (l *eventLoop) stop() {
	l.mu.Lock()
	l.isStopped = true
	left := l.conns
	l.conns = nil
	l.mu.Unlock()
	l.file.Close()
	<-l.stopped
	syscall.Close(l.wakeFD)
	for _, c := range left {
		if c != nil {
			c.closeAndRemove()
		}
	}
}

// register has epoll tell of a descriptor, once for all that has come when it is asked.
func (l *eventLoop) register(fd int) error {
	const edge = 1 << 31 // EPOLLET, which package syscall has as a negative number
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | edge, Fd: int32(fd)}
	var err error
	if closed := l.raw.Control(func(epoll uintptr) { err = syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_ADD, fd, &event) }); closed != nil {
		return closed
	}
	return err
}

// attach takes a connection in. It reports false if there is no room for it, or the
// lookout has ended.
func (l *eventLoop) attach(c *conn, fd int) bool {
	l.mu.Lock()
	if l.isStopped {
		l.mu.Unlock()
		return false
	}
	for fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.conns[fd] = c
	l.mu.Unlock()
	return l.register(fd) == nil
}

// detach lets a connection go whose descriptor will be closed.
func (l *eventLoop) detach(fd int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fd < len(l.conns) {
		l.conns[fd] = nil
	}
}

// runOnce attends to connections that have something to say. It always reports
// false, to be woken when there is more.
func (l *eventLoop) runOnce(epoll uintptr) bool {
	l.queued, l.taken = l.taken[:0], l.queued
	l.front.setRules(&l.batch.rules)
	for i, c := range l.taken {
		l.taken[i], c.queued = nil, false
		l.serveOne(c, readOptions{clientMayBeDone: true, maxReads: readsPerTurn}, 0)
	}
	for left := maxEvents; ; {
		n := l.pollOnce(epoll, left)
		switch left -= n; {
		case left == 0, len(l.queued) > 0:
			l.wake()
			return false
		case n < busyEvents:
			return false // who comes next wakes the lookout
		}
	}
}

// pollOnce attends to at most so many connections that have something to say, and
// gives how many there were.
func (l *eventLoop) pollOnce(epoll uintptr, most int) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, epoll, uintptr(unsafe.Pointer(&l.events[0])), uintptr(most), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	now := l.batch.rules.fast.Now() // all that is told of had come by then
	var some [maxEvents]*conn
	l.mu.Lock()
	for i := range l.events[:n] {
		if fd := int(l.events[i].Fd); fd < len(l.conns) {
			some[i] = l.conns[fd]
		}
	}
	l.mu.Unlock()
	for i, c := range some[:n] {
		// What the event says may be about an earlier socket of that number: then
		// there is nothing to read.
		if c == nil || c.queued {
			continue
		}
		last := l.events[i].Events&syscall.EPOLLRDHUP != 0
		if c.isIdleClean() {
			l.ready.add(c, last)
		} else {
			l.serveOne(c, readOptions{clientMayBeDone: last, maxReads: readsPerTurn}, now)
		}
	}
	l.serveReady(now)
	return int(n)
}

// wake has the runtime's poller wake the lookout once more, after everything else
// that it has to wake.
func (l *eventLoop) wake() {
	one := uint64(1)
	// It never fails: the sum of all that is rung in a board's life fits.
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(l.wakeFD), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

// serveOne reads what has come of a connection and does what can be done about it
// in passing. at is a reading of Hits.Now after the first bytes had come, 0 if there
// is none.
func (l *eventLoop) serveOne(c *conn, g readOptions, at time.Duration) {
	if stateOf(c.state.Load()) == stateLingering {
		l.discardLingering(c)
		return
	}
	l.batch.rules.client, l.batch.rules.at = c.client, at
	if !c.readAndAnswer(uintptr(c.fd), &l.batch, g) {
		l.requeueIfUnread(c)
		return
	}
	l.performNext(c)
}

// performNext does what a connection is to do next that is something else than to wait.
func (l *eventLoop) performNext(c *conn) {
	switch {
	case c.next == actionDrop:
		c.closeAndRemove()
	case c.next == actionClose && !c.hasPendingOutput():
		if !c.enterState(stateLingering) || syscall.Shutdown(c.fd, syscall.SHUT_WR) != nil {
			c.closeAndRemove()
			return
		}
		l.discardLingering(c)
	default:
		fd := c.fd
		l.detach(fd)
		// The socket will have another number, and this would still be told of it.
		// It is here, so that neither call fails.
		_ = l.raw.Control(func(epoll uintptr) { _ = syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_DEL, fd, nil) })
		c.front.serving.Go(c.runOffloaded)
	}
}

// requeueIfUnread has a connection attended to in the next round if it has more to read.
func (l *eventLoop) requeueIfUnread(c *conn) {
	if c.queued {
		l.queued = append(l.queued, c)
	}
}

// discardLingering takes what a client still sends whose last reply is out, until it has gone.
func (l *eventLoop) discardLingering(c *conn) {
	gone, dry := discardInput(uintptr(c.fd), &l.batch, readsPerTurn)
	if gone {
		c.closeAndRemove()
		return
	}
	c.queued = !dry
	l.requeueIfUnread(c)
}

// runOffloaded does what takes time, on a goroutine of its own, and brings the
// connection back.
func (c *conn) runOffloaded() {
	c.mu.Lock()
	tcp := newFDConn(c.fd, c.address, c.front.Addr())
	c.socket, c.raw, c.fd = tcp, tcp.raw, -1
	c.mu.Unlock()
	for c.performNext() {
		if c.replayInput && c.resumeInput() {
			if c.next == actionDrop {
				c.closeAndRemove()
				return
			}
			continue
		}
		if !c.reattach() {
			c.serveOnGoroutine() // from here: no descriptor is left, or the sweep has closed it
		} else if !c.loop.attach(c, c.fd) {
			c.closeAndRemove()
		}
		return
	}
}

// resumeInput has the lane read what is left of what was read, and what is there. It
// reports false if more has to come.
func (c *conn) resumeInput() (done bool) {
	if c.raw.Control(func(fd uintptr) { done = c.onReadable(fd) }) != nil {
		return c.stopReading(actionDrop, nil)
	}
	return done
}

// reattach takes the socket from the runtime's poller, by a second descriptor.
func (c *conn) reattach() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	fd, errno := uintptr(0), syscall.EBADF
	// If it is closed, the number stays bad.
	_ = c.raw.Control(func(from uintptr) {
		fd, _, errno = syscall.RawSyscall(syscall.SYS_FCNTL, from, syscall.F_DUPFD_CLOEXEC, 0)
	})
	if errno != 0 {
		return false
	}
	c.socket.Close()
	c.socket, c.raw, c.fd = nil, nil, int(fd)
	return true
}
