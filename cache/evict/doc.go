// Package evict decides which items a cache with a byte budget keeps. A [Policy] holds
// the items of one shard in two of golang-lru's simplelru lists and admits them by
// frequency. A [Tuner] runs a few small policies beside it on a sample of the same
// requests, one for each strategy of dividing the room, and switches all shards to the
// strategy that hits most. The package knows nothing of HTTP.
package evict
