//go:build unix

package sockets

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"syscall"
)

// dupDescriptor returns a second descriptor of a listener's socket, nil if there is none.
func dupDescriptor(l net.Listener) *os.File {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil
	}
	file, err := tcp.File()
	if err != nil {
		return nil // the listener still works, and the successor opens its own
	}
	return file
}

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }

// Exec replaces this program by the one at path, with args (the first is its name), an
// environment, and all sockets of the set. It returns only if that fails; then nothing
// has changed. The caller must have ended everything else: no deferred function runs.
func (l *ListenerSet) Exec(path string, args, environ []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []inheritedSocket{}
	for i := range l.toPass {
		socket := l.toPass[i].inheritedSocket
		// A copy without close-on-exec: dup clears the flag, and os.File's own
		// descriptor keeps it in case that Exec fails.
		fd, err := syscall.Dup(int(l.toPass[i].file.Fd()))
		if err != nil {
			return fmt.Errorf("passing on the socket %s: %w", socket.Name, err)
		}
		defer syscall.Close(fd)
		socket.FD = fd
		list = append(list, socket)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("listing the sockets: %w", err)
	}
	if err := syscall.Exec(path, args, append(environ, Env+"="+string(text))); err != nil {
		return fmt.Errorf("starting %s: %w", path, err)
	}
	return nil
}
