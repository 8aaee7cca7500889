package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"bramble/cluster/ledger"
)

// Node is a board on a Net: a *ledger.Ledger.
type Node interface {
	Accept(conn net.Conn, board string)
	HandleCall(ctx context.Context, board, kind string, body []byte) ([]byte, error)
}

// Net is a network between boards in one process. The zero value is not usable; see
// New. A direction that is cut drops everything silently, as a pulled cable does.
// Heal breaks the streams that lost data.
type Net struct {
	mu       sync.Mutex // guards all below
	nodes    map[string]Node
	cut      map[direction]bool
	delay    map[direction]time.Duration
	dropRate map[direction]float64
	streams  map[*streamEnd]struct{}
}

type direction struct{ from, to string }

// New returns a network without boards.
func New() *Net {
	return &Net{nodes: map[string]Node{}, cut: map[direction]bool{}, delay: map[direction]time.Duration{},
		dropRate: map[direction]float64{}, streams: map[*streamEnd]struct{}{}}
}

// Join plugs a board in, and unplugs an earlier one of its name.
func (n *Net) Join(name string, node Node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[name] = node
}

// Leave unplugs a board and breaks its streams.
func (n *Net) Leave(name string) {
	n.mu.Lock()
	delete(n.nodes, name)
	n.mu.Unlock()
	n.breakStreams(func(e *streamEnd) bool { return e.direction.from == name || e.direction.to == name })
}

// Boards returns the names of the boards that board can reach, itself included: what
// gossip would report, without its delay.
func (n *Net) Boards(board string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	names := []string{board}
	for name := range n.nodes {
		if name != board && !n.cut[direction{board, name}] && !n.cut[direction{name, board}] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Cut drops everything from one board to another, but not in the other direction.
func (n *Net) Cut(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[direction{from, to}] = true
}

// Partition cuts both directions between all boards of the two groups.
func (n *Net) Partition(some, others []string) {
	for _, a := range some {
		for _, b := range others {
			n.Cut(a, b)
			n.Cut(b, a)
		}
	}
}

// Delay delays everything from one board to another by d.
func (n *Net) Delay(from, to string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay[direction{from, to}] = d
}

// DropCalls drops this part (0 to 1) of the calls and of the responses from one board
// to another.
func (n *Net) DropCalls(from, to string, part float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dropRate[direction{from, to}] = part
}

// Heal ends every cut, delay and loss.
func (n *Net) Heal() {
	n.mu.Lock()
	clear(n.cut)
	clear(n.delay)
	clear(n.dropRate)
	n.mu.Unlock()
	n.breakStreams(func(e *streamEnd) bool { return e.lost })
}

func (n *Net) breakStreams(which func(*streamEnd) bool) {
	n.mu.Lock()
	var broken []*streamEnd
	for e := range n.streams {
		if which(e) {
			broken = append(broken, e)
		}
	}
	n.mu.Unlock()
	for _, e := range broken {
		e.Close()
	}
}

// TransportOf returns a board's end of the network.
func (n *Net) TransportOf(board string) ledger.Transport { return boardTransport{n, board} }

type boardTransport struct {
	net  *Net
	name string
}

func (t boardTransport) Stream(ctx context.Context, board string) (net.Conn, error) {
	out, back := direction{t.name, board}, direction{board, t.name}
	t.net.mu.Lock()
	node, cut := t.net.nodes[board], t.net.cut[out] || t.net.cut[back]
	t.net.mu.Unlock()
	if cut {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if node == nil {
		return nil, fmt.Errorf("%s is not plugged in", board)
	}
	a, b := net.Pipe()
	near, far := &streamEnd{Conn: a, net: t.net, direction: out}, &streamEnd{Conn: b, net: t.net, direction: back}
	t.net.mu.Lock()
	t.net.streams[near], t.net.streams[far] = struct{}{}, struct{}{}
	t.net.mu.Unlock()
	go node.Accept(far, t.name)
	return near, nil
}

// awaitPassage waits for the delay and reports whether a call gets through.
func (t boardTransport) awaitPassage(ctx context.Context, w direction) bool {
	t.net.mu.Lock()
	cut, delay, lose := t.net.cut[w], t.net.delay[w], t.net.dropRate[w]
	t.net.mu.Unlock()
	if delay > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
	return !cut && (lose == 0 || rand.Float64() >= lose)
}

func (t boardTransport) Call(ctx context.Context, board, kind string, body []byte) ([]byte, error) {
	t.net.mu.Lock()
	node := t.net.nodes[board]
	t.net.mu.Unlock()
	if node == nil {
		return nil, fmt.Errorf("%s is not plugged in: %w", board, ledger.ErrNotSent)
	}
	if !t.awaitPassage(ctx, direction{t.name, board}) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	type answer struct {
		b   []byte
		err error
	}
	got := make(chan answer, 1)
	go func() { // the called board goes on when the caller gives up
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		b, err := node.HandleCall(ctx, t.name, kind, body)
		got <- answer{b, err}
	}()
	select {
	case a := <-got:
		if !t.awaitPassage(ctx, direction{board, t.name}) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return a.b, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// callTimeout limits the handling of a call.
const callTimeout = 10 * time.Second

// streamEnd is one side of a stream: net.Pipe with faults.
type streamEnd struct {
	net.Conn
	net       *Net
	direction direction
	lost      bool // data was dropped; guarded by net.mu
}

func (s *streamEnd) Write(b []byte) (int, error) {
	s.net.mu.Lock()
	if s.net.cut[s.direction] {
		s.lost = true
	}
	lost, delay := s.lost, s.net.delay[s.direction]
	s.net.mu.Unlock()
	if lost {
		return len(b), nil
	}
	time.Sleep(delay)
	n, err := s.Conn.Write(b)
	if errors.Is(err, io.ErrClosedPipe) {
		err = net.ErrClosed
	}
	return n, err
}

func (s *streamEnd) Close() error {
	s.net.mu.Lock()
	delete(s.net.streams, s)
	s.net.mu.Unlock()
	return s.Conn.Close()
}
