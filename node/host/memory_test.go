package host

import (
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

func TestMemoryLimit(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		name               string
		total, cache, want int64
	}{
		{"first board, default cache", 232 * mb, 64 * mb, 64*mb*3/2 + 48*mb},
		{"first board, large cache", 232 * mb, 120 * mb, percentOf(232*mb, 80)},
		{"unknown", 0, 64 * mb, 64*mb*3/2 + 48*mb},
		{"far too small", 64 * mb, 64 * mb, percentOf(64*mb, 115) + 32*mb},
		{"large machine", 16 << 30, 1 << 30, 1<<30*3/2 + 48*mb},
	} {
		if got := memoryLimit(test.total, test.cache); got != test.want {
			t.Errorf("%s: %d MB, want %d MB", test.name, got/mb, test.want/mb)
		}
	}
}

// Whatever the board: with the budget that it is given, the cache fits the
// limit, and the limit fits the board.
func TestCacheFitsBoard(t *testing.T) {
	for total := int64(48 << 20); total < 1<<40; total += total / 7 {
		for cache := int64(1 << 20); cache < 1<<40; cache *= 2 {
			budget, warning := fitCache(total, cache)
			limit := memoryLimit(total, budget)
			if limit > percentOf(total, maxProcessPercent) {
				t.Fatalf("board %d, cache %d: limit %d", total, budget, limit)
			}
			if limit < percentOf(budget, minHeapPercent)+minOtherBytes {
				t.Fatalf("board %d, cache %d: limit %d leaves the collector no room", total, budget, limit)
			}
			if (budget < cache) != (warning != "") || budget > cache {
				t.Fatalf("board %d: asked %d, given %d, warning %q", total, cache, budget, warning)
			}
		}
	}
	if budget, warning := fitCache(0, 1<<40); budget != 1<<40 || warning != "" {
		t.Error("an unknown board is no reason to give less")
	}
	_, warning := fitCache(232<<20, 256<<20)
	if !strings.Contains(warning, "a cache of 256 MB does not fit into the 232 MB") {
		t.Errorf("warning %q", warning)
	}
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestMemoryOf(t *testing.T) {
	const meminfo = "MemTotal:         237568 kB\nMemFree:          100000 kB\n"
	for _, test := range []struct {
		name string
		root fstest.MapFS
		want int64
	}{
		{"nothing", fstest.MapFS{}, 0},
		{"board", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/\n")}, 237568 << 10},
		{"container, version 2", fstest.MapFS{
			"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("100000000\n"),
		}, 100000000},
		{"group above limits", fstest.MapFS{
			"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/a/b/c\n"),
			"sys/fs/cgroup/a/b/c/memory.max": file("max\n"),
			"sys/fs/cgroup/a/b/memory.max":   file("90000000\n"),
			"sys/fs/cgroup/a/memory.max":     file("95000000\n"),
		}, 90000000},
		{"version 1", fstest.MapFS{
			"proc/meminfo": file(meminfo), "proc/self/cgroup": file("5:cpu:/x\n4:memory:/docker/1\n0::/y\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("80000000\n"),
		}, 80000000},
		{"version 1, no limit", fstest.MapFS{
			"proc/meminfo": file(meminfo), "proc/self/cgroup": file("4:cpu,memory:/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"),
		}, 237568 << 10},
		{"limit above the machine", fstest.MapFS{
			"proc/meminfo": file(meminfo), "sys/fs/cgroup/memory.max": file("1000000000000\n"),
		}, 237568 << 10},
	} {
		if got := availableMemory(test.root); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestBoardMemory(t *testing.T) {
	got := totalMemory()
	if known := runtime.GOOS == "linux"; (got > 0) != known {
		t.Errorf("%d bytes on %s", got, runtime.GOOS)
	}
}

func FuzzMemoryFiles(f *testing.F) {
	f.Add("MemTotal: 237568 kB\n", "0::/a\n", "max\n")
	f.Add("MemTotal: 99999999999999999 kB", "4:memory:/../..\n0::/../x", "9223372036854775807")
	f.Fuzz(func(t *testing.T, meminfo, cgroup, limit string) {
		if n := parseMemTotal([]byte(meminfo)); n < 0 || n%1024 != 0 {
			t.Errorf("meminfo %q: %d", meminfo, n)
		}
		if n := parseLimit([]byte(limit)); n < 0 || n == math.MaxInt64 {
			t.Errorf("limit %q: %d", limit, n)
		}
		unified, memory := parseCgroups([]byte(cgroup))
		for _, group := range []string{unified, memory} {
			for _, at := range cgroupAncestors(group) {
				if strings.Contains(at+"/", "/../") || at != "" && at[0] != '/' {
					t.Errorf("group %q leads to %q", group, at)
				}
			}
		}
	})
}
