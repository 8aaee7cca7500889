package cluster

import (
	"slices"
	"strings"
	"time"
)

// rebuildLoop rebuilds the ring when boards change and then sends the events, in that order: a watcher
// that learns that a board died finds it gone from the ring. It is a goroutine of its own because
// memberlist calls back with its lock held, and a big ring takes a slow board some time.
func (m *Members) rebuildLoop() {
	for {
		select {
		case <-m.rebuild:
			m.rebuildRing()
		case <-m.ctx.Done():
			return
		}
	}
}

// rebuildRing rebuilds the ring if its members changed, and sends and logs the queued events.
func (m *Members) rebuildRing() {
	members := ringMembers(m.Boards())
	if old := m.ring.Load(); old == nil || !slices.Equal(old.members, members) {
		m.ring.Store(NewRing(members))
	}

	m.mu.Lock()
	events := m.events
	m.events = nil
	for _, e := range events {
		for ch := range m.watchers {
			select {
			case ch <- e:
			default:
			}
		}
	}
	m.mu.Unlock()
	for _, e := range events {
		switch e.Kind {
		case Conflict: // logged by NotifyConflict, once a minute
		case Died:
			m.log.Warn(e.Text, "board", e.Board)
		default:
			m.log.Info(e.Text, "board", e.Board)
		}
	}
}

// ringMembers returns the members of the ring, sorted by name: the rack's live boards. Those that serve
// own the keys. If none serves, the boards in the next best state own them: those that are joining or draining,
// then those that are starting or drained, and last those that are stopping. Each of them still answers,
// and a rack whose boards all start at once must have owners. If all of those have weight 0 by their
// configuration, they share equally.
func ringMembers(boards []Board) []RingMember {
	readiness := func(b Board) int {
		switch b.Meta.Vitals.State {
		case Serving:
			return 4
		case Joining, Draining:
			return 3
		case Starting, Drained:
			return 2
		}
		return 1 // Stopping, or a state of a later version
	}
	best := 0 // the highest rank: twice the readiness, plus one if the board has weight
	rank := func(b Board) int {
		r := 2 * readiness(b)
		if b.Meta.Weight > 0 {
			r++
		}
		return r
	}
	for _, b := range boards {
		if b.Alive {
			best = max(best, rank(b))
		}
	}
	var members []RingMember
	for _, b := range boards {
		if !b.Alive {
			continue
		}
		weight := 0
		if rank(b) == best {
			weight = b.Meta.Weight
			if weight == 0 {
				weight = OrdinaryWeight
			}
		}
		members = append(members, RingMember{Name: b.Name, Weight: weight})
	}
	slices.SortFunc(members, func(a, b RingMember) int { return strings.Compare(a.Name, b.Name) })
	return members
}

// housekeepingLoop forgets boards that have been dead for long, and follows the machine's address.
func (m *Members) housekeepingLoop() {
	tick := time.NewTicker(min(housekeepingInterval, max(m.cfg.Forget/4, time.Millisecond)))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.forgetDead(time.Now())
			m.followAddress()
		case <-m.ctx.Done():
			return
		}
	}
}

// forgetDead drops the boards that have not been alive for Forget.
func (m *Members) forgetDead(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, b := range m.boards {
		if b.Alive || now.Sub(b.Since) < m.cfg.Forget {
			continue
		}
		delete(m.boards, name)
		if !b.Departed {
			m.queueEvent(Forgotten, name, name+" has been away for "+m.cfg.Forget.String()+" and no longer counts")
		}
	}
}

// followAddress restarts gossip if the machine no longer has the address that gossip uses, or has got its
// first address: a board may be up before its network is, and memberlist never changes its address.
func (m *Members) followAddress() {
	m.listMu.Lock()
	everywhere := m.bind.Addr().IsUnspecified()
	m.listMu.Unlock()
	if m.cfg.Advertise != "" || !everywhere {
		return
	}
	m.mu.Lock()
	now := m.boards[m.cfg.Name].Addr.Addr()
	m.mu.Unlock()
	best, ok := hostAddress()
	if !ok || !now.IsLoopback() && slices.Contains(hostAddresses(), now) {
		return // nothing better, or nothing wrong
	}
	m.log.Info("this board's address is now "+best.String(), "previous_address", now)
	if err := m.restartGossip(); err != nil {
		m.dedupLog.Error("cannot start gossip at the new address; trying again", "error", err)
	}
}
