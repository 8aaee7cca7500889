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
	// lookoutEvents is how many connections a lookout attends to before everything
	// else in the program has its turn: about 6 ms on a board.
	lookoutEvents = 64
	// lookoutBusy is how many at a time are a crowd, in which others have come
	// meanwhile: to look again at once costs half of being woken.
	lookoutBusy = 8
	// lookoutReads is how often a lookout reads one connection before the others
	// have their turn: 32 KB of requests that came at once.
	lookoutReads = 4
)

// lookout waits for all plain connections of one processor at a time, and answers
// what can be answered in passing. A connection has no goroutine here, and so no
// stack: what takes time is done on one of its own (conn.errand), and then the
// connection comes back.
//
// It waits on an epoll descriptor that the runtime's poller watches in turn, so
// that the program's other connections wake their goroutines as ever, and a lookout
// that has nothing to do takes no thread.
type lookout struct {
	front *Front
	file  *os.File // the epoll descriptor
	raw   syscall.RawConn
	bell  int // an eventfd: to be woken at once
	ended chan struct{}

	batch   batch
	callers callers
	events  [lookoutEvents]syscall.EpollEvent
	hungry  []*conn // have sent more than is read at a time
	fed     []*conn // room for those whose turn it is

	mu     sync.Mutex // guards what follows
	conns  []*conn    // by descriptor; nil: not here
	closed bool
}

// lookOut starts a lookout for each processor, if connections will come that a
// lookout can take.
func (f *Front) lookOut() error {
	if _, bare := f.plain.(*bareAcceptor); !bare {
		return nil
	}
	for range runtime.GOMAXPROCS(0) {
		l, err := f.newLookout()
		if err != nil {
			f.lookIn()
			return err
		}
		f.lookouts = append(f.lookouts, l)
	}
	return nil
}

// lookIn ends the lookouts and the connections that are there.
func (f *Front) lookIn() {
	for _, l := range f.lookouts {
		l.close()
	}
}

func (f *Front) newLookout() (*lookout, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	// The runtime's poller takes only what does not block.
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l := &lookout{front: f, file: os.NewFile(uintptr(fd), "epoll"), ended: make(chan struct{})}
	bell, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		l.file.Close()
		return nil, fmt.Errorf("eventfd: %w", errno)
	}
	l.bell = int(bell)
	if l.raw, err = l.file.SyscallConn(); err == nil {
		err = l.watch(l.bell)
	}
	if err != nil {
		l.file.Close()
		syscall.Close(l.bell)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	go func() {
		// It ends when the descriptor is closed, with nothing to say.
		_ = l.raw.Read(l.round)
		close(l.ended)
	}()
	return l, nil
}

// close ends the lookout, and every connection that is there.
func (l *lookout) close() {
	l.mu.Lock()
	l.closed = true
	left := l.conns
	l.conns = nil
	l.mu.Unlock()
	l.file.Close()
	<-l.ended
	syscall.Close(l.bell)
	for _, c := range left {
		if c != nil {
			c.leave()
		}
	}
}

// watch has epoll tell of a descriptor, once for all that has come when it is asked.
func (l *lookout) watch(fd int) error {
	const edge = 1 << 31 // EPOLLET, which package syscall has as a negative number
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | edge, Fd: int32(fd)}
	var err error
	if closed := l.raw.Control(func(epoll uintptr) { err = syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_ADD, fd, &event) }); closed != nil {
		return closed
	}
	return err
}

// add takes a connection in. It reports false if there is no room for it, or the
// lookout has ended.
func (l *lookout) add(c *conn, fd int) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	for fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.conns[fd] = c
	l.mu.Unlock()
	return l.watch(fd) == nil
}

// forget lets a connection go whose descriptor will be closed.
func (l *lookout) forget(fd int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fd < len(l.conns) {
		l.conns[fd] = nil
	}
}

