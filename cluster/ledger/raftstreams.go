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

// raftStreams is raft's network: a raft.StreamLayer over Transport.Stream. Every
// stream begins with a handshake that names the ledger, so that two ledgers whose
// boards have the same names never mix.
type raftStreams struct {
	name      string
	transport Transport
	ledger    ledgerID
	// onForeign is called for a board that belongs to another ledger.
	onForeign func(board string, id ledgerID)

	accepted chan net.Conn
	done     chan struct{}

	mu     sync.Mutex // guards the rest
	open   map[*trackedConn]struct{}
	closed bool
}

// trackedConn is a stream that is closed with the ledger, even while it is in use.
type trackedConn struct {
	net.Conn
	owner *raftStreams
}

func (t *trackedConn) Close() error {
	t.owner.mu.Lock()
	delete(t.owner.open, t)
	t.owner.mu.Unlock()
	return t.Conn.Close()
}

func (r *raftStreams) trackConn(conn net.Conn) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	t := &trackedConn{conn, r}
	r.open[t] = struct{}{}
	return t, nil
}

const (
	streamMagic   = "bramble ledger 1"
	handshakeSize = len(streamMagic) + 8
	// maxPendingStreams limits the streams that wait for raft to accept them.
	maxPendingStreams = 16
	// handshakeTimeout limits the wait for a handshake.
	handshakeTimeout = 2 * time.Second
)

func newStreams(name string, link Transport, id ledgerID, foreign func(string, ledgerID)) *raftStreams {
	return &raftStreams{name: name, transport: link, ledger: id, onForeign: foreign,
		accepted: make(chan net.Conn, maxPendingStreams), done: make(chan struct{}), open: map[*trackedConn]struct{}{}}
}

// Dial implements raft.StreamLayer; the address is a board's name.
func (r *raftStreams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := r.transport.Stream(ctx, string(address))
	if err != nil {
		return nil, err
	}
	handshake := binary.LittleEndian.AppendUint64([]byte(streamMagic), uint64(r.ledger))
	conn.SetWriteDeadline(time.Now().Add(timeout))
	if _, err := conn.Write(handshake); err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetWriteDeadline(time.Time{})
	return r.trackConn(conn)
}

// acceptStream reads the handshake of a stream that another board opened, and queues the
// stream for raft.
func (r *raftStreams) acceptStream(conn net.Conn, board string) error {
	handshake := make([]byte, handshakeSize)
	conn.SetReadDeadline(time.Now().Add(handshakeTimeout))
	if _, err := io.ReadFull(conn, handshake); err != nil {
		conn.Close()
		return fmt.Errorf("the handshake of %s: %w", board, err)
	}
	conn.SetReadDeadline(time.Time{})
	id := ledgerID(binary.LittleEndian.Uint64(handshake[len(streamMagic):]))
	if string(handshake[:len(streamMagic)]) != streamMagic {
		conn.Close()
		return fmt.Errorf("%s does not speak this ledger's protocol", board)
	}
	if id != r.ledger {
		conn.Close()
		r.onForeign(board, id)
		return fmt.Errorf("%s belongs to ledger %s, not %s", board, id, r.ledger)
	}
	conn, err := r.trackConn(conn)
	if err != nil {
		return err
	}
	select {
	case r.accepted <- conn:
		return nil
	default:
		conn.Close()
		return errors.New("too many streams wait")
	}
}

// Accept implements net.Listener.
func (r *raftStreams) Accept() (net.Conn, error) {
	select {
	case conn := <-r.accepted:
		return conn, nil
	case <-r.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener, and closes every stream.
func (r *raftStreams) Close() error {
	r.mu.Lock()
	open := r.open
	first := !r.closed
	r.open, r.closed = nil, true
	r.mu.Unlock()
	if first {
		close(r.done)
	}
	for t := range open {
		t.Conn.Close()
	}
	return nil
}

// Addr implements net.Listener: the board's name.
func (r *raftStreams) Addr() net.Addr { return boardAddr(r.name) }

type boardAddr string

func (boardAddr) Network() string  { return "rack" }
func (b boardAddr) String() string { return string(b) }
