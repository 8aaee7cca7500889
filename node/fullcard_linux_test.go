package node_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bramble/node/console"
)

// smallCard gives a board a file system of its own for its orders, which fillCard can fill.
// It skips the test where that is not possible.
func smallCard(t *testing.T, b *process) {
	t.Helper()
	const missing = "this test needs the right to mount a file system (root), and the tool unshare"
	if exec.Command("unshare", "-m", "true").Run() != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	if err := os.MkdirAll(b.orders(), 0o700); err != nil {
		t.Fatal(err)
	}
	b.before = []string{"unshare", "-m", "sh", "-c", fmt.Sprintf(`mount -t tmpfs -o size=48m none '%s' && exec "$0"`, b.orders())}
}

// fillCard fills a board's small card to the last byte, and returns how to free it.
func fillCard(t *testing.T, b *process) (free func()) {
	t.Helper()
	filler := filepath.Join(fmt.Sprintf("/proc/%d/root", b.cmd.Process.Pid), b.orders(), "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	return func() {
		if err := os.Remove(filler); err != nil {
			t.Error(err)
		}
	}
}

// TestPagesFollowFullCards: one full card changes only its own board's pages, if any; when
// all cards are full, every page says that orders are paused; with room again, orders go on.
func TestPagesFollowFullCards(t *testing.T) {
	r := newRack(t, 3, withShop(t, 100_000, ""))
	for _, b := range r.boards {
		smallCard(t, b)
	}
	r.startAll()
	for _, b := range r.boards {
		b.waitOrders()
	}
	got := &receipts{all: map[string]string{}}
	n := 0
	order := func(b *process) buyerReply {
		n++
		buyer := newBuyer(fmt.Sprintf("buyer%d", n))
		how, path, seen := buyer.placeOrder(b.http)
		switch how {
		case placed:
			got.add(t, buyer.name, path)
		case unexpected:
			t.Fatalf("an order: %d %s", seen.status, seen.body)
		}
		return how
	}
	full, others := r.boards[0], r.boards[1:]
	freeFirst := fillCard(t, full)
	eventually(t, "the board with the full card to say so", func() (bool, string) {
		for _, b := range others {
			order(b)
		}
		page := full.get(berryPage)
		return strings.Contains(page.body, "No orders on this server now"), page.body
	})
	for _, b := range others {
		awaitPages(t, b, false, map[string]string{})
	}

	var frees []func()
	for _, b := range others {
		frees = append(frees, fillCard(t, b))
	}
	eventually(t, "every page to say that orders are paused", func() (bool, string) {
		seen := ""
		for _, b := range others {
			order(b) // so that the boards notice
			if page := b.get(berryPage); !strings.Contains(page.body, "Orders are paused") {
				seen += page.body
			}
		}
		return seen == "", seen
	})
	for _, b := range others {
		awaitPages(t, b, true, map[string]string{})
		b.waitFor("the notice about its card", func(s console.RackView) bool {
			notices := strings.Join(s.Notices, " ")
			return strings.Contains(notices, "no space left") || strings.Contains(notices, "Orders are paused")
		})
	}
	freeFirst()
	for _, free := range frees {
		free()
	}
	for _, b := range r.boards {
		awaitPages(t, b, false, map[string]string{})
	}
	if how := order(r.boards[0]); how != placed {
		t.Errorf("after the cards had room again: %s", how)
	}
	compareOrders(t, r.boards[0], got, 100_000)
}
