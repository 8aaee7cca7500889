package console

import "testing"

func TestFormatBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0.0 MB", 1: "1 kB", 20_500: "21 kB", 1_000_000: "1.0 MB", 64_000_000: "64.0 MB"} {
		if got := formatBytes(n); got != want {
			t.Errorf("%d bytes are %q, not %q", n, got, want)
		}
	}
}
