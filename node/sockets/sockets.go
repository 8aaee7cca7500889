// Package sockets passes a program's listening sockets to its successor, for a
// restart without refused connections: Exec replaces the program in the same process
// (execve) and passes the sockets on. A client that connects in between waits in the
// kernel's backlog.
package sockets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// Env is the environment variable that lists a program's inherited sockets. The caller
// of Inherit must unset it, so that no child process inherits the list.
const Env = "BRAMBLE_SOCKETS"

// maxSockets limits the sockets that a program can inherit.
const maxSockets = 16

// firstDescriptor is the lowest descriptor of an inherited socket: those before it are
// the standard streams.
const firstDescriptor = 3

var (
	// ErrInherit is the kind of every error about inherited sockets.
	ErrInherit = errors.New("sockets inherited from the previous program")
	// ErrNoExec means that this operating system cannot replace a running program.
	ErrNoExec = errors.New("this system cannot replace a running program")
)

// inheritedSocket is one socket in Env.
type inheritedSocket struct {
	Name    string `json:"name"`    // its purpose
	Address string `json:"address"` // host:port, as in the configuration
	FD      int    `json:"fd"`
}

// ListenerSet holds the listeners that a program can pass on. It is safe for
// concurrent use.
type ListenerSet struct {
	mu        sync.Mutex        // guards the rest
	inherited []inheritedSocket // not claimed yet
	toPass    []inheritable
	released  bool // no successor follows
}

// inheritable is a listener's socket under a descriptor of its own, so that the socket
// stays open when the listener is closed.
type inheritable struct {
	inheritedSocket
	file *os.File
}

// Inherit reads the value of Env; "" means that the program inherits nothing. The set
// owns the descriptors from now on. Errors are ErrInherit.
func Inherit(env string) (*ListenerSet, error) {
	s := new(ListenerSet)
	if env == "" {
		return s, nil
	}
	list, err := parseEnv(env)
	if err != nil {
		return nil, err
	}
	for _, h := range list {
		closeOnExec(h.FD)
	}
	s.inherited = list
	return s, nil
}

func parseEnv(env string) ([]inheritedSocket, error) {
	var list []inheritedSocket
	if err := json.Unmarshal([]byte(env), &list); err != nil {
		return nil, fmt.Errorf("%w: %s is not a list of sockets: %w", ErrInherit, Env, err)
	}
	if len(list) > maxSockets {
		return nil, fmt.Errorf("%w: %d of them, at most %d are allowed", ErrInherit, len(list), maxSockets)
	}
	seen := map[int]bool{}
	for _, h := range list {
		if h.FD < firstDescriptor || seen[h.FD] {
			return nil, fmt.Errorf("%w: %q cannot be descriptor %d", ErrInherit, h.Name, h.FD)
		}
		seen[h.FD] = true
	}
	return list, nil
}

// Listen returns the inherited socket with this name and address, or opens one, without
// keep-alive probes. It closes an inherited socket with this name and another address.
// The socket will be passed on, if the operating system can do that.
func (l *ListenerSet) Listen(name, address string) (net.Listener, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	listener, err := l.claimInherited(name, address)
	if err != nil {
		return nil, err
	}
	if listener == nil {
		// Idle timeouts end a dead connection long before probes would, and setting
		// up probes takes three system calls per connection.
		plain := net.ListenConfig{KeepAlive: -1}
		if listener, err = plain.Listen(context.Background(), "tcp", address); err != nil {
			return nil, err
		}
	}
	if l.released {
		return listener, nil
	}
	if file := dupDescriptor(listener); file != nil {
		l.toPass = append(l.toPass, inheritable{inheritedSocket{Name: name, Address: address}, file})
	}
	return listener, nil
}

// claimInherited removes the socket with this name from the inherited ones, and returns
// its listener; nil if there is none, or it has another address.
func (l *ListenerSet) claimInherited(name, address string) (net.Listener, error) {
	for i, h := range l.inherited {
		if h.Name != name {
			continue
		}
		l.inherited = append(l.inherited[:i], l.inherited[i+1:]...)
		file := os.NewFile(uintptr(h.FD), h.Name)
		defer file.Close() // the listener has a descriptor of its own
		if h.Address != address {
			return nil, nil
		}
		listener, err := net.FileListener(file)
		if err != nil {
			return nil, fmt.Errorf("%w: %s, descriptor %d: %w", ErrInherit, name, h.FD, err)
		}
		return listener, nil
	}
	return nil, nil
}

// Release closes the descriptors that were to be passed on, because no successor
// follows. A socket then closes with its listener. Otherwise clients could still connect
// to it until this program ends, and would then be reset.
func (l *ListenerSet) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.toPass {
		k.file.Close()
	}
	l.toPass, l.released = nil, true
}

// PassesOn reports whether sockets stay open for a successor when their listeners are
// closed.
func (l *ListenerSet) PassesOn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.toPass) > 0
}

// Close closes the inherited sockets that were not claimed, and the descriptors that were
// to be passed on. Listeners stay open.
func (l *ListenerSet) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.inherited {
		os.NewFile(uintptr(h.FD), h.Name).Close()
	}
	for _, k := range l.toPass {
		k.file.Close()
	}
	l.inherited, l.toPass = nil, nil
}
