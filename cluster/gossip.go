package cluster

import (
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"
)

const (
	// goodbyeStreams bounds the goodbyes that are sent at once.
	goodbyeStreams = 8
	// restartGoodbye bounds the goodbye before gossip restarts at another address.
	restartGoodbye = time.Second
	// goodbyeMessage is the first byte of a goodbye; the board's name follows.
	goodbyeMessage = 'L'
	// maxEvents bounds the events that wait for the ring to be rebuilt.
	maxEvents = 1024
)

// startGossip starts memberlist. It is called with listMu held, at the start and when the address
// changes.
func (m *Members) startGossip() error {
	inner, err := newTransport(m.ctx, m.bind, m.unproven, m.libraryLog)
	if err != nil {
		return err
	}
	m.bind = netip.AddrPortFrom(m.bind.Addr(), uint16(inner.GetAutoBindPort()))
	self := m.advertiseAddress()
	var wrapped memberlist.NodeAwareTransport = inner
	if m.cfg.wrap != nil {
		wrapped = m.cfg.wrap(inner)
	}

	m.mu.Lock()
	m.generation++
	callbacks := gossipDelegate{m, m.generation}
	m.boards[m.cfg.Name].Addr = self
	m.boards[m.cfg.Name].Link = linkOf(self, m.boards[m.cfg.Name].Meta)
	m.mu.Unlock()

	t := m.cfg.Timing
	c := memberlist.DefaultLANConfig()
	c.Name = m.cfg.Name
	c.Transport = wrapped
	c.BindAddr, c.BindPort = m.bind.Addr().String(), int(m.bind.Port())
	c.AdvertiseAddr, c.AdvertisePort = self.Addr().String(), int(self.Port())
	c.Keyring = m.keys
	c.EnableCompression = false // it cost more CPU than it saved in packets (mattermost#16701)
	c.ProbeInterval = t.ProbeInterval
	c.ProbeTimeout = t.ProbeTimeout
	c.SuspicionMult = t.SuspicionMult
	c.SuspicionMaxTimeoutMult = t.SuspicionMaxMult
	c.AwarenessMaxMultiplier = t.AwarenessMax
	c.GossipInterval = t.GossipInterval
	c.PushPullInterval = t.PushPullInterval
	c.TCPTimeout = t.StreamTimeout
	// A board that died may return at another address (a new DHCP lease) at once. Zero would mean
	// never, so this is the shortest time there is.
	c.DeadNodeReclaimTime = time.Nanosecond
	c.Delegate = callbacks
	c.Events = callbacks
	c.Conflict = callbacks
	c.Logger = log.New(streamLog{m.libraryLog.Writer(), inner}, "", 0)
	list, err := memberlist.Create(c)
	if err != nil {
		_ = inner.Shutdown()
		return fmt.Errorf("start gossip: %w", err)
	}
	inner.deliver()
	m.list = list
	return nil
}

// stopGossip stops memberlist. Callbacks that come later are ignored: its suspicion timers outlive it.
// It is called with listMu held.
func (m *Members) stopGossip() error {
	if m.list == nil {
		return nil
	}
	m.mu.Lock()
	m.generation++
	m.mu.Unlock()
	if err := m.list.Shutdown(); err != nil {
		return fmt.Errorf("stop gossip: %w", err)
	}
	return nil
}

// sayGoodbye sends a goodbye to every live board and then has memberlist announce the departure. Both
// are needed: memberlist's callback does not distinguish a board that left from one that died. It is
// called with listMu held.
func (m *Members) sayGoodbye(timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	note := append([]byte{goodbyeMessage}, m.cfg.Name...)
	list := m.list
	done := make(chan struct{})
	m.wg.Go(func() {
		defer close(done)
		var sends errgroup.Group
		sends.SetLimit(goodbyeStreams)
		for _, b := range m.Boards() {
			if b.Self || !b.Alive {
				continue
			}
			sends.Go(func() error {
				node := &memberlist.Node{Name: b.Name, Addr: b.Addr.Addr().AsSlice(), Port: b.Addr.Port()}
				if err := list.SendReliable(node, note); err != nil {
					m.dedupLog.Debug("goodbye not delivered", "board", b.Name, "error", err)
				}
				return nil
			})
		}
		_ = sends.Wait() // each failure is logged above
	})
	// Half of the time is for these sends, the other half for memberlist's own announcement.
	half := time.NewTimer(timeout / 2)
	defer half.Stop()
	select {
	case <-done:
	case <-half.C:
	}
	return list.Leave(max(time.Until(deadline), time.Millisecond)) // 0 would wait for ever
}

