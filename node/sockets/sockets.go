// Package sockets keeps a program's listeners through its replacement: Exec
// puts another program in this one's place, in the same process, and hands it
// the listening sockets. Between the two nobody accepts and nobody is refused:
// who connects meanwhile waits in the kernel's backlog.
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

// Env is the environment variable that tells a program which sockets it was
// handed. Whoever calls Inherit takes it out of the environment, so that no
// child believes that they are its own.
const Env = "BRAMBLE_SOCKETS"

// maxSockets bounds what a program may be handed.
const maxSockets = 16

// firstDescriptor is the least descriptor that can be a socket handed over: those
// before it are the standard streams.
const firstDescriptor = 3

var (
	// ErrInherit is the kind of every error about sockets that were handed over wrongly.
	ErrInherit = errors.New("sockets handed over by the program before")
	// ErrNoExec is what Exec says where a program cannot take another's place.
	ErrNoExec = errors.New("this system cannot replace a running program")
)

// inheritedSocket is one socket as Env tells of it.
type inheritedSocket struct {
	Name    string `json:"name"`    // what it is for
	Address string `json:"address"` // what was asked for, host:port, as it stands in the configuration
	FD      int    `json:"fd"`
}

// ListenerSet are the listeners that a program can hand on. It may be used by several
// goroutines.
type ListenerSet struct {
	mu        sync.Mutex        // guards the rest
	inherited []inheritedSocket // not asked for yet
	toPass    []inheritable     // to be handed on
	released  bool              // no other program comes
}

// inheritable is a listener with a descriptor of its own: the socket lives on when the
// listener is closed.
type inheritable struct {
	inheritedSocket
	file *os.File
}

// Inherit reads the value of Env; "" is a program that was handed nothing.
// Descriptors in it belong to the set from now on. Errors are ErrHanded.
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
		return nil, fmt.Errorf("%w: %s is no list of sockets: %w", ErrInherit, Env, err)
	}
	if len(list) > maxSockets {
		return nil, fmt.Errorf("%w: %d of them, at most %d are taken", ErrInherit, len(list), maxSockets)
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

// Listen gives the socket that was handed over under a name for the same
// address, or opens one, without keep-alive probes. One that was handed over
// for another address is closed. Where sockets can be handed on, this one will be.
func (s *ListenerSet) Listen(name, address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	listener, err := s.claimInherited(name, address)
	if err != nil {
		return nil, err
	}
	if listener == nil {
		// Idle times end a dead connection long before probes would, and to set
		// probes up takes three system calls a connection.
		plain := net.ListenConfig{KeepAlive: -1}
		if listener, err = plain.Listen(context.Background(), "tcp", address); err != nil {
			return nil, err
		}
	}
	if s.released {
		return listener, nil
	}
	if file := dupDescriptor(listener); file != nil {
		s.toPass = append(s.toPass, inheritable{inheritedSocket{Name: name, Address: address}, file})
	}
	return listener, nil
}

// claimInherited takes a name's socket off those that came; nil if there is none for the address.
func (s *ListenerSet) claimInherited(name, address string) (net.Listener, error) {
	for i, h := range s.inherited {
		if h.Name != name {
			continue
		}
		s.inherited = append(s.inherited[:i], s.inherited[i+1:]...)
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

// Release gives up what was to be handed on, for no other program comes: a socket
// whose listener is closed is closed then. Otherwise clients would go on coming to it
// until this program has ended, and be reset then.
func (s *ListenerSet) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.toPass {
		k.file.Close()
	}
	s.toPass, s.released = nil, true
}

// PassesOn reports whether sockets live on when their listeners are closed.
func (s *ListenerSet) PassesOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.toPass) > 0
}

// Close gives up what was handed over and not asked for, and what was to be
// handed on. Listeners stay as they are.
func (s *ListenerSet) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.inherited {
		os.NewFile(uintptr(h.FD), h.Name).Close()
	}
	for _, k := range s.toPass {
		k.file.Close()
	}
	s.inherited, s.toPass = nil, nil
}
