package node

import (
	"fmt"
	"runtime/debug"
)

const (
	// reservedFiles is how many file descriptors a board keeps for all but the
	// public's connections: the rack link with its streams to every board, the
	// console (console.MaxConnections), gossip, the ledger's files, and 128 connections to each of a few
	// origins.
	reservedFiles = 768
	// requestBytes is what a request takes in net/http and behind it, in bytes, at
	// its worst moment: its buffers and fields, its goroutines' stacks, and a
	// part of a page on its way to the client.
	requestBytes = 64 << 10
	// requestsDivisor is the part of what the cache leaves that requests may take.
	requestsDivisor = 8
	// Whatever the memory, so many requests at least and at most.
	minRequests, maxRequestsLimit = 16, 1024
)

// maxConnections is the bound on the public's connections: what was asked for, or
// what the descriptors allow, which is said.
func (b *board) maxConnections() int {
	most, warning := fitConnections(b.cfg.HTTP.MaxConnections, maxOpenFiles())
	if warning != "" {
		b.log.Warn(warning)
	}
	return most
}

// fitConnections is the rule: so many connections of those wanted when a process may
// open so many files, 0 if that is not known.
func fitConnections(wanted, files int) (most int, warning string) {
	if files <= 0 || wanted <= files-reservedFiles {
		return wanted, ""
	}
	most = max(files-reservedFiles, files/4, 1)
	if most >= wanted {
		return wanted, ""
	}
	return most, fmt.Sprintf("%d connections do not fit into the %d files that this process may open: there will be %d at most; "+
		"raise the limit (ulimit -n %d) or set [http] max_connections to %d", wanted, files, most, wanted+reservedFiles, most)
}

// maxRequests is the bound on requests that are not answered from memory.
func (b *board) maxRequests(budget int64) int {
	if n := b.cfg.HTTP.MaxRequests; n > 0 {
		return n
	}
	return requestsFor(debug.SetMemoryLimit(-1), budget) // reads it
}

// requestsFor is the rule: what a memory limit leaves beside a cache's budget.
func requestsFor(limit, budget int64) int {
	left := (limit - percentOf(budget, minHeapPercent)) / requestsDivisor
	return int(min(max(left/requestBytes, minRequests), maxRequestsLimit))
}
