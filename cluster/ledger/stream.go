package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// streams is raft's network: raft.StreamLayer over Link.Stream. Every stream
// begins with a greeting that names the ledger, so that two ledgers which
// share boards' names never mix.
type streams struct {
	name   string
	link   Link
	ledger ledgerID
	// foreign is told of a board that belongs to another ledger.
	foreign func(board string, id ledgerID)

	accepted chan net.Conn
	done     chan struct{}

	mu     sync.Mutex // guards the rest
	open   map[*tracked]struct{}
	closed bool
}

// tracked is a stream that is closed with the ledger, whoever holds it.
type tracked struct {
	net.Conn
	of *streams
}

func (t *tracked) Close() error {
	t.of.mu.Lock()
	delete(t.of.open, t)
	t.of.mu.Unlock()
	return t.Conn.Close()
}

func (s *streams) track(conn net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	t := &tracked{conn, s}
	s.open[t] = struct{}{}
	return t, nil
}

const (
	greeting     = "bramble ledger 1"
	greetingSize = len(greeting) + 8
	// maxWaiting is the number of streams that wait for raft to take them.
	maxWaiting = 16
	// maxGreeting bounds the wait for a greeting.
	maxGreeting = 2 * time.Second
)

func newStreams(name string, link Link, id ledgerID, foreign func(string, ledgerID)) *streams {
	return &streams{name: name, link: link, ledger: id, foreign: foreign,
		accepted: make(chan net.Conn, maxWaiting), done: make(chan struct{}), open: map[*tracked]struct{}{}}
}

// Dial implements raft.StreamLayer; the address is a board's name.
func (s *streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := s.link.Stream(ctx, string(address))
	if err != nil {
		return nil, err
	}
	hello := binary.LittleEndian.AppendUint64([]byte(greeting), uint64(s.ledger))
	conn.SetWriteDeadline(time.Now().Add(timeout))
	if _, err := conn.Write(hello); err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetWriteDeadline(time.Time{})
	return s.track(conn)
}

// take is given a stream that another board opened.
func (s *streams) take(conn net.Conn, board string) error {
	hello := make([]byte, greetingSize)
	conn.SetReadDeadline(time.Now().Add(maxGreeting))
	if _, err := io.ReadFull(conn, hello); err != nil {
		conn.Close()
		return fmt.Errorf("greeting of %s: %w", board, err)
	}
	conn.SetReadDeadline(time.Time{})
	id := ledgerID(binary.LittleEndian.Uint64(hello[len(greeting):]))
	if string(hello[:len(greeting)]) != greeting {
		conn.Close()
		return fmt.Errorf("%s does not speak this ledger's language", board)
	}
	if id != s.ledger {
		conn.Close()
		s.foreign(board, id)
		return fmt.Errorf("%s belongs to ledger %s, not %s", board, id, s.ledger)
	}
	conn, err := s.track(conn)
	if err != nil {
		return err
	}
	select {
	case s.accepted <- conn:
		return nil
	default:
		conn.Close()
		return errors.New("too many streams wait")
	}
}

// Accept implements net.Listener.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case conn := <-s.accepted:
		return conn, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener, and closes every stream.
func (s *streams) Close() error {
	s.mu.Lock()
	open := s.open
	first := !s.closed
	s.open, s.closed = nil, true
	s.mu.Unlock()
	if first {
		close(s.done)
	}
	for t := range open {
		t.Conn.Close()
	}
	return nil
}

// Addr implements net.Listener: the board's name.
func (s *streams) Addr() net.Addr { return boardAddr(s.name) }

type boardAddr string

func (boardAddr) Network() string  { return "rack" }
func (a boardAddr) String() string { return string(a) }
