package host

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxProcessPercent is the share of the board's memory, in percent, that the
	// process may take. The kernel, its socket buffers and other programs need the
	// rest; a board without swap kills the process otherwise.
	maxProcessPercent = 80
	// minHeapPercent is the least size of the heap, in percent of the cache's budget:
	// the cache may use a tenth for gaps between its objects, the rest is for
	// garbage. With less, the collector would run all the time.
	minHeapPercent = 115
	// comfortableHeapPercent is the heap's size if memory suffices: with half the
	// budget to spare the collector runs a third as often.
	comfortableHeapPercent = 150
	// minOtherBytes and comfortableOtherBytes are for everything but the cache:
	// connections, the rack, the shop, the console, and the runtime itself.
	minOtherBytes         = 32 << 20
	comfortableOtherBytes = 48 << 20
	minCacheBytes         = 1 << 20 // the smallest budget that a cache can be made with
	// requestBytes is the most memory that a request takes in net/http and behind it: its
	// buffers and fields, its goroutines' stacks, and a part of a page on its way to the
	// client.
	requestBytes    = 64 << 10
	requestsDivisor = 8 // requests may take an eighth of what the cache leaves
	// minRequests and maxRequests bound the number of requests, whatever the memory.
	minRequests, maxRequests = 16, 1024
)

// LimitMemory sets the Go runtime's memory limit. It returns the budget that the
// cache can have on this board, with a warning for the operator if that is less
// than cacheBudget. A limit in the environment variable GOMEMLIMIT stays: the
// runtime applies it already, and it counts as the size of the board.
func LimitMemory(cacheBudget int64) (budget int64, warning string) {
	total := totalMemory()
	if os.Getenv("GOMEMLIMIT") != "" {
		limit := debug.SetMemoryLimit(-1) // reads it
		if limit < math.MaxInt64 {
			total = smallestKnown(total, limit/maxProcessPercent*100)
		}
		return fitCache(total, cacheBudget)
	}
	budget, warning = fitCache(total, cacheBudget)
	debug.SetMemoryLimit(memoryLimit(total, budget))
	return budget, warning
}

// LimitRequests returns the number of requests that may be in net/http at once, beside
// a cache with the given budget and under the runtime's memory limit.
func LimitRequests(budget int64) int {
	return requestsFor(debug.SetMemoryLimit(-1), budget) // reads it
}

// requestsFor is the rule of LimitRequests: requests get a part of the memory that the
// cache leaves of the limit.
func requestsFor(limit, budget int64) int {
	left := (limit - percentOf(budget, minHeapPercent)) / requestsDivisor
	return int(min(max(left/requestBytes, minRequests), maxRequests))
}

// memoryLimit returns the limit for the Go runtime (GOMEMLIMIT), in bytes, on a
// board with total bytes, 0 if that is not known: enough for the
// cache and the rest, but at most maxProcessPercent of the board, and never so little
// that the collector would run all the time because of the cache's own objects.
func memoryLimit(total, cacheBudget int64) int64 {
	limit := percentOf(cacheBudget, comfortableHeapPercent) + comfortableOtherBytes
	if total > 0 {
		limit = min(limit, percentOf(total, maxProcessPercent))
	}
	return max(limit, percentOf(cacheBudget, minHeapPercent)+minOtherBytes)
}

// fitCache returns the budget that a cache can have on a board with total bytes,
// 0 if that is not known: all of cacheBudget, or less and the reason.
func fitCache(total, cacheBudget int64) (budget int64, warning string) {
	if total <= 0 {
		return cacheBudget, ""
	}
	most := max((percentOf(total, maxProcessPercent)-minOtherBytes)/minHeapPercent*100, minCacheBytes)
	if cacheBudget <= most {
		return cacheBudget, ""
	}
	return most, fmt.Sprintf("a cache of %d MB does not fit into the %d MB of memory; it gets %d MB: set [cache] memory to that or less",
		cacheBudget>>20, total>>20, most>>20)
}

