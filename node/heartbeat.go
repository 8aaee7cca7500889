package node

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"bramble/cluster"
	"bramble/node/console"
	"bramble/node/origin"
)

// joinPollInterval is how often a board that looks for its rack looks whether it has found it.
const joinPollInterval = 20 * time.Millisecond

// idleBeatsUntilDrained is how many beats in a row must pass without a reply before a
// draining board is drained: who wanted to go has gone.
const idleBeatsUntilDrained = 2

// nameConflictShownFor is how long a conflict of names is shown after it was last seen.
const nameConflictShownFor = time.Minute

// runHeartbeat is the third journey: once a second the board's counters become one
// sample of vitals, which gossip, console and panel tell.
func (b *board) runHeartbeat(ctx context.Context) {
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	b.publishVitals()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			b.publishVitals()
			b.finishDrain()
			b.finishHalt()
		}
	}
}

// publishVitals takes a sample and hands it to gossip.
func (b *board) publishVitals() {
	v := b.sampler.takeSample(time.Now())
	v.State = b.health.get()
	v.Faults = b.currentFaults()
	b.faults.Store(uint32(v.Faults))
	if v.HitsPerSecond > 0 {
		b.idleBeats.Store(0)
	} else {
		b.idleBeats.Add(1)
	}
	b.members.SetMeta(b.buildMeta(v, b.selfAddr()))
	b.updatePanel(v, time.Now())
}

func (b *board) currentFaults() cluster.Fault {
	var faults cluster.Fault
	if alive, known := b.members.Known(); alive < known {
		faults |= cluster.PeerLost
	}
	if len(b.sites.Down()) > 0 {
		faults |= cluster.OriginDown
	}
	if !b.purger.LeaseValid() && b.health.get() != cluster.Starting && b.health.get() != cluster.Joining {
		faults |= cluster.CutOff
	}
	if !b.clockIsSet() {
		faults |= cluster.ClockNotSet
	}
	if !b.counter.open() {
		faults |= cluster.NoMajority
	}
	if b.cardUnusable.Load() {
		faults |= cluster.CardFailing
	}
	faults |= piFaults(b.piHealth())
	if at := b.nameTakenAt.Load(); at != 0 && time.Since(time.Unix(0, at)) < nameConflictShownFor {
		faults |= cluster.NameTaken
	}
	return faults
}

// buildMeta is what this board gossips of itself.
func (b *board) buildMeta(v cluster.Vitals, self string) cluster.Meta {
	m := cluster.Meta{Weight: b.cfg.Board.Weight, Version: shortVersion(b.version), Vitals: v, Flags: b.currentMarks()}
	m.LinkPort = uint16(b.link.Addr().(*net.TCPAddr).Port)
	host, _, err := net.SplitHostPort(self)
	if err == nil {
		m.HTTPURL = urlOf(b.front.Addr(), host, "80")
		m.ConsoleURL = urlOf(b.console.Addr(), host, "80")
	}
	return m
}

func shortVersion(version string) string { return version[:min(len(version), cluster.MaxVersion)] }

// urlOf is how a listener is reached: at its own address or, if it listens on
// every one, at the board's.
func urlOf(listener net.Addr, host, usual string) string {
	addr := listener.(*net.TCPAddr)
	if !addr.IP.IsUnspecified() {
		host = addr.IP.String()
	}
	if port := strconv.Itoa(addr.Port); port != usual {
		return "http://" + net.JoinHostPort(host, port)
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		host = "[" + host + "]"
	}
	return "http://" + host
}

// followMembership keeps the link's list of boards equal to the rack's, and passes the
// rack's events on.
func (b *board) followMembership(ctx context.Context) {
	changes, stop := b.members.Watch()
	defer stop()
	refresh := time.NewTicker(heartbeatInterval)
	defer refresh.Stop()
	who := roster{members: b.members}
	for {
		peers := who.Peers()
		b.link.SetPeers(peers)
		if len(peers) > 0 {
			b.reachedPeer.Store(true)
		}
		b.shareOriginPermits()
		select {
		case <-ctx.Done():
			return
		case <-refresh.C:
		case event, open := <-changes:
			if !open {
				return
			}
			if event.Kind == cluster.Conflict && event.Board == b.cfg.Board.Name {
				b.nameTakenAt.Store(time.Now().UnixNano())
			}
			b.events.Publish(toConsoleEvent(event))
		}
	}
}

