package cluster

import (
	"context"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"
)

const (
	// rejoinTries bounds the addresses that one round tries; the next round tries the next ones.
	rejoinTries = 8
	// rejoinParallel bounds the attempts at once.
	rejoinParallel = 4
	// resolveTimeout bounds all name look-ups of a round together.
	resolveTimeout = 3 * time.Second
	// discoverTimeout bounds one Discover.
	discoverTimeout = 5 * time.Second
	// discoverInterval is the time between two searches by a board that has peers: two halves of a rack
	// that never met know no address of each other.
	discoverInterval = time.Minute
	// reachedPause is the pause before an address of Join or Discover that answered, but is no member's, is
	// tried again: it is another name of a member.
	reachedPause = time.Minute
)

// rejoinLoop searches for missing boards. memberlist itself gives up a dead board after half a minute, so
// that two halves of a split rack would never rejoin (hashicorp/memberlist#222).
func (m *Members) rejoinLoop() {
	t := m.cfg.Timing
	pause := t.RejoinMin
	s := rejoinState{reached: make(map[netip.AddrPort]time.Time)}
	for {
		if !m.rejoinRound(&s) {
			pause = t.RejoinMax // no board is missing
		}
		timer := time.NewTimer(time.Duration(float64(pause) * (0.75 + rand.Float64()/2)))
		select {
		case <-timer.C:
			pause = min(2*pause, t.RejoinMax)
		case <-m.rejoin:
			timer.Stop()
			pause = t.RejoinMin
		case <-m.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// rejoinState is the state of rejoinLoop between rounds.
type rejoinState struct {
	round        int
	discoveredAt time.Time                    // when Discover was last called
	reached      map[netip.AddrPort]time.Time // when addresses from Join and Discover answered
}

// rejoinRound tries the missing boards once, and reports whether there are any.
func (m *Members) rejoinRound(s *rejoinState) (missing bool) {
	m.listMu.Lock()
	list, left, port := m.list, m.departed, m.bind.Port()
	m.listMu.Unlock()
	if list == nil || left {
		return false
	}

	member := make(map[netip.AddrPort]bool)
	var lost, peers []netip.AddrPort
	for _, b := range m.Boards() {
		switch {
		case b.Alive:
			member[b.Addr] = true
			if !b.Self {
				peers = append(peers, b.Addr)
			}
		case !b.Departed:
			lost = append(lost, b.Addr)
		}
	}
	alone := len(peers) == 0

	hints := m.resolveJoin(port)
	if m.cfg.Discover != nil && (alone || time.Since(s.discoveredAt) >= discoverInterval) {
		s.discoveredAt = time.Now()
		ctx, cancel := context.WithTimeout(m.ctx, discoverTimeout)
		for _, text := range m.cfg.Discover(ctx) {
			if addr, err := netip.ParseAddrPort(text); err == nil {
				hints = append(hints, addr)
			}
		}
		cancel()
	}
	maps.DeleteFunc(s.reached, func(_ netip.AddrPort, at time.Time) bool { return time.Since(at) >= reachedPause })
	candidates := lost
	for _, addr := range hints {
		if _, reached := s.reached[addr]; alone || !reached {
			candidates = append(candidates, addr)
		}
	}
	if m.conflict.Swap(false) {
		// The peers may reject this board because of its old address: show them the new one.
		candidates = append(candidates, peers[:min(len(peers), 2)]...)
		clear(member)
	}
	candidates = slices.DeleteFunc(candidates, func(a netip.AddrPort) bool { return member[a] })
	slices.SortFunc(candidates, netip.AddrPort.Compare)
	candidates = slices.Compact(candidates)
	m.tryCandidates(s, list, candidates)
	return len(candidates) > 0 || alone
}

// logNoAnswer says why no state was exchanged. A board that cannot decrypt a message closes the
// connection and says nothing else.
func (m *Members) logNoAnswer(addr netip.AddrPort, failure string) {
	if strings.HasSuffix(failure, io.EOF.Error()) { // memberlist wraps no error
		m.dedupLog.Warn("a board at "+addr.String()+" closes without a reply: it has another rack key, or it is no board. "+
			"If it belongs to this rack, put the same key under [rack] in both boards' configuration", "error", failure)
		return
	}
	m.dedupLog.Info("no board of this rack answers at "+addr.String(), "error", failure)
}

// tryCandidates exchanges state with the next few candidates.
func (m *Members) tryCandidates(s *rejoinState, list *memberlist.Memberlist, candidates []netip.AddrPort) {
	var mu sync.Mutex // guards s.reached
	var tries errgroup.Group
	tries.SetLimit(rejoinParallel)
	for i := range min(len(candidates), rejoinTries) {
		addr := candidates[(s.round*rejoinTries+i)%len(candidates)]
		tries.Go(func() error {
			if _, err := list.Join([]string{addr.String()}); err != nil {
				if m.ctx.Err() == nil {
					m.logNoAnswer(addr, lastError(err))
				}
				return nil
			}
			mu.Lock()
			s.reached[addr] = time.Now()
			mu.Unlock()
			return nil
		})
	}
	_ = tries.Wait() // each failure is logged above
	s.round++
}

// resolveJoin resolves the configured addresses; one without a port gets ownPort. memberlist's own look-up
// sends the name server an ANY query over TCP, which a home router does not answer.
func (m *Members) resolveJoin(ownPort uint16) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(m.ctx, resolveTimeout)
	defer cancel()
	var found []netip.AddrPort
	for _, entry := range m.cfg.Join {
		host, port := entry, ownPort
		if h, p, err := net.SplitHostPort(entry); err == nil {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil {
				m.dedupLog.Warn("[rack] join: an address has a port that is not a number", "join", entry)
				continue
			}
			host, port = h, uint16(n)
		}
		ips := []netip.Addr{}
		if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
			ips = append(ips, ip)
		} else if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
			m.dedupLog.Warn("[rack] join: cannot resolve a name", "join", entry, "error", err)
		}
		for _, ip := range ips {
			found = append(found, netip.AddrPortFrom(ip.Unmap(), port))
		}
	}
	return found
}

// lastError returns the last error of memberlist's list of errors.
func lastError(err error) string {
	text := strings.TrimSpace(err.Error())
	if i := strings.LastIndex(text, "* "); i >= 0 {
		text = text[i+2:]
	}
	return text
}
