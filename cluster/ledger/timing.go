package ledger

import (
	"errors"
	"time"
)

// RaftTiming is every wait of the ledger. Each bounds something: see
// DefaultTiming for the values and what they were weighed against.
type RaftTiming struct {
	Heartbeat     time.Duration // a follower that hears nothing for one to two of these asks for an election
	Election      time.Duration // a candidate that has no majority after one to two of these tries again
	Lease         time.Duration // a leader that reaches no majority for this long steps down; at most Heartbeat
	Commit        time.Duration // followers learn at the latest after this that an entry is committed
	RPC           time.Duration // one exchange between two rafts, a batch's sync included
	BatchWait     time.Duration // a command waits at most this long for others to share its batch
	Call          time.Duration // one small request to another board
	Survey        time.Duration // pause between two rounds of asking the other boards how they are
	FoundingWait  time.Duration // founding waits this long for the boards that are still missing
	ReplaceAfter  time.Duration // a voter silent for this long is replaced if there is a spare
	RemoveAfter   time.Duration // a follower silent for this long is taken off the list; it is put on again when it returns
	SnapshotCheck time.Duration // pause between two looks at whether a snapshot is due
	Retry         time.Duration // pause before a batch is sent again
}

// DefaultTiming is for a 700 MHz board that is busy and an SD card that takes
// 20 to 200 ms a sync.
func DefaultTiming() RaftTiming {
	return RaftTiming{
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
		RPC: 4 * time.Second,
		// A quarter of the fastest sync.
		BatchWait:     5 * time.Millisecond,
		Call:          2 * time.Second,
		Survey:        time.Second,
		FoundingWait:  3 * time.Second,
		ReplaceAfter:  10 * time.Second,
		RemoveAfter:   time.Hour,
		SnapshotCheck: 5 * time.Second,
		Retry:         100 * time.Millisecond,
	}
}

func (t RaftTiming) validate() error {
	for _, d := range []time.Duration{t.Heartbeat, t.Election, t.Lease, t.Commit, t.RPC, t.BatchWait, t.Call,
		t.Survey, t.FoundingWait, t.ReplaceAfter, t.RemoveAfter, t.SnapshotCheck, t.Retry} {
		if d <= 0 {
			return errors.New("ledger: every time in Timing must be more than zero (start from DefaultTiming)")
		}
	}
	if t.Lease > t.Heartbeat {
		return errors.New("ledger: Timing.Lease must not exceed Timing.Heartbeat")
	}
	return nil
}
