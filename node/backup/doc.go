// Package backup writes the rack's order book to one encrypted file, reads it back, and
// keeps such files on a USB stick or a WebDAV server by a schedule.
//
// A backup is a stream (stream.go) of a header, the order book's snapshot at one entry of
// the ledger, and a checksum of both. The file is that stream, compressed by LZ4 (earlier: gzip) and
// encrypted by age, so that "age -d" and "lz4 -d" open it without this program. Nothing
// counts as written before it was read back from its destination, decrypted and compared.
//
// The catalogue is not part of a backup: it is configuration, which the owner has as a
// file. A backup has the orders, and all that makes them valid: sales, limits, queues,
// draws with their secrets, the audit trail, and the keys that sign receipts.
package backup
