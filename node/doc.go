// Package node is one board: it puts listeners, memory, ring and origin
// together out of their packages and runs them until it is told to stop.
//
// The journeys start here. A page: pages.ServeHTTP. What another board asks:
// peerHandler.object. A heartbeat: board.beat.
package node
