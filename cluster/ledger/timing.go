package ledger

import (
	"errors"
	"time"
)

// Timing is every wait of the ledger. Each bounds something: see
// DefaultTiming for the values and what they were weighed against.
type Timing struct {
	Heartbeat time.Duration // a follower that hears nothing for one to two of these asks for an election
	Election  time.Duration // a candidate that has no majority after one to two of these tries again
	Lease     time.Duration // a leader that reaches no majority for this long steps down; at most Heartbeat
	Commit    time.Duration // followers learn at the latest after this that an entry is committed
	Wire      time.Duration // one exchange between two rafts, a batch's sync included
	Gather    time.Duration // a command waits at most this long for others to share its batch
	Ask       time.Duration // one small request to another board
	Meet      time.Duration // pause between two rounds of asking the other boards how they are
	Settle    time.Duration // founding waits this long for the boards that are still missing
	Gone      time.Duration // a voter silent for this long is replaced if there is a spare
	Forget    time.Duration // a follower silent for this long is taken off the list; it is put on again when it returns
	Snapshot  time.Duration // pause between two looks at whether a snapshot is due
	Resend    time.Duration // pause before a batch is sent again
}

// DefaultTiming is for a 700 MHz board that is busy and an SD card that takes
// 20 to 200 ms a sync.
func DefaultTiming() Timing {
	return Timing{
		// Raft beats ten times in one Heartbeat, from goroutines that never
		// wait for the disk, so a card that hangs for seconds does not look
		// dead; a CPU must be saturated for ten beats on end. A killed leader
		// is missed after 0.8 to 1.6 s, which leaves more than a second for
		// the election: with one second here, killed boards were replaced
		// after 2.9 s at worst, and three were promised.
		Heartbeat: 800 * time.Millisecond,
		// An election is two rounds of votes, each with two or three syncs
		// of 200 ms at worst.
		Election: 800 * time.Millisecond,
		// Longer would let a cut-off leader keep commands waiting that the
		// others could take; it cannot commit them whatever this says.
		Lease: 800 * time.Millisecond,
		// Only when nothing follows: under load the next entries tell.
		Commit: 50 * time.Millisecond,
		// Twenty slow syncs; a board that answers later is as good as gone.
		Wire: 4 * time.Second,
		// A quarter of the fastest sync.
		Gather:   5 * time.Millisecond,
		Ask:      2 * time.Second,
		Meet:     time.Second,
		Settle:   3 * time.Second,
		Gone:     10 * time.Second,
		Forget:   time.Hour,
		Snapshot: 5 * time.Second,
		Resend:   100 * time.Millisecond,
	}
}

func (t Timing) check() error {
	for _, d := range []time.Duration{t.Heartbeat, t.Election, t.Lease, t.Commit, t.Wire, t.Gather, t.Ask,
		t.Meet, t.Settle, t.Gone, t.Forget, t.Snapshot, t.Resend} {
		if d <= 0 {
			return errors.New("ledger: every time in Timing must be more than zero (start from DefaultTiming)")
		}
	}
	if t.Lease > t.Heartbeat {
		return errors.New("ledger: Timing.Lease must not exceed Timing.Heartbeat")
	}
	return nil
}
