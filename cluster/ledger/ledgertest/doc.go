// Package ledgertest is what tests of the ledger and of machines on it need:
// a network between boards in one process, which can lose, delay and cut
// (Net), and a machine that remembers what it was told (Diary).
package ledgertest
