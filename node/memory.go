package node

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// maxProcessPercent is the part of the board's memory, in percent, that the process
	// may take at most. The kernel, its buffers for connections and what else
	// runs need the rest; a board without swap kills the process otherwise.
	maxProcessPercent = 80
	// minHeapPercent is what the cache's budget becomes in the heap, in percent: a
	// tenth is what the cache allows itself for gaps between its objects, the rest
	// is for garbage. With less the collector would never rest.
	minHeapPercent = 115
	// comfortableHeapPercent is what it becomes if there is memory enough: with half the
	// budget to spare the collector runs a third as often.
	comfortableHeapPercent = 150
	// minOtherBytes and restEasy are for all that is not the cache, in bytes:
	// connections, the rack, the shop, the console, and the runtime itself.
	minOtherBytes         = 32 << 20
	comfortableOtherBytes = 48 << 20
	// minCacheBytes is the least budget that a cache can be made with, in bytes.
	minCacheBytes = 1 << 20
)

// limitMemory tells the Go runtime how much memory there is, and gives the
// budget that the cache can have on this board with a sentence for the operator
// if that is less than what was asked for. A limit that the environment variable
// GOMEMLIMIT gives stands: the runtime has it already, and the operator's word is
// taken as the size of the board.
func limitMemory(cacheBudget int64) (budget int64, warning string) {
	total := boardMemory()
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

// memoryLimit is the limit for the Go runtime (GOMEMLIMIT), in bytes, on a board
// with total bytes, 0 if that is not known: what the cache and the rest want, but
// at most boardShare of the board, and never so little that the cache's own
// objects would keep the collector running all the time.
func memoryLimit(total, cacheBudget int64) int64 {
	limit := percentOf(cacheBudget, comfortableHeapPercent) + comfortableOtherBytes
	if total > 0 {
		limit = min(limit, percentOf(total, maxProcessPercent))
	}
	return max(limit, percentOf(cacheBudget, minHeapPercent)+minOtherBytes)
}

// fitCache gives the budget that a cache can have on a board with total bytes,
// 0 if that is not known: all that was asked for, or less and the reason.
func fitCache(total, cacheBudget int64) (budget int64, warning string) {
	if total <= 0 {
		return cacheBudget, ""
	}
	most := max((percentOf(total, maxProcessPercent)-minOtherBytes)/minHeapPercent*100, minCacheBytes)
	if cacheBudget <= most {
		return cacheBudget, ""
	}
	return most, fmt.Sprintf("a cache of %d MB does not fit into the %d MB of memory there are: it gets %d MB; set [cache] memory to that or less",
		cacheBudget>>20, total>>20, most>>20)
}

// percentOf is p percent of n, without overflow for any size of memory.
func percentOf(n, p int64) int64 { return n/100*p + n%100*p/100 }

// smallestKnown is the least of those that are known, 0 if none is.
func smallestKnown(sizes ...int64) int64 {
	least := int64(0)
	for _, n := range sizes {
		if n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// availableMemory is the memory that a Linux process may use, in bytes: that of the
// machine, or the least that a control group above the process allows. root is
// the file system from /. It is 0 if nothing can be read.
func availableMemory(root fs.FS) int64 {
	read := func(name string) []byte {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return nil // not there, or not for us: not known
		}
		return text
	}
	least := parseMemTotal(read("proc/meminfo"))
	unified, memory := parseCgroups(read("proc/self/cgroup"))
	// Inside a container the path may be the host's, so the way up ends at the
	// mount itself, which is always there.
	for _, at := range cgroupAncestors(unified) {
		least = smallestKnown(least, parseLimit(read("sys/fs/cgroup"+at+"/memory.max")))
	}
	for _, at := range cgroupAncestors(memory) {
		least = smallestKnown(least, parseLimit(read("sys/fs/cgroup/memory"+at+"/memory.limit_in_bytes")))
	}
	return least
}

// maxCgroupDepth bounds the control groups above a process that are looked at.
const maxCgroupDepth = 32

// cgroupAncestors lists a control group and all above it, up to the mount, which is "".
func cgroupAncestors(group string) []string {
	var all []string
	for at := path.Clean("/" + group); at != "/" && len(all) < maxCgroupDepth; at = path.Dir(at) {
		all = append(all, at)
	}
	return append(all, "")
}

// parseMemTotal reads the size of the memory, in bytes, from /proc/meminfo; 0 if
// it is not there.
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

// parseCgroups reads /proc/self/cgroup: the process's group in the unified
// hierarchy (version 2) and in that of the memory controller (version 1).
func parseCgroups(text []byte) (unified, memory string) {
	for line := range bytes.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[0] == "0" && parts[1] == "" {
			unified = parts[2]
		}
		for _, controller := range strings.Split(parts[1], ",") {
			if controller == "memory" {
				memory = parts[2]
			}
		}
	}
	return unified, memory
}

// parseLimit reads a control group's limit in bytes; 0 if there is none. Version
// 1 has no word for that and says a number near the largest.
func parseLimit(text []byte) int64 {
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil || n <= 0 || n >= 1<<62 {
		return 0
	}
	return n
}
