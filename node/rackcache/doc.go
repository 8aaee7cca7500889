// Package rackcache is the distributed page cache of a rack: a request that a
// board cannot answer from its own memory goes, over plain HTTP on the rack link,
// to the board that owns the page on the ring, and only that board fetches from
// the origin. What a buyer of the built-in shop trusts, such as a draw, each board makes itself.
// The package adds what a single cache does not need: peers, replicas on
// the second owner, hot copies, and purges of the pages that unsafe requests make out of
// date.
//
// It needs four parts of its rack: the ring (OwnerRing), the rack link
// (PeerLink), the log of purges, and the origins. It knows nothing of membership,
// of the console or of the panel.
package rackcache