// joinRack waits until the board has found its rack, or has looked long enough,
// learns what the rack has purged, and takes its place on the ring.
func (b *board) joinRack(ctx context.Context) {
	b.health.set(cluster.Joining)
	waitUntil(ctx, joinWait, func() bool { return b.isAlone() || b.reachedPeer.Load() })
	if ctx.Err() != nil {
		return
	}
	b.discoveryDone.Store(true)
	b.purger.RenewLease(ctx)
	if b.sites.HasServers() {
		// One that owned keys before would have its first clients wait. In a rack
		// whose boards all start one after another it does not wait for the last.
		waitUntil(ctx, 2*origin.RebalanceDelay, b.shareOriginPermits)
	}
	waitUntil(ctx, ordersWait, b.counter.ready)
	for _, notice := range b.counter.notices(b.cfg.Board.Name) {
		b.log.Warn(notice)
	}
	if b.health.changeFrom(cluster.Joining, cluster.Serving) {
		b.announceState()
	}
}

// isAlone reports whether this board was told of no others and looks for none.
func (b *board) isAlone() bool {
	return countOtherAddrs(b.cfg.Rack, b.selfAddr()) == 0 && !b.cfg.Rack.MDNS
}

// shareOriginPermits divides the places at the origins among the boards of the rack,
// and reports whether this board has all that are its. Until it has looked for
// its rack it has none.
func (b *board) shareOriginPermits() bool {
	if !b.discoveryDone.Load() {
		return false
	}
	var boards []origin.RackMember
	for _, other := range b.members.Boards() {
		if other.Alive || !other.Left {
			boards = append(boards, origin.RackMember{Name: other.Name, Alive: other.Alive})
		}
	}
	return b.sites.SharePermits(b.cfg.Board.Name, boards, b.isAlone(), time.Now())
}

// waitUntil looks every joinLook until something is so, for at most limit.
func waitUntil(ctx context.Context, limit time.Duration, so func() bool) {
	look := time.NewTicker(joinPollInterval)
	defer look.Stop()
	patience := time.NewTimer(limit)
	defer patience.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			return
		case <-patience.C:
			return
		case <-look.C:
		}
	}
}

// announceState tells the rack of a change of state at once, not at the next beat.
func (b *board) announceState() {
	self := b.members.Self()
	v := self.Meta.Vitals
	v.State = b.health.get()
	b.members.SetMeta(b.buildMeta(v, self.Addr.String()))
}

// drainBoard takes the board out of service, or puts it back: it owns no keys, says
// so at /readyz, and answers whoever still comes, once a connection.
func (b *board) drainBoard(undo bool) {
	if undo {
		if b.health.changeFrom(cluster.Draining, cluster.Serving) || b.health.changeFrom(cluster.Drained, cluster.Serving) {
			b.front.SetDraining(false)
			b.announceState()
		}
		return
	}
	if b.health.changeFrom(cluster.Serving, cluster.Draining) || b.health.changeFrom(cluster.Joining, cluster.Draining) {
		b.idleBeats.Store(0)
		b.front.SetDraining(true)
		b.announceState()
	}
}

// finishDrain finds out when a draining board has been left by its clients.
func (b *board) finishDrain() {
	if b.health.get() != cluster.Draining || b.idleBeats.Load() < idleBeatsUntilDrained || b.front.Counts().InFlight > 0 {
		return
	}
	if b.health.changeFrom(cluster.Draining, cluster.Drained) {
		b.announceState()
		b.events.Publish(console.Event{At: time.Now().UTC(), Kind: "state", Board: b.cfg.Board.Name,
			Text: b.cfg.Board.Name + " has no clients left and is safe to unplug"})
	}
}

// checkReady says whether clients should be sent here.
func (b *board) checkReady() (bool, string) {
	state := b.health.get()
	if state == cluster.Serving {
		return true, ""
	}
	return false, "this board is " + state.String()
}

// collectNotices are what a person at the console must know of this board.
func (b *board) collectNotices() []string {
	var all []string
	faults := cluster.Fault(b.faults.Load())
	if faults&cluster.CutOff != 0 {
		all = append(all, b.cfg.Board.Name+" reaches only half of its rack or less: it asks the origin before it shows a stored page.")
	}
	if faults&cluster.OriginDown != 0 {
		all = append(all, "The origin "+strings.Join(b.sites.Down(), ", ")+" does not answer as it should: stored pages are shown as long as their rules allow.")
	}
	if faults&cluster.NameTaken != 0 {
		all = append(all, "Another board uses the name "+b.cfg.Board.Name+": give one of them another [board] name.")
	}
	if faults&cluster.ClockNotSet != 0 {
		all = append(all, "The clock of "+b.cfg.Board.Name+" is not set.")
	}
	all = append(all, piNotices(b.cfg.Board.Name, b.piHealth())...)
	if b.cardUnusable.Load() {
		all = append(all, "The card of "+b.cfg.Board.Name+" cannot be used: it serves pages and takes no orders. Its log says why.")
	}
	if b.cardHost != nil {
		all = append(all, b.cardHost.Notices()...)
	}
	if b.certs != nil {
		all = append(all, b.certs.Notices()...)
	}
	return append(all, b.counter.notices(b.cfg.Board.Name)...)
}