// percentOf returns p percent of n, without overflow for any size of memory.
func percentOf(n, p int64) int64 { return n/100*p + n%100*p/100 }

// smallestKnown returns the smallest of the sizes that are known (not 0); 0 if
// none is.
func smallestKnown(sizes ...int64) int64 {
	smallest := int64(0)
	for _, n := range sizes {
		if n > 0 && (smallest == 0 || n < smallest) {
			smallest = n
		}
	}
	return smallest
}

// availableMemory returns the memory that a Linux process may use, in bytes: the
// machine's, or less if a control group above the process allows less. root is the
// file system from /. It is 0 if nothing can be read.
func availableMemory(root fs.FS) int64 {
	read := func(name string) []byte {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return nil // missing or not readable: not known
		}
		return text
	}
	smallest := parseMemTotal(read("proc/meminfo"))
	unified, memory := parseCgroups(read("proc/self/cgroup"))
	// Inside a container the path may be the host's, so the way up ends at the
	// mount itself, which is always there.
	for _, at := range cgroupAncestors(unified) {
		smallest = smallestKnown(smallest, parseLimit(read("sys/fs/cgroup"+at+"/memory.max")))
	}
	for _, at := range cgroupAncestors(memory) {
		smallest = smallestKnown(smallest, parseLimit(read("sys/fs/cgroup/memory"+at+"/memory.limit_in_bytes")))
	}
	return smallest
}

const maxCgroupDepth = 32 // bounds the number of control groups above a process that are read

// cgroupAncestors lists a control group and all above it, up to the mount, which is "".
func cgroupAncestors(group string) []string {
	var all []string
	for at := path.Clean("/" + group); at != "/" && len(all) < maxCgroupDepth; at = path.Dir(at) {
		all = append(all, at)
	}
	return append(all, "")
}

// parseMemTotal returns the size of the memory, in bytes, from /proc/meminfo; 0 if
// the line is missing.
func parseMemTotal(text []byte) int64 {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) != 3 || string(words[0]) != "MemTotal:" || string(words[2]) != "kB" {
			continue
		}
		n, err := strconv.ParseInt(string(words[1]), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64>>10 {
			return 0
		}
		return n << 10
	}
	return 0
}

// parseCgroups returns the process's groups from /proc/self/cgroup: the one in the
// unified hierarchy (version 2) and the one of the memory controller (version 1).
func parseCgroups(text []byte) (unified, memory string) {
	for line := range bytes.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[0] == "0" && parts[1] == "" {
			unified = parts[2]
		}
		if slices.Contains(strings.Split(parts[1], ","), "memory") {
			memory = parts[2]
		}
	}
	return unified, memory
}

// parseLimit returns a control group's limit in bytes; 0 if there is none.
// Version 1 writes "no limit" as a number near the largest.
func parseLimit(text []byte) int64 {
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil || n <= 0 || n >= 1<<62 {
		return 0
	}
	return n
}

// reservedFiles is the number of file descriptors that a board reserves for everything but
// the public connections: the rack link with its streams to every board, the
// console (console.MaxConnections), gossip, the ledger's files, and 128
// connections to each of a few origins.
const reservedFiles = 768

// LimitConnections returns the number of public connections that the process's file
// descriptors allow: configured, or fewer with a warning for the operator.
func LimitConnections(configured int) (limit int, warning string) {
	return fitConnections(configured, maxOpenFiles())
}

// fitConnections is the rule of LimitConnections. files is the number of files that the process may open, 0 if
// that is not known.
func fitConnections(configured, files int) (limit int, warning string) {
	if files <= 0 || configured <= files-reservedFiles {
		return configured, ""
	}
	limit = max(files-reservedFiles, files/4, 1)
	if limit >= configured {
		return configured, ""
	}
	return limit, fmt.Sprintf("%d connections do not fit into the %d files that this process may open; the limit is %d: "+
		"raise the limit (ulimit -n %d) or set [http] max_connections to %d", configured, files, limit, configured+reservedFiles, limit)
}
