package ledger

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Files that were set aside stay for 30 days by a clock that was set.
func TestOldFilesThatWereSetAsideAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"damaged-0001-19700101T000000Z", "damaged-0002-20260301T000000Z", "damaged-0003-20260310T000000Z",
		"damaged-0004-20290101T000000Z", "damaged-odd", "now"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "log"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := dropOldSetAside(dir, time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, name := range append(SetAside(dir), filepath.Join(dir, "now")) {
		if _, err := os.Stat(name); err == nil {
			left = append(left, filepath.Base(name))
		}
	}
	if want := []string{"damaged-odd", "damaged-0004-20290101T000000Z", "damaged-0003-20260310T000000Z", "damaged-0001-19700101T000000Z", "now"}; !slices.Equal(left, want) {
		t.Errorf("left: %v; want %v", left, want)
	}
}
