// Package fulfilment carries out the order book's jobs: it sends each order to the fulfiller
// by a signed webhook, and a notice to the buyer by mail, as far as they are configured.
//
// The order book's outbox lists the jobs, and only a committed FinishJob removes one. So a
// job is delivered at least once, whichever boards die, and a receiver recognises a repeated
// delivery by its id.
package fulfilment
