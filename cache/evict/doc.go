// Package evict decides what a cache with room for a number of bytes keeps. A
// [Policy] holds the items of one shard in two of golang-lru's simplelru lists and
// admits by frequency. A [Tuner] runs a few small policies beside it on a sample of
// the same requests, one for each way of sharing out the room, and has all shards
// do what earned most. It knows nothing of HTTP.
package evict
