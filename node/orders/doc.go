// Package orders is the order book: what a shop has to sell, and every paper that a
// person has with it. It is a deterministic state machine: the ledger gives the same
// commands in the same order to every board, and every board arrives at the same stock,
// the same receipts and the same draw.
//
// It has no clock and no chance in it, and no I/O but its working copy, a bbolt file that
// is made anew at every start: what survives a pulled plug is the ledger's log and its
// snapshots. DESIGN.md in this folder gives the reasons.
package orders
