package host

import (
	"strings"
	"testing"
)

func TestFitConnections(t *testing.T) {
	for _, test := range []struct {
		wanted, files, want int
		warned              bool
	}{
		{4096, 0, 4096, false}, {4096, 1 << 20, 4096, false}, {4096, 4096 + reservedFiles, 4096, false},
		{4096, 4096, 4096 - reservedFiles, true}, {4096, 1024, 256, true}, {100, 1024, 100, false}, {4096, 1, 1, true},
	} {
		got, warning := fitConnections(test.wanted, test.files)
		if got != test.want || test.warned != strings.Contains(warning, "max_connections") {
			t.Errorf("%d of %d files: %d, %q", test.wanted, test.files, got, warning)
		}
	}
}

func TestRequestsFor(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		limit, budget int64
		want          int
	}{
		{144 * mib, 64 * mib, 140}, {64 * mib, 64 * mib, minRequests}, {1 << 62, 64 * mib, maxRequests},
	} {
		if got := requestsFor(test.limit, test.budget); got != test.want {
			t.Errorf("limit %d MiB, cache %d MiB: %d, want %d", test.limit/mib, test.budget/mib, got, test.want)
		}
	}
	// What config's reference says of an original board.
	const budget = 64_000_000
	if got := requestsFor(memoryLimit(240*mib, budget), budget); got != 138 {
		t.Errorf("a 256 MB board has %d places", got)
	}
}
