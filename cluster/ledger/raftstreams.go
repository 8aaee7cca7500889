package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// raftStreams is raft's network: a raft.StreamLayer over Transport.Stream. Raft's
// addresses are server ids here, not boards' names: a vote or an entry is meant for one
// life of a board. Every stream begins with a handshake that names the ledger, the
// caller's life and the life that it wants. Another life of the wanted board refuses.
type raftStreams struct {
	self      string // this board's server id
	transport Transport
	peers     streamPeers

	accepted chan net.Conn
	done     chan struct{}

	mu     sync.Mutex // guards the rest
	open   map[*trackedConn]struct{}
	closed bool
}

// streamPeers is what raftStreams needs to know of the other boards.
type streamPeers interface {
	// boardName returns the present name of the board with a server id.
	boardName(server string) string
	// handshake returns this board's handshake for a stream to a server.
	handshake(wanted string) streamHandshake
	// checkHandshake returns why a stream of a caller must not be used, or nil.
	checkHandshake(h streamHandshake, board string) error
	// checkResponse does the same for a stream that this board opened.
	checkResponse(wanted, board string, r handshakeResponse) error
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
	streamMagic = "bramble ledger 2"
	// maxHandshake limits a handshake and its response, in bytes.
	maxHandshake = 8 << 10
	// maxPendingStreams limits the streams that wait for raft to accept them.
	maxPendingStreams = 16
	// handshakeTimeout limits the wait for a handshake.
	handshakeTimeout = 2 * time.Second
)

// streamHandshake is the first message on a stream, from the board that opened it.
type streamHandshake struct {
	Ledger ledgerID
	Server raftServer // the caller
	Life   lifeProof  // of the caller
	Wanted string     // the server id that the stream is for
}

// handshakeResponse is the first message in the other direction.
type handshakeResponse struct {
	Server  raftServer
	Life    lifeProof
	Refused string `json:",omitempty"` // why the stream is refused, "" if it is not
	// RolledBack: it is refused because the caller's files are older than those that the
	// caller had before.
	RolledBack bool `json:",omitempty"`
}

// errOtherLife: a stream was for another life of this board.
var errOtherLife = errors.New("another life of this board is wanted")

func newStreams(self string, link Transport, peers streamPeers) *raftStreams {
	return &raftStreams{self: self, transport: link, peers: peers,
		accepted: make(chan net.Conn, maxPendingStreams), done: make(chan struct{}), open: map[*trackedConn]struct{}{}}
}

// ServerAddr implements raft.ServerAddressProvider. So raft's pool of streams is by
// server id too.
func (r *raftStreams) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	return raft.ServerAddress(id), nil
}

// Dial implements raft.StreamLayer; the address is a server id.
func (r *raftStreams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	wanted := string(address)
	board := r.peers.boardName(wanted)
	conn, err := r.transport.Stream(ctx, board)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(timeout))
	var response handshakeResponse
	err = writeHandshake(conn, r.peers.handshake(wanted))
	if err == nil {
		err = readHandshake(conn, &response)
	}
	if err == nil {
		err = r.peers.checkResponse(wanted, board, response)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("a stream to %s (%s): %w", board, wanted, err)
	}
	conn.SetDeadline(time.Time{})
	return r.trackConn(conn)
}

// acceptStream reads the handshake of a stream that another board opened, and queues the
// stream for raft.
func (r *raftStreams) acceptStream(conn net.Conn, board string) error {
	conn.SetDeadline(time.Now().Add(handshakeTimeout))
	var h streamHandshake
	if err := readHandshake(conn, &h); err != nil {
		conn.Close()
		return fmt.Errorf("the handshake of %s: %w", board, err)
	}
	refusal := r.peers.checkHandshake(h, board)
	own := r.peers.handshake(h.Server.ID)
	response := handshakeResponse{Server: own.Server, Life: own.Life}
	if refusal != nil {
		response.Refused, response.RolledBack = refusal.Error(), errors.Is(refusal, errRolledBack)
	}
	err := writeHandshake(conn, response)
	if err = errors.Join(refusal, err); err != nil {
		conn.Close()
		return fmt.Errorf("a stream of %s (%s): %w", board, h.Server.ID, err)
	}
	conn.SetDeadline(time.Time{})
	if conn, err = r.trackConn(conn); err != nil {
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

// A handshake on the wire is the magic, the length of the JSON as uint16, and the JSON.
func writeHandshake(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err == nil && len(b) > maxHandshake {
		err = fmt.Errorf("a handshake of %d bytes", len(b))
	}
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.LittleEndian.AppendUint16([]byte(streamMagic), uint16(len(b))), b...))
	return err
}

func readHandshake(r io.Reader, v any) error {
	header := make([]byte, len(streamMagic)+2)
	if _, err := io.ReadFull(r, header); err != nil {
		return err
	}
	n := int(binary.LittleEndian.Uint16(header[len(streamMagic):]))
	if !bytes.HasPrefix(header, []byte(streamMagic)) || n > maxHandshake {
		return errors.New("it does not speak this ledger's protocol; run the same program on all boards")
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return json.Unmarshal(b, v)
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
	if !r.closed {
		close(r.done)
	}
	r.closed = true
	r.mu.Unlock()
	r.closeOpen()
	return nil
}

// closeOpen closes the streams that are open.
func (r *raftStreams) closeOpen() {
	r.mu.Lock()
	open := slices.Collect(maps.Keys(r.open))
	r.mu.Unlock()
	for _, t := range open {
		t.Close()
	}
}

// Addr implements net.Listener: this board's server id.
func (r *raftStreams) Addr() net.Addr { return serverAddr(r.self) }

type serverAddr string

func (serverAddr) Network() string  { return "rack" }
func (s serverAddr) String() string { return string(s) }
