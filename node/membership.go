package node

import (
	"context"
	"time"

	"bramble/cluster"
	"bramble/cluster/link"
	"bramble/node/config"
	"bramble/node/origin"
)

// followMembership updates the link's list of boards from the rack's, and passes
// the rack's events on to the console, until ctx ends.
func (b *board) followMembership(ctx context.Context) {
	changes, stop := b.members.Watch()
	defer stop()
	refresh := time.Tick(heartbeatInterval)
	others := roster{members: b.members}
	for {
		peers := others.Peers()
		b.link.SetPeers(peers)
		if len(peers) > 0 {
			b.reachedPeer.Store(true)
		}
		b.shareOriginPermits()
		select {
		case <-ctx.Done():
			return
		case <-refresh:
		case event, open := <-changes:
			if !open {
				return
			}
			if event.Kind == cluster.Conflict && event.Board == b.cfg.Board.Name {
				b.nameTakenAt.Store(time.Now().UnixNano())
			}
			b.events.Publish(membershipEvent(event))
		}
	}
}

// isAlone reports whether this board expects no others: its settings name none and mDNS
// is off.
func (b *board) isAlone() bool {
	return countOtherAddrs(b.cfg.Rack, b.selfAddr()) == 0 && !b.cfg.Rack.MDNS
}

// shareOriginPermits divides the permits at the origins among the boards of the
// rack, and reports whether this board has its whole share. It has none until it has
// searched for its rack.
func (b *board) shareOriginPermits() bool {
	if !b.discoveryDone.Load() {
		return false
	}
	var boards []origin.RackMember
	for _, other := range b.members.Boards() {
		if other.Alive || !other.Departed {
			boards = append(boards, origin.RackMember{Name: other.Name, Alive: other.Alive})
		}
	}
	return b.sites.SharePermits(b.cfg.Board.Name, boards, b.isAlone(), time.Now())
}

// roster is the rack's membership as the purges see it (purge.Roster).
type roster struct {
	members     *cluster.Members
	join        int         // other boards' addresses in the configuration
	reachedPeer func() bool // another board was reached since the start
}

// Peers returns the live boards without this one.
func (r roster) Peers() []link.Peer {
	var peers []link.Peer
	for _, b := range r.members.Boards() {
		if b.Alive && !b.Self && b.Link != "" {
			peers = append(peers, link.Peer{Name: b.Name, Addr: b.Link})
		}
	}
	return peers
}

// KnownCount counts the boards of which a majority is needed. A board whose settings name
// others, and that has reached none since its start, counts one of them: it cannot
// know what they have purged.
func (r roster) KnownCount() int {
	_, known := r.members.Known()
	if known == 1 && r.join > 0 && !r.reachedPeer() {
		return 2
	}
	return known
}

// countOtherAddrs counts the join addresses that are not this board's own.
func countOtherAddrs(cfg config.RackSettings, self string) int {
	n := 0
	for _, addr := range cfg.Join {
		if addr != self {
			n++
		}
	}
	return n
}
