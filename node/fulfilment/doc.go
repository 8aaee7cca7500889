// Package handover tells the world outside what the order book has decided: each
// order to the fulfiller by a signed webhook, and buyers by mail, if they are
// configured.
//
// The order book's outbox says what is to be told, and only a committed Done
// takes a job out of it. So a job is told at least once, whichever boards die,
// and a receiver knows a repetition by its id.
package fulfilment
