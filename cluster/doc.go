// Package cluster is what the boards of a rack know of each other: who is there (gossip, by
// hashicorp/memberlist), which board owns which page (a consistent-hash ring with bounded load), and
// the authenticated link over which boards ask each other for pages.
//
// It knows nothing of pages, caches or shops. What it is told about its own board is a [Meta], what it
// tells about the others is a [Board], and every change of the rack is an [Event]. The ring is computed
// by each board for itself from the gossiped membership: boards that agree on who is alive agree on
// every owner, and while they do not (a second or so after a change) a page is merely asked of the
// second-best board, which answers just the same.
//
// Strangers can reach the gossip port, so everything that arrives is bounded before it is
// authenticated (transport.go), and what has another rack key is dropped and said so in the log once
// a minute (quiet.go).
package cluster
