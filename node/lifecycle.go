package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bramble/cluster"
	"bramble/node/console"
	"bramble/node/origin"
)

const (
	joinWait                = 3 * time.Second       // for others that the settings name, before a board serves alone
	joinPollInterval        = 20 * time.Millisecond // between two checks whether it has joined
	leaveWait               = time.Second           // for the goodbye to the rack
	idleSamplesUntilDrained = 2                     // heartbeats in a row without a reply, after which a draining board is drained
	// maxHaltWait limits how long a board that is shut down by its button waits for its
	// clients to leave. In a rack of one they have no other board to go to.
	maxHaltWait = time.Minute
)

// lifecycle is the board's state and the reason why it ends.
type lifecycle struct {
	state           lifecycleState
	reachedPeer     atomic.Bool  // another board has been reached since the start
	discoveryDone   atomic.Bool  // the board has joined, or has looked for others long enough
	haltRequestedAt atomic.Int64 // by the button, Unix nanoseconds; 0: it is not
	ended           chan error   // receives the reason of endWith
	cardUnusable    atomic.Bool  // the folder of the orders cannot be used
	diskFull        bool         // because its card is full; set before run
}

// lifecycleState is a board's state: starting, joining, serving, draining, drained,
// stopping.
type lifecycleState struct{ state atomic.Uint32 }

func (s *lifecycleState) get() cluster.State      { return cluster.State(s.state.Load()) }
func (s *lifecycleState) set(state cluster.State) { s.state.Store(uint32(state)) }

// changeFrom goes from one state to another, and reports whether from was the state.
func (s *lifecycleState) changeFrom(from, to cluster.State) bool {
	return s.state.CompareAndSwap(uint32(from), uint32(to))
}

// run serves until ctx ends, a part fails or endWith is called. Then it stops the parts
// in an order in which each can still use those that it needs: first the clients'
// listener, then, after the goodbye to the rack, the parts that serve other boards and
// operators.
func (b *board) run(ctx context.Context) error {
	clients, stopClients := context.WithCancel(context.WithoutCancel(ctx))
	rack, stopRack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopClients()
	defer stopRack()
	screen, err := b.newConsole()
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	var serving, background sync.WaitGroup
	start := func(group *sync.WaitGroup, part func() error) {
		group.Go(func() {
			if err := part(); err != nil {
				failed <- err
			}
		})
	}
	start(&background, func() error { return b.link.Serve(rack, b.peerRoutes(screen)) })
	start(&background, func() error { return b.serveConsole(rack, screen, consoleStopWait) })
	start(&background, func() error { return b.orders.run(rack) })
	background.Go(func() { screen.Run(rack) })
	background.Go(func() { b.sendFailures(rack) })
	background.Go(func() { b.purger.Run(rack) })
	background.Go(func() { b.rackCache.Run(rack) })
	background.Go(func() { b.cache.GovernHeap(rack) })
	background.Go(func() { b.runHeartbeat(rack) })
	background.Go(func() { b.runPanel(rack, b.log) })
	background.Go(func() { b.followMembership(rack) })
	background.Go(func() { b.watchPi(rack) })
	background.Go(func() { b.sites.Run(rack) })
	background.Go(func() { b.joinRack(rack) })
	if b.diskFull && b.CardHost != nil {
		background.Go(func() { b.awaitDiskSpace(rack, diskCheckInterval, b.tryOpenBook) })
	}
	if b.certs != nil {
		background.Go(func() { b.certs.Run(rack) })
	}
	start(&serving, func() error { return b.front.Serve(clients) })
	b.log.Info("board is up", "pages", b.front.Addr().String(), "console", b.console.Addr().String(),
		"link", b.link.Addr().String(), "gossip", b.selfAddr())

	select {
	case <-ctx.Done():
	case err = <-failed:
		if !errors.Is(err, ErrReopen) {
			b.Sockets.Release() // no successor process
		}
	case err = <-b.ended:
		b.Sockets.Release()
	}
	if !errors.Is(err, ErrHalt) { // after a halt the panel continues to show that the board is drained
		b.state.set(cluster.Stopping)
	}
	b.announceState()
	stopClients()
	serving.Wait()
	if leaving := b.members.Leave(leaveWait); leaving != nil {
		b.log.Info("left the rack without a goodbye", "error", leaving)
	}
	stopRack()
	background.Wait()
	b.log.Info("board has stopped")
	return err
}

