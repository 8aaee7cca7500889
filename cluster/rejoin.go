package cluster

import (
	"context"
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
	// rejoinTries bounds the addresses that are tried in one round; the next round takes the next ones.
	rejoinTries = 8
	// rejoinParallel bounds how many of them are tried at once.
	rejoinParallel = 4
	// resolveTimeout bounds the name look-ups of a round, together.
	resolveTimeout = 3 * time.Second
	// discoverTimeout bounds one Discover.
	discoverTimeout = 5 * time.Second
	// discoverInterval is how often a board that has peers still looks for more of its rack: two halves
	// of a rack that never met know no address of each other.
	discoverInterval = time.Minute
	// reachedPause is how long an address of Join or Discover rests that answered and yet is no
	// member's: it is another name of a member.
	reachedPause = time.Minute
)

// rejoinLoop looks for the boards that should be there and are not. memberlist itself gives a dead
// board up after half a minute, so that two halves of a split rack would never find together again
// (hashicorp/memberlist#222).
func (m *Members) rejoinLoop() {
	t := m.cfg.Timing
	pause := t.RejoinMin
	s := rejoinState{reached: make(map[netip.AddrPort]time.Time)}
	for {
		if !m.rejoinRound(&s) {
			pause = t.RejoinMax // nobody is missing
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

// rejoinState is what rejoinLoop remembers from round to round.
type rejoinState struct {
	round        int
	discoveredAt time.Time                    // when Discover was last called
	reached      map[netip.AddrPort]time.Time // when addresses from Join and Discover answered
}

// rejoinRound tries the missing boards once, and says whether there are any.
func (m *Members) rejoinRound(s *rejoinState) (missing bool) {
	m.listMu.Lock()
	list, left, port := m.list, m.left, m.bind.Port()
	m.listMu.Unlock()
	if list == nil || left {
		return false
	}

	taken := make(map[netip.AddrPort]bool)
	var lost, peers []netip.AddrPort
	for _, b := range m.Boards() {
		switch {
		case b.Alive:
			taken[b.Addr] = true
			if !b.Self {
				peers = append(peers, b.Addr)
			}
		case !b.Left:
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
	for addr, at := range s.reached {
		if time.Since(at) >= reachedPause {
			delete(s.reached, addr)
		}
	}
	candidates := lost
	for _, addr := range hints {
		if _, rests := s.reached[addr]; alone || !rests {
			candidates = append(candidates, addr)
		}
	}
	if m.conflict.Swap(false) {
		// The peers may hold an old address of this board against it: show them the new one.
		candidates = append(candidates, peers[:min(len(peers), 2)]...)
		clear(taken)
	}
	candidates = slices.DeleteFunc(candidates, func(a netip.AddrPort) bool { return taken[a] })
	slices.SortFunc(candidates, netip.AddrPort.Compare)
	candidates = slices.Compact(candidates)
	m.tryCandidates(s, list, candidates)
	return len(candidates) > 0 || alone
}

// tryCandidates exchanges state with the next few of the candidates.
func (m *Members) tryCandidates(s *rejoinState, list *memberlist.Memberlist, candidates []netip.AddrPort) {
	var mu sync.Mutex // guards s.reached
	var tries errgroup.Group
	tries.SetLimit(rejoinParallel)
	for i := range min(len(candidates), rejoinTries) {
		addr := candidates[(s.round*rejoinTries+i)%len(candidates)]
		tries.Go(func() error {
			if _, err := list.Join([]string{addr.String()}); err != nil {
				if m.ctx.Err() == nil {
					m.dedupLog.Info("no board of this rack answers at "+addr.String(), "error", firstLine(err))
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

// resolveJoin turns the configured addresses into numbers; those without a port get ownPort. memberlist's own look-up asks the name
// server over TCP for everything it has, which a home router does not answer.
func (m *Members) resolveJoin(ownPort uint16) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(m.ctx, resolveTimeout)
	defer cancel()
	var found []netip.AddrPort
	for _, entry := range m.cfg.Join {
		host, port := entry, ownPort
		if h, p, err := net.SplitHostPort(entry); err == nil {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil {
				m.dedupLog.Warn("an address to join has no number as its port", "join", entry)
				continue
			}
			host, port = h, uint16(n)
		}
		ips := []netip.Addr{}
		if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
			ips = append(ips, ip)
		} else if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
			m.dedupLog.Warn("a name to join is not known to the network", "join", entry, "err", err)
		}
		for _, ip := range ips {
			found = append(found, netip.AddrPortFrom(ip.Unmap(), port))
		}
	}
	return found
}

// firstLine takes the point out of memberlist's lists of errors.
func firstLine(err error) string {
	text := strings.TrimSpace(err.Error())
	if i := strings.LastIndex(text, "* "); i >= 0 {
		text = text[i+2:]
	}
	return text
}
