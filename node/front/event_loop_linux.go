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
	// maxEvents is the number of connections that an event loop serves before everything
	// else in the program has its turn: about 6 ms on a board.
	maxEvents = 64
	// busyEvents: if one poll reports at least this many connections, more have probably
	// arrived meanwhile; polling again at once costs half of a wakeup.
	busyEvents = 8
	// readsPerTurn limits the reads of one connection before the others have their turn:
	// 32 KB of requests that arrived at once.
	readsPerTurn = 4
)

// eventLoop waits for many plain connections at a time, one loop for each processor, and
// answers what can be answered without waiting. A connection has no goroutine here, and
// so no stack: an action that takes time is performed on one (conn.runOffloaded), and
// then the connection comes back.
//
// It waits on an epoll descriptor that the runtime's poller watches in turn, so that the
// program's other connections wake their goroutines as usual, and an idle event loop
// occupies no thread.
type eventLoop struct {
	front   *Front
	file    *os.File // the epoll descriptor
	raw     syscall.RawConn
	wakeFD  int // an eventfd that wakes the loop
	stopped chan struct{}

	buffers   replyBuffers
	ready     readyBatch
	events    [maxEvents]syscall.EpollEvent
	queued    []*conn // for the next round: unread input is left
	lastQueue []*conn // the queue of the last round, whose memory is used again

	mu        sync.Mutex // guards what follows
	conns     []*conn    // by descriptor; nil: not in this loop
	isStopped bool
}

// startEventLoops starts an event loop for each processor, if the acceptor's connections
// are bare descriptors.
func (f *Front) startEventLoops() error {
	if _, isBare := f.acceptor.(*fdAcceptor); !isBare {
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

func (f *Front) newEventLoop() (*eventLoop, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	// The runtime's poller takes only descriptors that do not block.
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l := &eventLoop{front: f, file: os.NewFile(uintptr(fd), "epoll"), stopped: make(chan struct{})}
	wakeFD, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		l.file.Close()
		return nil, fmt.Errorf("eventfd: %w", errno)
	}
	l.wakeFD = int(wakeFD)
	if l.raw, err = l.file.SyscallConn(); err == nil {
		err = l.register(l.wakeFD)
	}
	if err != nil {
		l.file.Close()
		syscall.Close(l.wakeFD)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	go l.run()
	return l, nil
}

// run serves the loop's connections until stop.
func (l *eventLoop) run() {
	// It ends when the descriptor is closed, which is no error.
	_ = l.raw.Read(l.runOnce)
	close(l.stopped)
}

// runOnce serves the connections that are ready. RawConn.Read calls it each time that the
// epoll descriptor is readable; it always returns false, to be called again.
func (l *eventLoop) runOnce(epoll uintptr) bool {
	l.queued, l.lastQueue = l.lastQueue[:0], l.queued
	l.front.setRules(&l.buffers.rules)
	for i, c := range l.lastQueue {
		l.lastQueue[i], c.queued = nil, false
		l.serveOne(c, readOptions{maybeHalfClosed: true, maxReads: readsPerTurn}, 0)
	}
	for left := maxEvents; ; {
		n := l.pollOnce(epoll, left)
		switch left -= n; {
		case left == 0, len(l.queued) > 0:
			l.wake()
			return false
		case n < busyEvents:
			return false // the next event wakes the loop
		}
	}
}

// pollOnce serves at most limit connections that are ready, and returns their number.
func (l *eventLoop) pollOnce(epoll uintptr, limit int) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, epoll, uintptr(unsafe.Pointer(&l.events[0])), uintptr(limit), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	now := l.buffers.rules.handler.Now() // everything that the poll reports had arrived by then
	var conns [maxEvents]*conn
	l.mu.Lock()
	for i := range l.events[:n] {
		if fd := int(l.events[i].Fd); fd < len(l.conns) {
			conns[i] = l.conns[fd]
		}
	}
	l.mu.Unlock()
	for i, c := range conns[:n] {
		// The event may be about an earlier socket with that number: then there is nothing
		// to read.
		if c == nil || c.queued {
			continue
		}
		maybeHalfClosed := l.events[i].Events&syscall.EPOLLRDHUP != 0
		if c.hasNothingPending() {
			l.ready.add(c, maybeHalfClosed)
		} else {
			l.serveOne(c, readOptions{maybeHalfClosed: maybeHalfClosed, maxReads: readsPerTurn}, now)
		}
	}
	l.serveReady(now)
	return int(n)
}

// serveOne reads what a connection has sent and does everything that takes no time. clock
// is a reading of FastHandler.Now after the first bytes had arrived; 0: the clock has not
// been read.
func (l *eventLoop) serveOne(c *conn, o readOptions, clock time.Duration) {
	if c.currentState() == stateLingering {
		l.discardLingering(c)
		return
	}
	rules := &l.buffers.rules
	rules.client, rules.clock, rules.limits = c.client, clock, l.front.limits
	if o.limitsPassed {
		rules.limits = nil
	}
	if c.readAndAnswer(uintptr(c.fd), &l.buffers, o) == needsInput {
		l.requeueIfUnread(c)
		return
	}
	l.performOrOffload(c)
}

// performOrOffload performs the action that is due, or offloads the connection if that takes
// time.
func (l *eventLoop) performOrOffload(c *conn) {
	switch {
	case c.next == actionDrop:
		c.closeAndRemove()
	case c.next == actionClose && !c.hasPendingOutput():
		if !c.enter(stateLingering) || syscall.Shutdown(c.fd, syscall.SHUT_WR) != nil {
			c.closeAndRemove()
			return
		}
		l.discardLingering(c)
	default:
		l.offload(c)
	}
}

// offload takes a connection out of the loop and has a goroutine perform its action.
func (l *eventLoop) offload(c *conn) {
	fd := c.fd
	l.detach(fd)
	// The socket will get another descriptor, and epoll would still report it under this
	// one. It is registered, so neither call fails.
	_ = l.raw.Control(func(epoll uintptr) { _ = syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_DEL, fd, nil) })
	c.front.serving.Go(c.runOffloaded)
}

