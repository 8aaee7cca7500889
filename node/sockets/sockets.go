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

// firstFree is the least descriptor that can be a socket handed over: those
// before it are the standard streams.
const firstFree = 3

var (
	// ErrHanded is the kind of every error about sockets that were handed over wrongly.
	ErrHanded = errors.New("sockets handed over by the program before")
	// ErrNoExec is what Exec says where a program cannot take another's place.
	ErrNoExec = errors.New("this system cannot replace a running program")
)

// handed is one socket as Env tells of it.
type handed struct {
	Name    string `json:"name"`    // what it is for
	Address string `json:"address"` // what was asked for, host:port, as it stands in the configuration
	FD      int    `json:"fd"`
}

// Set are the listeners that a program can hand on. It may be used by several
// goroutines.
type Set struct {
	mu    sync.Mutex // guards the rest
	came  []handed   // not asked for yet
	kept  []kept     // to be handed on
	alone bool       // no other program comes
}

// kept is a listener with a descriptor of its own: the socket lives on when the
// listener is closed.
type kept struct {
	handed
	file *os.File
}

// Inherit reads the value of Env; "" is a program that was handed nothing.
// Descriptors in it belong to the set from now on. Errors are ErrHanded.
func Inherit(env string) (*Set, error) {
	s := new(Set)
	if env == "" {
		return s, nil
	}
	list, err := parse(env)
	if err != nil {
		return nil, err
	}
	for _, h := range list {
		closeOnExec(h.FD)
	}
	s.came = list
	return s, nil
}

func parse(env string) ([]handed, error) {
	var list []handed
	if err := json.Unmarshal([]byte(env), &list); err != nil {
		return nil, fmt.Errorf("%w: %s is no list of sockets: %w", ErrHanded, Env, err)
	}
	if len(list) > maxSockets {
		return nil, fmt.Errorf("%w: %d of them, at most %d are taken", ErrHanded, len(list), maxSockets)
	}
	seen := map[int]bool{}
	for _, h := range list {
		if h.FD < firstFree || seen[h.FD] {
			return nil, fmt.Errorf("%w: %q cannot be descriptor %d", ErrHanded, h.Name, h.FD)
		}
		seen[h.FD] = true
	}
	return list, nil
}

// Listen gives the socket that was handed over under a name for the same
// address, or opens one, without keep-alive probes. One that was handed over
// for another address is closed. Where sockets can be handed on, this one will be.
func (s *Set) Listen(name, address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	listener, err := s.claim(name, address)
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
	if s.alone {
		return listener, nil
	}
	if file := descriptor(listener); file != nil {
		s.kept = append(s.kept, kept{handed{Name: name, Address: address}, file})
	}
	return listener, nil
}

// claim takes a name's socket off those that came; nil if there is none for the address.
func (s *Set) claim(name, address string) (net.Listener, error) {
	for i, h := range s.came {
		if h.Name != name {
			continue
		}
		s.came = append(s.came[:i], s.came[i+1:]...)
		file := os.NewFile(uintptr(h.FD), h.Name)
		defer file.Close() // the listener has a descriptor of its own
		if h.Address != address {
			return nil, nil
		}
		listener, err := net.FileListener(file)
		if err != nil {
			return nil, fmt.Errorf("%w: %s, descriptor %d: %w", ErrHanded, name, h.FD, err)
		}
		return listener, nil
	}
	return nil, nil
}

// Release gives up what was to be handed on, for no other program comes: a socket
// whose listener is closed is closed then. Otherwise clients would go on coming to it
// until this program has ended, and be reset then.
func (s *Set) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kept {
		k.file.Close()
	}
	s.kept, s.alone = nil, true
}

// HandsOn reports whether sockets live on when their listeners are closed.
func (s *Set) HandsOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept) > 0
}

// Close gives up what was handed over and not asked for, and what was to be
// handed on. Listeners stay as they are.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.came {
		os.NewFile(uintptr(h.FD), h.Name).Close()
	}
	for _, k := range s.kept {
		k.file.Close()
	}
	s.came, s.kept = nil, nil
}
