package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"

	"bramble/cluster/durable"
)

// Each entry carries the digest of its leader at an entry that the leader had applied. A board
// whose digest there differs is suspect: it or the leader has diverged, and it cannot know which.
// A suspect board goes on applying, because that changes only its own state. It counts as halted in
// everything else. The digest is a running hash, so a comparison covers the whole past, and
// the latest one counts: if the digest agrees with a later leader's, the former leader was
// wrong. If the entry was in the log when the board started, it has diverged from its own log: its
// program has another rule than the one that wrote the log, or its memory a fault. Such a board
// vouches for nobody: its entries carry no digest, and it counts in no majority. Nor does a board that
// has not applied all of that log, because it may find the difference in the next entry. So boards that
// all have the same wrong program do not confirm each other. Meanwhile the boards compare their digests in the survey, and the majority of the voters
// decides: a board that differs from a majority halts, the leader too.

// compareWithLeader compares this board's digest with the one in an entry.
func (a *applier) compareWithLeader(index uint64, e *entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	mine, known := a.digestAtLocked(e.Seen)
	switch {
	case !known:
	case mine == e.Digest:
		if a.suspect != "" && e.Term != a.ownTerm {
			a.clearSuspicionLocked()
		}
	case a.suspect == "":
		a.suspect = fmt.Sprintf("at entry %d this board's replies differ from the leader's (digests %016x and %016x)", e.Seen, mine, e.Digest)
		if a.fromLog = index <= a.replayEnd; a.fromLog {
			a.suspect = fmt.Sprintf("at entry %d this board's replies differ from those that its own log records (digests %016x and %016x): "+
				"its program changes what was done before, or its memory has a fault; install the program that wrote the log, or a later release; nothing is lost", e.Seen, mine, e.Digest)
		}
		a.log.Error("ledger: this board or the leader has diverged; this board accepts no commands until the majority has decided which", "why", a.suspect)
	}
}

func (a *applier) clearSuspicionLocked() {
	a.log.Warn("ledger: this board has not diverged: it agrees with the other boards", "suspicion", a.suspect)
	a.suspect, a.fromLog = "", false
	a.notifyLocked()
}

// digestAtLocked returns this board's digest at an index, if it remembers it. a.mu is held.
func (a *applier) digestAtLocked(index uint64) (digest uint64, known bool) {
	d := a.digests[index%digestWindow]
	return d.digest, index != 0 && d.index == index
}

// digestAt returns this board's digest at an index if it remembers it, else at the last batch.
func (a *applier) digestAt(index uint64) indexedDigest {
	a.mu.Lock()
	defer a.mu.Unlock()
	if digest, known := a.digestAtLocked(index); known {
		return indexedDigest{index, digest}
	}
	return a.last
}

// leadTerm notes that this board leads in a term.
func (a *applier) leadTerm(term uint64) {
	a.mu.Lock()
	a.ownTerm = term
	a.mu.Unlock()
}

// comparison is the result of a comparison of digests.
type comparison uint8

const (
	undecided comparison = iota
	inMajority
	diverged
)

// judgeMajority returns the result for a rack with this number of voters, of which agree have this board's
// digest, itself included, and differ have another one.
func judgeMajority(agree, differ, voters int) comparison {
	switch {
	case differ >= majorityOf(voters):
		return diverged
	case agree >= majorityOf(voters):
		return inMajority
	}
	return undecided
}

// judgeDigests compares this board's digest with those in the voters' hellos, and halts this board
// or ends its suspicion if a majority decides so.
func (l *Ledger) judgeDigests(r *raft.Raft, self raftServer, hellos []helloResponse) {
	theirs := map[string]indexedDigest{}
	for _, hello := range hellos {
		if hello.Trouble != "" && !hello.Suspect {
			continue // it vouches for nothing
		}
		theirs[hello.Server.ID] = indexedDigest{hello.DigestIndex, hello.Digest}
	}
	agree, differ, voters := 0, 0, listVoters(r)
	a := l.applier
	a.mu.Lock()
	for _, id := range voters {
		d := theirs[id]
		mine, known := a.digestAtLocked(d.index)
		switch {
		case id == self.ID && !a.fromLog, known && mine == d.digest:
			agree++
		case known:
			differ++
		}
	}
	v, halted, heals := judgeMajority(agree, differ, len(voters)), a.halted, false
	if v == inMajority && a.diverged { // the others had the fault, and have repaired it
		heals, a.diverged = true, false
	}
	if v == inMajority && a.suspect != "" {
		a.clearSuspicionLocked()
	}
	a.mu.Unlock()
	if heals {
		l.cfg.Logger.Warn("ledger: a majority agrees with this board again; it opens its files again", "halted", halted)
		l.requestRestart()
	}
	if v == diverged && halted == "" {
		l.haltDiverged(fmt.Sprintf("this board's replies differ from those of %d of the %d voters", differ, len(voters)))
	}
}

// haltDiverged halts this board, notes that on disk, and ends Run with ErrRestart: the next start applies
// the log again, or begins a new life. A board that diverges again in its new life stays
// halted: its memory or its program has a fault, and would not leave it.
func (l *Ledger) haltDiverged(why string) {
	times, err := noteDivergence(filepath.Join(l.cfg.Dir, dirNow), why)
	switch {
	case err != nil:
		why = fmt.Sprintf("%s, and that cannot be written to disk: %v", why, err)
	case divergedBefore(l.cfg.Dir):
		why += ", again in a new life: its memory or its program has a fault; install the program that the others have, and start this board again; if it halts again, use another board"
	case times < divergencesTolerated:
		why += "; it applies its log again"
	default:
		why += "; it sets its ledger aside, and gets the state of the others"
	}
	_ = l.applier.halt(why)
	l.applier.mu.Lock()
	l.applier.diverged = true
	l.applier.mu.Unlock()
	if err != nil || divergedBefore(l.cfg.Dir) {
		return
	}
	l.requestRestart()
}

// divergedBefore reports whether this board has set files aside because it diverged.
func divergedBefore(dir string) bool {
	lines, _ := filepath.Glob(filepath.Join(dir, damagedPrefix+"*", fileDiverged))
	return len(lines) > 0
}

const (
	// fileDiverged has a line for each time that this board differed from the majority.
	fileDiverged = "diverged"
	// divergencesTolerated is the number of times after which a board's files are set aside. After
	// the first time the log is applied again, because a fault of the memory leaves it intact; a
	// second time means that the snapshot has the wrong state too.
	divergencesTolerated = 2
)

// noteDivergence adds a line to fileDiverged, and returns how many there are.
func noteDivergence(dir, why string) (times int, err error) {
	path := filepath.Join(dir, fileDiverged)
	lines, err := readDivergences(dir)
	if err != nil {
		return 0, err
	}
	lines = append(lines, strings.ReplaceAll(why, "\n", " "))
	return len(lines), durable.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func readDivergences(dir string) (lines []string, err error) {
	text, err := os.ReadFile(filepath.Join(dir, fileDiverged))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines, nil
}

// checkDivergence returns a damageError if this board has diverged too often for its files to be trusted.
func checkDivergence(dir string) error {
	lines, err := readDivergences(dir)
	if err != nil || len(lines) < divergencesTolerated {
		return err
	}
	return &damageError{dirNow, "it diverged from the other boards twice: " + lines[len(lines)-1]}
}
