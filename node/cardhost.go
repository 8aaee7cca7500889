package node

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"bramble/cluster"
	"bramble/cluster/ledger"
)

// CardHost is the machine of a board that runs from a card and shares the machine with
// no other board.
type CardHost interface {
	// ClockIsSet reports whether a trusted time server has set the clock since power-on.
	ClockIsSet() bool
	// TimeServers returns the number of time servers that agreed on the clock last.
	TimeServers() int
	// LostData returns why the file system of the orders was made again, and thereby emptied;
	// "" if it never was.
	LostData() string
	// Notices returns what an operator must know about the machine, a sentence each.
	Notices() []string
	// API handles requests below console.CardPath from clients that may steer the rack.
	API(board BoardHandle) http.Handler
}

// The reasons why Run ended that require its caller to act.
var (
	// ErrHalt: a person held the button; the machine must be shut down.
	ErrHalt = errors.New("the board was shut down by its button")
	// ErrTrial: another version must be started instead.
	ErrTrial = errors.New("the board stops so that another version can start")
	// ErrReopen: the program must be started again to open the ledger's files again, after an
	// operator's command or because the card was put back from a copy.
	ErrReopen = errors.New("the board must be started again to open its ledger's files")
	// ErrSpaceFreed: the program must be started again, and then takes orders.
	ErrSpaceFreed = errors.New("the card has free space again: restart the board to take orders")
)

const (
	diskCheckInterval = 30 * time.Second       // between two checks of a full card for space
	trialReplyDelay   = 200 * time.Millisecond // for the reply to a request for another version to reach its client
)

// BoardHandle is a running board as its card's API sees it.
type BoardHandle struct{ b *board }

// Leading reports whether the board leads the ledger.
func (h BoardHandle) Leading() bool { return h.b.orders.status().Leading }

// Drained reports whether the board has no clients. It stays true until the end: a board
// that stops slowly for another version still runs the old program, and a rollout must
// not mistake it for a board that is back.
func (h BoardHandle) Drained() bool {
	state := h.b.state.get()
	return state == cluster.Drained || state == cluster.Stopping
}

// Leaving reports whether the board has been taken out of service: it is true from the
// beginning of a drain.
func (h BoardHandle) Leaving() bool {
	return h.Drained() || h.b.state.get() == cluster.Draining
}

// Try ends the board with ErrTrial.
func (h BoardHandle) Try() {
	// From now on every reply says that the board is stopping.
	h.b.state.set(cluster.Stopping)
	h.b.announceState()
	time.AfterFunc(trialReplyDelay, func() { h.b.endWith(ErrTrial) })
}

// cardHandler answers requests about the card; nil if there is none.
func (b *board) cardHandler() http.Handler {
	if b.CardHost == nil {
		return nil
	}
	return b.CardHost.API(BoardHandle{b})
}

// awaitDiskSpace ends the board with ErrSpaceFreed once its order book can be
// opened. The shop was made without orders, and a new process makes it again.
func (b *board) awaitDiskSpace(ctx context.Context, interval time.Duration, openBook func() error) {
	tick := time.Tick(interval)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		if openBook() == nil {
			b.endWith(ErrSpaceFreed)
			return
		}
	}
}

func (b *board) tryOpenBook() error {
	s, err := b.openLedger(slog.New(slog.DiscardHandler))
	s.close()
	return err
}

// earliestYear is the earliest year in which this program can run. A board without a
// clock starts in 1970.
const earliestYear = 2026

// clockIsSet reports whether this board knows the time. A card starts in 1970, or at
// the time of its last shutdown, until a server sets its clock; and a clock that differs
// from those of most boards is wrong.
func (b *board) clockIsSet() bool {
	return time.Now().UTC().Year() >= earliestYear && (b.CardHost == nil || b.CardHost.ClockIsSet()) && !b.clockDiffers.Load()
}

func (b *board) clockState() ledger.ClockState {
	state := ledger.ClockState{Set: time.Now().UTC().Year() >= earliestYear}
	if b.CardHost != nil {
		state.Set = state.Set && b.CardHost.ClockIsSet()
		state.Servers = b.CardHost.TimeServers()
	}
	return state
}
