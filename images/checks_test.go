//go:build linux

package images

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"bramble/node/console"
)

// leastFree is the memory that an idle board must have available, of the 229 MB that
// its kernel finds; 184 MB are (DESIGN.md).
const leastFree = 170_000 // kB

// checkMemory checks the memory that an idle board has available.
func (e *emulatedBoard) checkMemory(t *testing.T) {
	text := e.runShell("cat /proc/meminfo; grep -E '^(VmRSS|VmHWM|RssAnon)' /proc/$(pidof bramble | tr ' ' '\\n' | head -n 1)/status")
	kb := func(name string) int {
		found := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB`).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("no %s in %q", name, text)
		}
		n, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Logf("memory: %d kB in all, %d available, %d free", kb("MemTotal"), kb("MemAvailable"), kb("MemFree"))
	if total := kb("MemTotal"); total > 240_000 {
		t.Errorf("%d kB in all: this is not a first board", total)
	}
	if free := kb("MemAvailable"); free < leastFree {
		t.Errorf("%d kB are available to an idle board; want %d", free, leastFree)
	}
}

// consoleSnapshot returns the rack as a board's console reports it.
func consoleSnapshot(ctx context.Context, ops string) (s console.RackView, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, ops+"/api/v1/rack", nil)
	if err != nil {
		return s, err
	}
	r.SetBasicAuth("bramble", testPassword)
	resp, err := newClient().Do(r)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return s, err
	}
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("the console's status is %d: %s", resp.StatusCode, body)
	}
	return s, json.Unmarshal(body, &s)
}

// ownBoard returns the board itself as its console reports it.
func ownBoard(ctx context.Context, ops string) (console.BoardView, error) {
	s, err := consoleSnapshot(ctx, ops)
	if err != nil {
		return console.BoardView{}, err
	}
	for _, one := range s.Boards {
		if one.Self {
			return one, nil
		}
	}
	return console.BoardView{}, fmt.Errorf("the board does not list itself: %v", s.Notices)
}

func postJSON(ctx context.Context, at, body string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.SetBasicAuth("bramble", testPassword)
	r.Header.Set("Content-Type", "application/json")
	resp, err := newClient().Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // for the message only
		return fmt.Errorf("%s: status %d: %s", at, resp.StatusCode, text)
	}
	return nil
}

// bytesWritten returns the bytes that the board's kernel has written to the card, and the
// uptime in seconds.
func (e *emulatedBoard) bytesWritten() (bytes int64, at float64) {
	e.t.Helper()
	fields := strings.Fields(e.runShell("grep -w mmcblk0 /proc/diskstats; cat /proc/uptime"))
	if len(fields) < 12 {
		e.t.Fatalf("disk figures %q", fields)
	}
	sectors, err := strconv.ParseInt(fields[9], 10, 64) // Documentation/admin-guide/iostats.rst
	if err != nil {
		e.t.Fatal(err)
	}
	if at, err = strconv.ParseFloat(fields[len(fields)-2], 64); err != nil {
		e.t.Fatal(err)
	}
	return sectors * sector, at
}
