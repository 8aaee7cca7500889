package ledger

import (
	"fmt"
	"log/slog"
)

// ReadLog restores m, which must be empty, from this board's newest snapshot and applies the
// log after that, to its end: also entries that this board does not know to be committed,
// because no leader has said so since its start. Recovery.Unproven counts them. The ledger
// goes on meanwhile, but takes no snapshot. An error, or Recovery.Damage, means that m is
// incomplete.
func (l *Ledger) ReadLog(m StateMachine) (Recovery, error) {
	l.snapshotting.Lock()
	defer l.snapshotting.Unlock()
	rec := Recovery{Server: l.files.identity.Server, Ledger: l.files.identity.Ledger.String()}
	a := newApplier(&Config{StateMachine: m, Logger: slog.New(slog.DiscardHandler)}, func(batchID, uint64, [][]byte) {})
	if err := restoreNewest(l.files.snapshots, a, &rec); err != nil {
		return rec, fmt.Errorf("read this board's snapshot: %w", err)
	}
	rec.Proven = max(rec.Proven, l.Applied())
	if r := l.runningRaft(); r != nil {
		rec.Proven = max(rec.Proven, r.CommitIndex())
	}
	if err := replayLog(l.files.log, a, &rec); err != nil {
		rec.Damage = err.Error()
	}
	st := a.state()
	rec.Index, rec.At = st.index, st.at
	return rec, nil
}
