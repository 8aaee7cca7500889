package front

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxBacklogWait is how long those who have come before the stop may wait to be
	// taken in.
	maxBacklogWait = 500 * time.Millisecond
	// backlogInterval is how often it is looked whether there are any.
	backlogInterval = time.Millisecond
)

// drainBacklog takes in who has come already. A socket that is closed while clients wait in
// its backlog resets them, who may have sent a request by then and would have to guess
// what became of it. Whoever comes between the last look and the close still is: a
// filter that drops what begins a connection (SO_ATTACH_FILTER) would leave out these
// too, on kernels that have it.
func (f *Front) drainBacklog() {
	for began := time.Now(); time.Since(began) < maxBacklogWait; time.Sleep(backlogInterval) {
		if backlogSize(f.listener) == 0 && (f.https == nil || backlogSize(f.https.listener) == 0) {
			return
		}
	}
}

// backlogSize is how many wait to be accepted.
func backlogSize(l net.Listener) (n uint32) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	// It fails if the listener is closed, and then nobody waits.
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Unacked // which is this, of a listening socket
		}
	})
	return n
}
