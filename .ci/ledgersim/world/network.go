package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"bramble/cluster/ledger"
)

// network connects the boards. Each direction between two boards has its own delays and
// losses. Its random choices come from one generator, so they depend on the seed and on
// the order of the messages alone.
type network struct {
	mu      sync.Mutex // guards all below
	rng     *rand.Rand
	ports   map[string]*boardRun // by the board's name
	links   map[link]linkState
	conns   []*conn
	changed chan struct{} // closed when a link changes
	latency time.Duration // of every message, at least
	jitter  time.Duration // added to it, at most
}

// link is a direction between two boards, by their names.
type link struct{ from, to string }

// linkState is what is wrong with a link.
type linkState struct {
	isCut  bool          // calls are lost, and streams stand still
	isHeld bool          // everything waits until the link is released, and then arrives
	stalls bool          // streams stand still
	delay  time.Duration // more than usual
	loss   float64       // part of the calls that is lost
}

// callTimeout limits the handling of a call.
const callTimeout = 10 * time.Second

func newNetwork(rng *rand.Rand) *network {
	return &network{rng: rng, ports: map[string]*boardRun{}, links: map[link]linkState{}, changed: make(chan struct{}),
		latency: time.Duration(200+rng.IntN(2000)) * time.Microsecond, jitter: time.Duration(rng.IntN(5000)+1) * time.Microsecond}
}

func (n *network) plugIn(b *boardRun) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[b.name] = b
}

// unplug ends a board's traffic. The other boards learn at once that its streams are
// broken, or after a while if the power failed.
func (n *network) unplug(b *boardRun, silently bool) {
	n.mu.Lock()
	if n.ports[b.name] == b {
		delete(n.ports, b.name)
	}
	var broken []*conn
	n.conns = slices.DeleteFunc(n.conns, func(c *conn) bool {
		if c.board == b || c.peer.board == b {
			broken = append(broken, c)
			return true
		}
		return false
	})
	n.mu.Unlock()
	after := time.Duration(0)
	if silently {
		after = 8 * time.Second
	}
	for _, c := range broken {
		wait := after
		if c.board == b {
			wait = 0
		}
		time.AfterFunc(wait, func() { c.Close() })
	}
}

// set changes what is wrong with a link.
func (n *network) set(l link, change func(*linkState)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.links[l]
	change(&s)
	n.links[l] = s
	close(n.changed)
	n.changed = make(chan struct{})
}

// heal repairs every link.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.links)
	close(n.changed)
	n.changed = make(chan struct{})
}

// stateOf returns a link's state, and the channel that is closed when one changes.
func (n *network) stateOf(l link) (linkState, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[l], n.changed
}

// at returns the board that answers to a name, nil if none does.
func (n *network) at(name string) *boardRun {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ports[name]
}

// reaches reports whether two boards reach each other.
func (n *network) reaches(a, b string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	out, back := n.links[link{a, b}], n.links[link{b, a}]
	return n.ports[a] != nil && n.ports[b] != nil && !out.isCut && !back.isCut && !out.isHeld && !back.isHeld
}

// drawLatency returns the delay of the next message on a link, and whether a call on it
// is lost.
func (n *network) drawLatency(l link) (d time.Duration, isLost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.links[l]
	d = n.latency + time.Duration(n.rng.Int64N(int64(n.jitter)))
	if s.delay > 0 {
		d += time.Duration(n.rng.Int64N(int64(s.delay)))
	}
	if n.rng.IntN(200) == 0 { // a lost packet is sent again
		d += 200 * time.Millisecond
	}
	return d, s.loss > 0 && n.rng.Float64() < s.loss
}

// carry waits until a call's message has passed the link, and reports whether it arrives.
func (n *network) carry(l link) bool {
	delay, isLost := n.drawLatency(l)
	time.Sleep(delay)
	for {
		s, changed := n.stateOf(l)
		switch {
		case s.isCut || isLost:
			return false
		case !s.isHeld:
			return true
		}
		<-changed
	}
}

// boardTransport is a board's ledger.Transport.
type boardTransport struct {
	net   *network
	board *boardRun
}

// Stream implements ledger.Transport.
func (t boardTransport) Stream(ctx context.Context, name string) (net.Conn, error) {
	opened := make(chan *conn, 1)
	go func() {
		enter(nil) // what is on its way arrives, whatever its sender does
		if !t.net.carry(link{t.board.name, name}) || t.board.isDead {
			return
		}
		peer := t.net.at(name)
		if peer == nil {
			if t.net.carry(link{name, t.board.name}) {
				opened <- nil
			}
			return
		}
		near, far := newConns(t.net, t.board, peer, name)
		go func() {
			enter(peer.process)
			peer.Accept(far, t.board.name)
		}()
		opened <- near
	}()
	select {
	case c := <-opened:
		if c == nil {
			return nil, fmt.Errorf("%s refuses the connection", name)
		}
		return c, nil
	case <-ctx.Done():
		go func() {
			if c := <-opened; c != nil {
				c.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// Call implements ledger.Transport. The message goes on when the caller gives up, and
// arrives at the board that has the name then.
func (t boardTransport) Call(ctx context.Context, name, kind string, body []byte) ([]byte, error) {
	type answer struct {
		b   []byte
		err error
	}
	got := make(chan answer, 1)
	shows := kind == hello && len(t.board.voters) > 0 // raft runs, so the hello names the newest start
	go func() {
		enter(nil)
		if !t.net.carry(link{t.board.name, name}) || t.board.isDead {
			return
		}
		peer := t.net.at(name)
		if peer == nil {
			got <- answer{nil, fmt.Errorf("%s refuses the connection: %w", name, ledger.ErrNotSent)}
			return
		}
		enter(peer.process)
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		b, err := peer.HandleCall(ctx, t.board.name, kind, body)
		enter(nil)
		if shows && err == nil {
			t.board.site.world.noteSeen(t.board, peer)
		}
		if peer.isDead || !t.net.carry(link{name, t.board.name}) {
			return
		}
		got <- answer{b, err}
	}()
	select {
	case a := <-got:
		return a.b, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
