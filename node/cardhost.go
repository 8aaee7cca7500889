package node

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"bramble/cluster"
)

// CardHost is what a board knows of the machine that it runs on alone, as it
// does on a card. A board that shares its machine has none.
type CardHost interface {
	// ClockIsSet reports whether a time server was believed since the power came.
	ClockIsSet() bool
	// Notices are what a person must know of the machine, a sentence each.
	Notices() []string
	// API answers what is asked below console.CardPath by who may steer.
	API(board MachineSide) http.Handler
}

// MachineSide is what the machine's API asks of its board.
type MachineSide interface {
	Leading() bool // it leads the ledger
	Drained() bool // no client is on it
	Leaving() bool // it was taken out of service
	// Try ends the board with ErrTry.
	Try()
}

// Why Run ended, where the machine has something to do about it.
var (
	// ErrHalt: somebody held the button; the machine is to be put to rest.
	ErrHalt = errors.New("the board was shut down by its button")
	// ErrTrial: another version is to be started in its place.
	ErrTrial = errors.New("the board makes place for another version")
	// ErrSpaceFreed: its program is to be started again, and takes orders then.
	ErrSpaceFreed = errors.New("the card has room again: the board starts anew to take orders")
)

// diskCheckInterval is how often a board that was started on a full card looks whether
// there is room again.
const diskCheckInterval = 30 * time.Second

// maxHaltWait is how long a board that is shut down by its button waits for its
// clients to go. A rack of one has no other board for them.
const maxHaltWait = time.Minute

// trialReplyDelay is how long the answer to who asked for another version may take on
// its way.
const trialReplyDelay = 200 * time.Millisecond

// machineSide is this board as its machine sees it.
type machineSide struct{ b *board }

func (m machineSide) Leading() bool {
	return m.b.counter != nil && m.b.counter.ledger.Status().Leading
}

// Drained holds until the very end: a board that stops for another version and
// takes its time over it is still the old program on its way out, which a roll
// must not take for one that has come back.
func (m machineSide) Drained() bool {
	state := m.b.health.get()
	return state == cluster.Drained || state == cluster.Stopping
}

// Leaving holds from the beginning of a drain on.
func (m machineSide) Leaving() bool {
	return m.Drained() || m.b.health.get() == cluster.Draining
}

func (m machineSide) Try() {
	// From now on this is the program on its way out, whoever asks.
	m.b.health.set(cluster.Stopping)
	m.b.announceState()
	time.AfterFunc(trialReplyDelay, func() { m.b.endWith(ErrTrial) })
}

// endWith has run return why; only the first reason counts.
func (b *board) endWith(why error) {
	select {
	case b.ended <- why:
	default:
	}
}

// awaitDiskSpace ends the board as soon as its order book can be opened. The shop was
// made without orders, and is made anew by who looks after the program.
func (b *board) awaitDiskSpace(ctx context.Context, every time.Duration, open func() error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if open() == nil {
			b.endWith(ErrSpaceFreed)
			return
		}
	}
}

// tryOpenBook opens the order book and closes it again.
func (b *board) tryOpenBook() error {
	c, err := b.openBook(slog.New(slog.DiscardHandler))
	c.close()
	return err
}

// haltBoard drains the board and ends it, if there is a machine to be put to rest.
func (b *board) haltBoard() {
	b.drainBoard(false)
	if b.cardHost == nil {
		b.log.Info("the button asks for a shutdown; the board drains, and can be unplugged when its lamp says so")
		return
	}
	b.log.Info("the button asks for a shutdown; the board drains and stops")
	b.haltRequestedAt.CompareAndSwap(0, time.Now().UnixNano())
}

// finishHalt ends a board that is to be put to rest and has no clients left, or
// has waited for that long enough.
func (b *board) finishHalt() {
	since := b.haltRequestedAt.Load()
	if since == 0 {
		return
	}
	if b.health.get() != cluster.Drained {
		if time.Since(time.Unix(0, since)) < maxHaltWait {
			return
		}
		b.health.set(cluster.Drained) // its lamps say so from here on
	}
	b.endWith(ErrHalt)
}

// clockIsSet reports whether this board knows what time it is. A card starts in
// 1970, or at the time of its last shutdown, and is told the time by a server.
func (b *board) clockIsSet() bool {
	now := time.Now().UTC().Year()
	return now >= earliestYear && (b.cardHost == nil || b.cardHost.ClockIsSet())
}

// cardHandler answers for the machine; nil: there is none.
func (b *board) cardHandler() http.Handler {
	if b.cardHost == nil {
		return nil
	}
	return b.cardHost.API(machineSide{b})
}
