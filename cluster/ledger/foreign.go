package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// foreignBoards are the boards that belong to another ledger.
type foreignBoards struct {
	mu   sync.Mutex // guards all below
	by   map[string]foreignBoard
	logs map[string]logDescent // of boards in by, and of others
}

// ledgerFork is where a ledger went on from another one: Index and Term are of the last entry of the
// recovered board, and up to Proven it knew them to be committed. Terms are as in logDescent; nil from an older program.
type ledgerFork struct {
	Ledger              ledgerID
	Index, Term, Proven uint64
	Terms               []termStart `json:",omitempty"`
}

// logDescent is what hellos say of a board's log: where its ledger comes from, the index of the last entry with
// commands, and the last term. It is zero from an older program. Proven is the index up to which the board knows entries to
// be committed, Last that of its last entry, and Terms are its last maxTermStarts terms: 0 and nil from an older program.
type logDescent struct {
	Ledger       ledgerID
	Forks        []ledgerFork `json:",omitempty"`
	Newest, Term uint64
	Proven, Last uint64
	Terms        []termStart `json:",omitempty"`
}

// AheadBoard is a board with entries that another ledger lacks. Entries is their number, at most.
type AheadBoard struct {
	Board   string `json:"board"`
	Ledger  string `json:"ledger"` // the board's
	Entries uint64 `json:"entries"`
}

// countAhead returns how many entries, up to the last with commands, a board has at most that another's ledger lacks.
// It never is too low: what the two do not certainly share counts.
func (d logDescent) countAhead(other logDescent) uint64 {
	shared := uint64(0)
	for _, a := range d.listLogs() {
		for _, b := range other.listLogs() {
			if a.Ledger == b.Ledger {
				shared = max(shared, findShared(a, b))
			}
		}
	}
	return d.Newest - min(d.Newest, shared)
}

// listLogs returns the log, and what it had at each fork, as the log of the ledger before.
func (d logDescent) listLogs() []logDescent {
	all := []logDescent{d}
	for _, f := range d.Forks {
		all = append(all, logDescent{Ledger: f.Ledger, Last: f.Index, Terms: f.Terms})
	}
	return all
}

// hasMore reports whether a board has everything that another board of its ledger proves to be committed, and more that
// is proven; if both prove the same, whether it has everything and more. A later term alone is not more. Entries without
// commands at the end do not count, or every board that led alone with a copy would have more.
func (d logDescent) hasMore(other logDescent) bool {
	shared := findShared(d, other)
	mine, theirs := min(d.Proven, d.Newest) > shared, min(other.Proven, other.Newest) > shared
	if !mine && !theirs {
		mine, theirs = d.Newest > shared, other.Newest > shared
	}
	return mine && !theirs
}

// findFullest returns the answer of the board that an operator recovers a ledger on: none has more, and of several such
// boards it proves most. It is zero if no board has an entry of the ledger.
func findFullest(hellos []helloResponse, id ledgerID) (fullest helloResponse) {
	best := logDescent{}
	for _, hello := range hellos {
		d := hello.completeLog()
		isBehind := slices.ContainsFunc(hellos, func(h helloResponse) bool { return h.Ledger == id && h.completeLog().hasMore(d) })
		if hello.Ledger != id || isBehind || !hello.hasEntries() {
			continue
		}
		if fullest.Ledger == 0 || cmp.Or(cmp.Compare(d.Proven, best.Proven), cmp.Compare(d.Term, best.Term), cmp.Compare(d.Newest, best.Newest),
			cmp.Compare(fullest.Server.Name, hello.Server.Name)) > 0 {
			fullest, best = hello, d
		}
	}
	return fullest
}

// completeLog returns the Log; of an older program, which proves nothing, only it may have all that it has.
func (h *helloResponse) completeLog() logDescent {
	d := h.Log
	if d.Last == 0 {
		d.Term, d.Last = h.LastTerm, max(h.Life.Entries, h.Index+1)-1
		d.Newest = d.Last
	}
	return d
}

// describeLog returns this board's logDescent.
func (l *Ledger) describeLog() logDescent {
	l.mu.Lock()
	d, r := logDescent{Ledger: l.files.identity.Ledger, Forks: l.files.identity.Forks}, l.raft
	l.mu.Unlock()
	d.Newest = max(l.files.log.sizeSinceSnapshot().newest, l.files.newestSnapshot.Load())
	if r != nil {
		d.Term, _ = strconv.ParseUint(r.Stats()["last_log_term"], 10, 64)
	}
	d.Proven = max(l.files.log.proven.Load(), l.files.newestSnapshot.Load())
	d.Terms, d.Last = l.files.log.listTerms()
	return d
}

