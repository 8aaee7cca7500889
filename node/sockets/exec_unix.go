//go:build unix

package sockets

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"syscall"
)

// dupDescriptor is a second descriptor of a listener's socket, nil if it has none.
func dupDescriptor(l net.Listener) *os.File {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil
	}
	file, err := tcp.File()
	if err != nil {
		return nil // it serves all the same, and is opened anew by the next program
	}
	return file
}

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }

// Exec puts the program at path in this one's place, with args (the first is
// its name), an environment, and all sockets of the set. It returns only if that
// fails; then everything is as before. Whoever calls it has ended everything
// else: nothing that is deferred will run.
func (s *ListenerSet) Exec(path string, args, environ []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []inheritedSocket{}
	for i := range s.toPass {
		h := s.toPass[i].inheritedSocket
		// A copy without the mark that closes it: dup clears it, and os.File's own
		// descriptor keeps it for the case that Exec fails.
		fd, err := syscall.Dup(int(s.toPass[i].file.Fd()))
		if err != nil {
			return fmt.Errorf("handing on the socket of %s: %w", h.Name, err)
		}
		defer syscall.Close(fd)
		h.FD = fd
		list = append(list, h)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("telling of the sockets: %w", err)
	}
	if err := syscall.Exec(path, args, append(environ, Env+"="+string(text))); err != nil {
		return fmt.Errorf("starting %s: %w", path, err)
	}
	return nil
}
