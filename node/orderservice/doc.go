// Package desk is where the shop takes papers to: it gives them to the ledger,
// reads them back from this board's order book, and does what the leader's
// board does for all (offers from the catalogue, what is due by the clock, the
// outbox). It also answers the operators: lists, exports, changes.
package orderservice