// noteLog notes a board's log, if the board is one of them.
func (f *foreignBoards) noteLog(board string, d logDescent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.logs == nil || len(f.logs) > maxBoards {
		f.logs = map[string]logDescent{}
	}
	if b, isForeign := f.by[board]; isForeign && b.ledger == d.Ledger {
		f.logs[board] = d
	}
}

// listAhead returns what Status.Ahead has. superseding is the ledger for which this board's was given up, "" if none.
func (l *Ledger) listAhead(superseding string) (all []AheadBoard) {
	f := &l.otherLedgers
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.by) == 0 {
		return nil
	}
	own := l.describeLog()
	for _, board := range sortedKeys(f.by) {
		theirs := f.logs[board]
		a := AheadBoard{board, theirs.Ledger.String(), theirs.countAhead(own)}
		if superseding != "" {
			a = AheadBoard{l.cfg.Name, own.Ledger.String(), own.countAhead(theirs)}
		}
		if a.Entries > 0 && (superseding == "" || superseding == theirs.Ledger.String()) && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// foreignBoard is the ledger of one of them.
type foreignBoard struct {
	ledger ledgerID
	// outdated: an operator gave that ledger up for this board's, so it is no obstacle.
	outdated bool
}

// add notes a board's other ledger, and reports whether that is new.
func (f *foreignBoards) add(board string, b foreignBoard) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string]foreignBoard{}
	}
	isNew := f.by[board] != b
	f.by[board] = b
	return isNew
}

// remove removes a board that belongs to no other ledger any more.
func (f *foreignBoards) remove(board string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.by, board)
}

// removeLedgers removes the boards of some ledgers: the next survey notes them again.
func (f *foreignBoards) removeLedgers(ids []ledgerID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for board, b := range f.by {
		if slices.Contains(ids, b.ledger) {
			delete(f.by, board)
		}
	}
}

// describe returns the boards with their ledgers, comma-separated: those that are outdated, or the
// others; "" if there are none.
func (f *foreignBoards) describe(outdated bool) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, board := range sortedKeys(f.by) {
		if b := f.by[board]; b.outdated == outdated {
			all = append(all, board+" ("+b.ledger.String()+")")
		}
	}
	return strings.Join(all, ", ")
}

// addLedger adds a ledger to a list, unless it is there. The list holds the last
// maxSuperseded.
func addLedger(list []ledgerID, id ledgerID) []ledgerID {
	if id == 0 || slices.Contains(list, id) {
		return list
	}
	list = append(slices.Clone(list), id)
	return list[max(0, len(list)-maxSuperseded):]
}

// maxSuperseded limits the ledgers that a board remembers as given up: an operator makes
// one per recovery.
const maxSuperseded = 64

// hasNothingProven reports whether nothing on this board's card is known to be committed.
func (l *Ledger) hasNothingProven() bool {
	return l.files.log.proven.Load() == 0 && l.files.newestSnapshot.Load() == 0
}

// noteLedgerOf notes whether a board belongs to another ledger than this board.
// superseded are the ledgers that were given up for the other one.
func (l *Ledger) noteLedgerOf(own ledgerID, board string, theirs ledgerID, superseded []ledgerID) {
	if own == 0 || board == "" || len(board) > maxName {
		return
	}
	if theirs == 0 || theirs == own {
		l.otherLedgers.remove(board)
		return
	}
	l.mu.Lock()
	outdated := slices.Contains(l.files.identity.Superseded, theirs)
	if slices.Contains(superseded, own) {
		if outdated { // each was given up for the other: an operator changed their mind
			outdated = false
		} else {
			l.superseded = theirs.String()
		}
	}
	givenUp := l.superseded == theirs.String()
	l.mu.Unlock()
	if !l.otherLedgers.add(board, foreignBoard{theirs, outdated}) {
		return
	}
	switch {
	case outdated:
		l.cfg.Logger.Warn("ledger: a board has a ledger that was given up. To make it set its files aside and join: bramble ledger choose",
			"ledger", own, "board", board, "given_up", theirs)
	case givenUp && l.hasNothingProven():
		// A board with a new card, which the old ledger had begun to let in.
		why := fmt.Sprintf("an operator gave ledger %s up for %s, and this board has nothing that the rack had acknowledged", own, theirs)
		if err := l.restartAs(why, func(id *boardIdentity) { id.NewLife, id.JoinLedger = why, theirs }); err != nil {
			l.cfg.Logger.Error("ledger: this board cannot write to disk that it joins another ledger", "error", err)
		}
	case givenUp:
		l.cfg.Logger.Error("ledger: an operator gave this board's ledger up for another; this board accepts no commands. "+
			"To make it set its files aside and join: bramble ledger choose", "ledger", theirs, "given_up", own)
	default:
		l.cfg.Logger.Error("ledger: the rack has two ledgers, and neither accepts commands. They were founded apart: "+
			"choose the one with the orders with bramble ledger choose", "own", own, "board", board, "theirs", theirs)
	}
}