// restartGossip restarts gossip at another address. The rejoin loop then finds the other boards again.
func (m *Members) restartGossip() error {
	m.listMu.Lock()
	defer m.listMu.Unlock()
	if m.closed || m.departed {
		return nil
	}
	if m.list != nil {
		if err := m.sayGoodbye(restartGoodbye); err != nil {
			m.dedupLog.Debug("goodbye from the old address", "error", err)
		}
		if err := m.stopGossip(); err != nil {
			return err
		}
		m.list = nil
	}
	m.mu.Lock()
	for _, b := range m.boards {
		if b.Alive && !b.Self {
			b.Alive, b.Since = false, time.Now()
		}
	}
	m.mu.Unlock()
	wakeReader(m.rebuild)
	if err := m.startGossip(); err != nil {
		return err
	}
	wakeReader(m.rejoin)
	return nil
}

// advertiseAddress returns the address that other boards should use.
func (m *Members) advertiseAddress() netip.AddrPort {
	if m.cfg.Advertise != "" {
		if addr, err := parseAdvertise(m.cfg.Advertise, m.bind.Port()); err == nil {
			return addr
		}
	}
	if !m.bind.Addr().IsUnspecified() {
		return m.bind
	}
	if addr, ok := hostAddress(); ok {
		return netip.AddrPortFrom(addr, m.bind.Port())
	}
	// No other board can reach this address. Until housekeepingLoop finds a better one, the board serves
	// alone.
	m.dedupLog.Warn("this board has no network address yet; it serves alone until it gets one")
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), m.bind.Port())
}

// publishLoop passes the metadata of SetMeta to memberlist. It has a goroutine of its own, because
// memberlist blocks until it has sent the update to another board.
func (m *Members) publishLoop() {
	for {
		select {
		case <-m.publish:
		case <-m.ctx.Done():
			return
		}
		m.listMu.Lock()
		list, left := m.list, m.departed
		m.listMu.Unlock()
		if left || list == nil {
			continue // an update would announce a live board
		}
		if err := list.UpdateNode(publishTimeout); err != nil && m.ctx.Err() == nil {
			m.dedupLog.Debug("vitals are slow to spread", "error", err)
		}
	}
}

// gossipDelegate receives memberlist's callbacks. memberlist calls them with its node lock held, so they
// never call memberlist and return quickly.
type gossipDelegate struct {
	m          *Members
	generation int
}

// NodeMeta returns this board's metadata.
func (g gossipDelegate) NodeMeta(limit int) []byte {
	g.m.mu.Lock()
	defer g.m.mu.Unlock()
	return g.m.encoded[:min(len(g.m.encoded), limit)]
}

// NotifyMsg receives another board's goodbye.
func (g gossipDelegate) NotifyMsg(b []byte) {
	if len(b) < 2 || b[0] != goodbyeMessage {
		return
	}
	g.m.mu.Lock()
	defer g.m.mu.Unlock()
	if board := g.m.boards[string(b[1:])]; board != nil && !board.Self {
		board.leaving = true
	}
}

// GetBroadcasts, LocalState and MergeRemoteState do nothing: Bramble gossips only membership.
func (g gossipDelegate) GetBroadcasts(overhead, limit int) [][]byte     { return nil }
func (g gossipDelegate) LocalState(join bool) []byte                    { return nil }
func (g gossipDelegate) MergeRemoteState(remoteState []byte, join bool) {}

// NotifyJoin is called for a board that is now alive.
func (g gossipDelegate) NotifyJoin(n *memberlist.Node) { g.noteAlive(n) }

