//go:build !unix

package sockets

import (
	"net"
	"os"
)

func dupDescriptor(net.Listener) *os.File { return nil }

func closeOnExec(int) {}

// Exec returns ErrNoExec on this system.
func (l *ListenerSet) Exec(string, []string, []string) error { return ErrNoExec }
