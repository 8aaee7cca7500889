package front

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxBacklogWait limits the time until the connections are accepted that arrived
	// before the stop.
	maxBacklogWait = 2 * time.Second
	// backlogInterval is the interval between two checks of the backlog.
	backlogInterval = time.Millisecond
)

// drainBacklog waits until the connections in the backlog are accepted. A socket that is
// closed while clients wait in its backlog resets them; a client that has sent a request
// by then could not know what became of it. Connections that arrive between the last
// check and the close are still reset; dropping SYNs with SO_ATTACH_FILTER would avoid
// that, on kernels that have it.
func (f *Front) drainBacklog() {
	for began := time.Now(); time.Since(began) < maxBacklogWait; time.Sleep(backlogInterval) {
		if backlogSize(f.listener) == 0 && (f.https == nil || backlogSize(f.https.listener) == 0) {
			return
		}
	}
}

func backlogSize(l net.Listener) (n uint32) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	// It fails if the listener is closed, and then no connection waits.
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Unacked // for a listening socket, the length of its backlog
		}
	})
	return n
}
