// Package orderservice is a board's order service: it submits the shop's commands to the
// ledger, reads orders back from this board's order book, and answers operators. On the
// leader's board it also runs the tasks that one board performs for the rack: it offers the
// catalogue's products, carries out what is due by the clock, and provides the jobs of
// fulfilment.
package orderservice