// NotifyUpdate is called for new metadata of a live board.
func (g gossipDelegate) NotifyUpdate(n *memberlist.Node) { g.noteAlive(n) }

func (g gossipDelegate) noteAlive(n *memberlist.Node) {
	m := g.m
	meta, err := ParseMeta(n.Meta)
	if err != nil {
		// The board stays known, without weight, so that the console shows it.
		m.dedupLog.Warn("cannot read a board's vitals; update the older of the two programs", "board", n.Name, "error", err)
	}
	addr := addrOf(n)

	m.mu.Lock()
	defer m.mu.Unlock()
	if g.generation != m.generation || n.Name == m.cfg.Name {
		return
	}
	b := m.boards[n.Name]
	switch {
	case b == nil:
		if len(m.boards) >= maxBoards {
			m.dedupLog.Error("this rack has too many boards; one is ignored", "board", n.Name, "limit", maxBoards)
			return
		}
		b = &Board{Name: n.Name, Meta: meta, Since: time.Now()}
		m.boards[n.Name] = b
		m.queueEvent(Joined, n.Name, fmt.Sprintf("%s joined at %s", n.Name, addr.Addr()))
	case !b.Alive:
		m.queueEvent(Returned, n.Name, fmt.Sprintf("%s is back after %s", n.Name, roundedSince(b.Since)))
		b.Since, b.leaving = time.Now(), false
	}
	b.Addr, b.Alive, b.Departed = addr, true, false
	m.noteMeta(b, meta)
}

// NotifyLeave is called for a board that died or left.
func (g gossipDelegate) NotifyLeave(n *memberlist.Node) {
	m := g.m
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boards[n.Name]
	if g.generation != m.generation || n.Name == m.cfg.Name || b == nil || !b.Alive {
		return
	}
	b.Alive, b.Departed, b.Since = false, b.leaving || b.Meta.Vitals.State == Stopping, time.Now()
	b.leaving = false
	if b.Departed {
		m.queueEvent(Departed, n.Name, fmt.Sprintf("%s left the rack", n.Name))
	} else {
		m.queueEvent(Died, n.Name, fmt.Sprintf("%s does not answer and is counted as dead", n.Name))
		wakeReader(m.rejoin)
	}
}

// NotifyConflict is called when one name is used at two addresses.
func (g gossipDelegate) NotifyConflict(existing, other *memberlist.Node) {
	m := g.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if g.generation != m.generation {
		return
	}
	at, also := addrOf(existing), addrOf(other)
	text := fmt.Sprintf("two boards call themselves %s", existing.Name)
	if b := m.boards[existing.Name]; b == nil || !b.Alive {
		return // the new board is about to replace the dead one
	}
	m.dedupLog.Error(text+": give one of them another name under [board] and start it again",
		"board", existing.Name, "address", at, "other_address", also)
	m.queueEvent(Conflict, existing.Name, fmt.Sprintf("%s, at %s and at %s", text, at, also))
	if existing.Name == m.cfg.Name {
		m.conflict.Store(true) // for the next rejoinRound; a Join now would cause the next conflict
	}
}

// noteMeta stores a board's new metadata, and queues an event if its state or faults changed. It is
// called with mu held.
func (m *Members) noteMeta(b *Board, meta Meta) {
	old := b.Meta
	b.Meta = meta
	b.Link = linkOf(b.Addr, meta)
	if old.Vitals.State != meta.Vitals.State || old.Vitals.Faults != meta.Vitals.Faults {
		m.queueEvent(Changed, b.Name, changedText(b.Name, old.Vitals, meta.Vitals))
	}
	wakeReader(m.rebuild)
}

// queueEvent queues an event for rebuildRing. It is called with mu held.
func (m *Members) queueEvent(kind EventKind, board, text string) {
	if len(m.events) < maxEvents {
		m.events = append(m.events, Event{At: time.Now(), Kind: kind, Board: board, Text: text})
	}
	wakeReader(m.rebuild)
}

func addrOf(n *memberlist.Node) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(ip.Unmap(), n.Port)
}

// roundedSince returns the time since t, rounded for a person to read.
func roundedSince(t time.Time) time.Duration {
	d := time.Since(t)
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
