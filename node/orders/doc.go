// Package orders is the order book: what a shop has to sell, and every order, ballot entry,
// registration of interest and waiting-list place that a person has with it. It is a
// deterministic state machine: the ledger passes the same commands in the same order to
// every board, and every board arrives at the same stock, receipts and draws.
//
// It has no clock, no randomness and no I/O except its working copy, a bbolt file that is
// rebuilt at every start: what survives a power cut is the ledger's log and snapshots.
// DESIGN.md in this folder gives the reasons.
package orders
