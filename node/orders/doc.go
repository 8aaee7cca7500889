// Package orders is the order book: a shop's sales, and every order, ballot entry,
// registration of interest and waiting-list place. It is a
// deterministic state machine: the ledger passes the same commands in the same order to
// every board, and every board arrives at the same stock, receipts and draws.
//
// It has no clock, no randomness and no I/O except its working copy, a bbolt file that is
// rebuilt at every start: what survives a power cut is the ledger's log and snapshots.
// DESIGN.md in this folder gives the reasons.
package orders
