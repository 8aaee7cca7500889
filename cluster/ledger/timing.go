package ledger

import (
	"errors"
	"time"
)

// RaftTiming holds every timeout and interval of the ledger. DefaultTiming has the
// values and their reasons.
type RaftTiming struct {
	Heartbeat     time.Duration // a follower that hears nothing for one to two of these starts an election
	Election      time.Duration // a candidate that gets no majority within one to two of these retries
	Lease         time.Duration // a leader that reaches no majority for this long steps down; at most Heartbeat
	Commit        time.Duration // followers learn at the latest after this that an entry is committed
	RPC           time.Duration // timeout of one exchange between two rafts, a batch's sync included
	BatchWait     time.Duration // a command waits at most this long for others to share its batch
	Call          time.Duration // timeout of one small request to another board
	Survey        time.Duration // interval between two surveys of the other boards
	FoundingWait  time.Duration // founding waits this long for the boards that are still missing
	ReplaceAfter  time.Duration // a voter that is silent for this long is replaced, if another board can vote
	RemoveAfter   time.Duration // a nonvoter that is silent for this long is removed; it is added again when it returns
	SnapshotCheck time.Duration // interval between two checks whether a snapshot is due
	Retry         time.Duration // pause before a batch is sent again
	RulesWait     time.Duration // a board offers rules that its ledger may not have only after this time
}

// DefaultTiming suits a busy 700 MHz board and an SD card that takes 20 to 200 ms per
// sync.
func DefaultTiming() RaftTiming {
	return RaftTiming{
		// Raft sends ten heartbeats in this time, from goroutines that never
		// wait for the disk, so a board whose card hangs for seconds does not
		// look dead; its CPU would have to be saturated for ten of them. The
		// followers notice a killed leader after 0.8 to 1.6 s, which leaves more
		// than a second for the election: with one second here, killed boards
		// were replaced after 2.9 s at worst, and the limit is 3 s.
		Heartbeat: 800 * time.Millisecond,
		// An election has two rounds of votes, each with two or three syncs of
		// 200 ms at worst.
		Election: 800 * time.Millisecond,
		// With a longer lease, commands would wait at a leader that is cut off,
		// though the others could take them. It can never commit them.
		Lease: 800 * time.Millisecond,
		// It matters only if nothing follows: under load the next entries carry
		// the commit index.
		Commit: 50 * time.Millisecond,
		// Twenty slow syncs; a board that answers later counts as lost.
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
		// A board that is updated on trial returns to its old program within a few minutes,
		// and a person who is sorry for an update needs some, too.
		RulesWait: 10 * time.Minute,
	}
}

func (r RaftTiming) validate() error {
	for _, d := range []time.Duration{r.Heartbeat, r.Election, r.Lease, r.Commit, r.RPC, r.BatchWait, r.Call,
		r.Survey, r.FoundingWait, r.ReplaceAfter, r.RemoveAfter, r.SnapshotCheck, r.Retry, r.RulesWait} {
		if d <= 0 {
			return errors.New("ledger: every time in Timing must be more than zero (start from DefaultTiming)")
		}
	}
	if r.Lease > r.Heartbeat {
		return errors.New("ledger: Timing.Lease must not exceed Timing.Heartbeat")
	}
	return nil
}
