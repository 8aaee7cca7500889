package ledger

import (
	"slices"
	"strings"
	"sync"
)

// foreignBoards are the boards that belong to another ledger.
type foreignBoards struct {
	mu sync.Mutex // guards by
	by map[string]foreignBoard
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