// discardLingering reads what a client still sends after its last reply, until it has
// closed its side.
func (l *eventLoop) discardLingering(c *conn) {
	hasEnded, isExhausted := discardInput(uintptr(c.fd), &l.buffers, readsPerTurn)
	if hasEnded {
		c.closeAndRemove()
		return
	}
	c.queued = !isExhausted
	l.requeueIfUnread(c)
}

// requeueIfUnread queues a connection for the next round if it has unread input.
func (l *eventLoop) requeueIfUnread(c *conn) {
	if c.queued {
		l.queued = append(l.queued, c)
	}
}

// wake has the runtime's poller call runOnce again, after it has woken everything else
// that is ready.
func (l *eventLoop) wake() {
	count := uint64(1)
	// It never fails: the counter cannot overflow in a board's life.
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(l.wakeFD), uintptr(unsafe.Pointer(&count)), unsafe.Sizeof(count))
}

// attach adds a connection. It reports false if there is no room for it, or the loop has
// stopped.
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

// register has epoll report a descriptor, edge-triggered: once for all that has arrived
// when it is polled.
func (l *eventLoop) register(fd int) error {
	const edge = 1 << 31 // EPOLLET, which package syscall has as a negative number
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | edge, Fd: int32(fd)}
	var err error
	if closed := l.raw.Control(func(epoll uintptr) { err = syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_ADD, fd, &event) }); closed != nil {
		return closed
	}
	return err
}

// detach removes a connection whose descriptor will be closed.
func (l *eventLoop) detach(fd int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fd < len(l.conns) {
		l.conns[fd] = nil
	}
}

func (f *Front) stopEventLoops() {
	for _, l := range f.loops {
		l.stop()
	}
}

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