// round attends to connections that have something to say. It always reports
// false, to be woken when there is more.
func (l *lookout) round(epoll uintptr) bool {
	l.hungry, l.fed = l.fed[:0], l.hungry
	l.front.rule(&l.batch.rules)
	for i, c := range l.fed {
		l.fed[i], c.hungry = nil, false
		l.attend(c, glance{last: true, reads: lookoutReads}, 0)
	}
	for left := lookoutEvents; ; {
		n := l.poll(epoll, left)
		switch left -= n; {
		case left == 0, len(l.hungry) > 0:
			l.ring()
			return false
		case n < lookoutBusy:
			return false // who comes next wakes the lookout
		}
	}
}

// poll attends to at most so many connections that have something to say, and
// gives how many there were.
func (l *lookout) poll(epoll uintptr, most int) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, epoll, uintptr(unsafe.Pointer(&l.events[0])), uintptr(most), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	now := l.batch.rules.hits.Now() // all that is told of had come by then
	var some [lookoutEvents]*conn
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
		if c == nil || c.hungry {
			continue
		}
		last := l.events[i].Events&syscall.EPOLLRDHUP != 0
		if c.calm() {
			l.callers.add(c, last)
		} else {
			l.attend(c, glance{last: last, reads: lookoutReads}, now)
		}
	}
	l.serve(now)
	return int(n)
}

// ring has the runtime's poller wake the lookout once more, after everything else
// that it has to wake.
func (l *lookout) ring() {
	one := uint64(1)
	// It never fails: the sum of all that is rung in a board's life fits.
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(l.bell), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

// attend reads what has come of a connection and does what can be done about it
// in passing. at is a reading of Hits.Now after the first bytes had come, 0 if there
// is none.
func (l *lookout) attend(c *conn, g glance, at time.Duration) {
	if phaseOf(c.word.Load()) == phaseLinger {
		l.see(c)
		return
	}
	l.batch.rules.client, l.batch.rules.at = c.client, at
	if !c.work(uintptr(c.fd), &l.batch, g) {
		l.mark(c)
		return
	}
	l.turn(c)
}

// turn does what a connection is to do next that is something else than to wait.
func (l *lookout) turn(c *conn) {
	switch {
	case c.next == stepDrop:
		c.leave()
	case c.next == stepClose && !c.owes():
		if !c.enter(phaseLinger) || syscall.Shutdown(c.fd, syscall.SHUT_WR) != nil {
			c.leave()
			return
		}
		l.see(c)
	default:
		fd := c.fd
		l.forget(fd)
		// The socket will have another number, and this would still be told of it.
		// It is here, so that neither call fails.
		_ = l.raw.Control(func(epoll uintptr) { _ = syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_DEL, fd, nil) })
		c.front.serving.Go(c.errand)
	}
}

// mark has a connection attended to in the next round if it has more to read.
func (l *lookout) mark(c *conn) {
	if c.hungry {
		l.hungry = append(l.hungry, c)
	}
}

// see takes what a client still sends whose last reply is out, until it has gone.
func (l *lookout) see(c *conn) {
	gone, dry := discard(uintptr(c.fd), &l.batch, lookoutReads)
	if gone {
		c.leave()
		return
	}
	c.hungry = !dry
	l.mark(c)
}

// errand does what takes time, on a goroutine of its own, and brings the
// connection back.
func (c *conn) errand() {
	c.mu.Lock()
	tcp := newSocket(c.fd, c.address, c.front.Addr())
	c.tcp, c.raw, c.fd = tcp, tcp.raw, -1
	c.mu.Unlock()
	for c.proceed() {
		if c.again && c.readOn() {
			if c.next == stepDrop {
				c.leave()
				return
			}
			continue
		}
		if !c.comeBack() {
			c.serve() // from here: no descriptor is left, or the sweep has closed it
		} else if !c.watch.add(c, c.fd) {
			c.leave()
		}
		return
	}
}

// readOn has the lane read what is left of what was read, and what is there. It
// reports false if more has to come.
func (c *conn) readOn() (done bool) {
	if c.raw.Control(func(fd uintptr) { done = c.ready(fd) }) != nil {
		return c.then(stepDrop, nil)
	}
	return done
}

// comeBack takes the socket from the runtime's poller, by a second descriptor.
func (c *conn) comeBack() bool {
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
	c.tcp.Close()
	c.tcp, c.raw, c.fd = nil, nil, int(fd)
	return true
}
