// Package ledgertest has what tests of the ledger and of state machines need: an
// in-process network between boards that can lose, delay and partition (Net), and a
// state machine that remembers its commands (Diary).
package ledgertest