// joinRack waits until the board has found its rack, or has searched for long enough.
// Then it applies the rack's purges and joins the ring.
func (b *board) joinRack(ctx context.Context) {
	b.state.set(cluster.Joining)
	waitUntil(ctx, joinWait, func() bool { return b.isAlone() || b.reachedPeer.Load() })
	if ctx.Err() != nil {
		return
	}
	b.discoveryDone.Store(true)
	b.purger.RenewLease(ctx)
	if b.sites.HasServers() {
		// Without its permits a board that owned keys before would delay its first
		// clients. If all boards of a rack start in turn, none waits for the last.
		waitUntil(ctx, 2*origin.RebalanceDelay, b.shareOriginPermits)
	}
	b.awaitOrders(ctx)
	for _, notice := range b.orders.notices(b.cfg.Board.Name) {
		b.log.Warn(notice)
	}
	if b.state.changeFrom(cluster.Joining, cluster.Serving) {
		b.announceState()
	}
}

// awaitOrders waits until this board's pages show what can be ordered: as long as it catches
// up with the ledger, and ordersWait beyond that.
func (b *board) awaitOrders(ctx context.Context) {
	lastSeen := time.Now()
	waitUntil(ctx, catchUpWait, func() bool {
		if b.orders.status().CatchingUp {
			lastSeen = time.Now()
			return false
		}
		return b.orders.isReady() || time.Since(lastSeen) > ordersWait
	})
}

// waitUntil polls every joinPollInterval until done returns true, for at most limit.
func waitUntil(ctx context.Context, limit time.Duration, done func() bool) {
	poll := time.Tick(joinPollInterval)
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return
		case <-timeout.C:
			return
		case <-poll:
		}
	}
}

// announceState publishes a change of state at once, not at the next heartbeat.
func (b *board) announceState() {
	self := b.members.Self()
	v := self.Meta.Vitals
	v.State = b.state.get()
	b.members.SetMeta(b.buildMeta(v, self.Addr.String()))
}

// drainBoard takes the board out of service, or, with undo, puts it back. A draining
// board owns no keys, is not ready at /readyz, and closes each client's connection after
// its next response.
func (b *board) drainBoard(undo bool) {
	if undo {
		if b.state.changeFrom(cluster.Draining, cluster.Serving) || b.state.changeFrom(cluster.Drained, cluster.Serving) {
			b.front.SetDraining(false)
			b.announceState()
		}
		return
	}
	if b.state.changeFrom(cluster.Serving, cluster.Draining) || b.state.changeFrom(cluster.Joining, cluster.Draining) {
		b.idleSamples.Store(0)
		b.front.SetDraining(true)
		b.announceState()
	}
}

// completeDrainIfIdle changes a draining board's state to drained once its clients have
// gone.
func (b *board) completeDrainIfIdle() {
	if b.state.get() != cluster.Draining || b.idleSamples.Load() < idleSamplesUntilDrained || b.front.Counts().InFlight > 0 {
		return
	}
	if b.state.changeFrom(cluster.Draining, cluster.Drained) {
		b.announceState()
		b.events.Publish(console.Event{At: time.Now().UTC(), Kind: "state", Board: b.cfg.Board.Name,
			Text: b.cfg.Board.Name + " has no clients left and is safe to unplug"})
	}
}

// haltBoard drains the board and, if the board has the machine to itself, shuts the
// machine down.
func (b *board) haltBoard() {
	b.drainBoard(false)
	if b.CardHost == nil {
		b.log.Info("the button requests a shutdown; the board drains; unplug it when its lamp shows that it is drained")
		return
	}
	b.log.Info("the button requests a shutdown; the board drains and stops")
	b.haltRequestedAt.CompareAndSwap(0, time.Now().UnixNano())
}

// completeHaltIfDrained shuts down a board on request, once its clients have gone or
// maxHaltWait has passed.
func (b *board) completeHaltIfDrained() {
	since := b.haltRequestedAt.Load()
	if since == 0 {
		return
	}
	if b.state.get() != cluster.Drained {
		if time.Since(time.Unix(0, since)) < maxHaltWait {
			return
		}
		b.state.set(cluster.Drained) // the panel shows it from here on
	}
	b.endWith(ErrHalt)
}

// endWith makes run return reason. Only the first reason counts.
func (b *board) endWith(reason error) {
	select {
	case b.ended <- reason:
	default:
	}
}

// checkReady reports whether clients may be sent here and, if not, why.
func (b *board) checkReady() (bool, string) {
	ledger, state := b.orders.status(), b.state.get()
	switch {
	case ledger.CatchingUp && (state == cluster.Serving || state == cluster.Joining):
		return false, fmt.Sprintf("this board is catching up with the order book: %d entries of the ledger are still to be applied", ledger.Lag)
	case state != cluster.Serving:
		return false, "this board is " + state.String()
	case ledger.Halted != "": // its pages show what was in stock when it did
		return false, "the ledger of this board has halted: " + ledger.Halted
	}
	return true, ""
}
