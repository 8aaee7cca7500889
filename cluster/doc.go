// Package cluster is a board's membership of its rack: which boards there are and in which state (gossip,
// by hashicorp/memberlist), which board owns which page (a consistent-hash ring with bounded loads), and
// how boards find each other on a LAN (mDNS).
//
// It knows nothing of pages, caches or shops. A board gossips a [Meta] about itself, sees each other
// board as a [Board], and learns each change of the rack as an [Event]. Each board computes the ring by
// itself from the gossiped membership: boards that agree on who is alive agree on every owner. While
// they do not (a second or so after a change), a page is merely requested from the second-best board,
// which answers just the same.
//
// Strangers can reach the gossip port. So everything that arrives is bounded before it is authenticated
// (transport.go), and a message under another rack key is dropped and logged once a minute
// (cluster/logdedup).
package cluster
