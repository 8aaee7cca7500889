//go:build unix

package node_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bramble/node"
	"bramble/node/console"
	"bramble/node/orderservice"
)

// loseCard removes everything that a board has written, as a new card does.
func (p *process) loseCard() {
	p.rack.t.Helper()
	for _, path := range []string{p.orders(), p.orders() + ".id"} {
		if err := os.RemoveAll(path); err != nil {
			p.rack.t.Fatal(err)
		}
	}
}

// waitNotice waits until a board's console shows a notice with a text.
func (p *process) waitNotice(text string) {
	p.rack.t.Helper()
	p.waitFor("a notice with "+text, func(s console.RackView) bool { return strings.Contains(strings.Join(s.Notices, "\n"), text) })
}

// ledgerCommand sends an operator's command about the ledger, and returns the reply.
func (p *process) ledgerCommand(path string, c orderservice.LedgerCommand) page {
	p.rack.t.Helper()
	body, err := json.Marshal(c)
	if err != nil {
		p.rack.t.Fatal(err)
	}
	return p.post("/api/v1/shop/ledger/"+path, string(body))
}

// allowFounding lets the boards that answer found a ledger, once they are enough.
func (p *process) allowFounding() {
	p.rack.t.Helper()
	p.waitReady()
	eventually(p.rack.t, p.name+" to pass on an operator's word", func() (bool, string) {
		got := p.ledgerCommand("found", orderservice.LedgerCommand{})
		return got.status == http.StatusOK, got.body
	})
}

// TestTwoOfThreeCardsAreLost: the two new cards start first, and found nothing. With the
// survivor an operator recovers the ledger: the receipt of before is valid on all boards.
func TestTwoOfThreeCardsAreLost(t *testing.T) {
	runBeside(t)
	r := startRack(t, 3, withShop(t, 10, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	receipt := r.boards[1].mustOrder("ada", "berry")
	for _, b := range r.boards {
		eventually(t, b.name+" to have the order", func() (bool, string) { got := b.get(receipt); return got.status == http.StatusOK, got.body })
	}
	for _, b := range r.boards {
		b.kill()
	}
	survivor, lost := r.boards[0], r.boards[1:]
	for _, b := range lost {
		b.loseCard()
		b.start()
	}
	for _, b := range lost {
		b.waitNotice("waiting for 1 more of 3 boards")
		b.waitNotice("bramble ledger found")
	}
	if got := lost[0].get(berryPage); strings.Contains(got.body, "In stock") {
		t.Errorf("two new cards sell: %s", got.body)
	}
	survivor.start()
	lost[0].waitNotice("bramble ledger recover " + survivor.name)
	if got := lost[0].ledgerCommand("found", orderservice.LedgerCommand{}); got.status != http.StatusConflict {
		t.Errorf("founded beside the survivor: %d %s", got.status, got.body)
	}
	var plan orderservice.LedgerRecovery
	eventually(t, "a plan of the recovery", func() (bool, string) {
		got := lost[1].ledgerCommand("recover", orderservice.LedgerCommand{Board: survivor.name})
		return got.status == http.StatusOK && json.Unmarshal([]byte(got.body), &plan) == nil && len(plan.CountedOut) == 2, got.body
	})
	if got := lost[1].ledgerCommand("recover", orderservice.LedgerCommand{Board: survivor.name, Confirmed: true}); got.status != http.StatusOK {
		t.Fatalf("recover: %d %s", got.status, got.body)
	}
	for _, b := range r.boards {
		b.waitOrders()
		eventually(t, b.name+" to have the receipt", func() (bool, string) {
			got, err := fetch(client(), b.http+receipt)
			return err == nil && got.status == http.StatusOK, got.body
		})
	}
	if n := len(lost[0].listOrders()); n != 1 {
		t.Errorf("%d orders, want 1", n)
	}
	var boards []orderservice.LedgerBoard
	eventually(t, "three voters", func() (bool, string) {
		got, err := lost[0].callConsole(http.MethodGet, "/api/v1/shop/ledger/boards", "")
		if err != nil || json.Unmarshal([]byte(got.body), &boards) != nil {
			return false, got.body
		}
		voters := 0
		for _, b := range boards {
			if b.Voter && b.Trouble == "" {
				voters++
			}
		}
		return voters == 3, got.body
	})
}

// TestALoneBoardWithAnEmptiedDirectorySellsNothing: the directory of its orders was
// emptied; the board says so and sells nothing until an operator allows a new ledger.
func TestALoneBoardWithAnEmptiedDirectorySellsNothing(t *testing.T) {
	runBeside(t)
	r := startRack(t, 1, withShop(t, 10, ""))
	b := r.boards[0]
	b.waitOrders()
	b.mustOrder("ada", "berry")
	b.kill()
	if err := os.Remove(node.ConsoleSocket(b.orders())); err != nil { // CopyFS copies no sockets
		t.Fatal(err)
	}
	card := t.TempDir()
	if err := os.CopyFS(card, os.DirFS(b.orders())); err != nil {
		t.Fatal(err)
	}
	setAside := filepath.Join(card, "log", "damaged-0001-20120229T000000Z")
	if err := os.Rename(filepath.Join(card, "log", "now"), setAside); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{card, setAside} {
		if n := countOrders(t, folder); n != 1 {
			t.Errorf("%s: %d orders are read from files that were set aside, want 1", folder, n)
		}
	}
	if err := os.RemoveAll(b.orders()); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.waitNotice("its directory is empty")
	b.waitNotice("bramble ledger found")
	if got := b.get(berryPage); strings.Contains(got.body, "In stock") {
		t.Errorf("it sells: %s", got.body)
	}
	if got := b.ledgerCommand("found", orderservice.LedgerCommand{}); got.status != http.StatusOK {
		t.Fatalf("found: %d %s", got.status, got.body)
	}
	b.waitOrders()
}

// countOrders counts the orders on a dead board's card.
func countOrders(t *testing.T, folder string) int {
	t.Helper()
	card, err := node.ReadCard(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer card.Close()
	n := 0
	if err := card.Each(func(orderservice.OrderJSON) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAllBoardsGetNewNames at once: no leader could announce them. The orders stay, and every
// board votes under its new name.
func TestAllBoardsGetNewNames(t *testing.T) {
	runBeside(t)
	r := startRack(t, 3, withShop(t, 10, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	receipt := r.boards[1].mustOrder("ada", "berry")
	for _, b := range r.boards {
		b.kill()
		text, err := os.ReadFile(b.file)
		if err != nil {
			t.Fatal(err)
		}
		renamed := strings.Replace(string(text), `name = "`+b.name+`"`, `name = "new-`+b.name+`"`, 1)
		if err := os.WriteFile(b.file, []byte(renamed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range r.boards {
		b.start()
	}
	for _, b := range r.boards {
		b.waitOrders()
		eventually(t, b.name+" to have the receipt", func() (bool, string) {
			got, err := fetch(client(), b.http+receipt)
			return err == nil && got.status == http.StatusOK, got.body
		})
	}
	eventually(t, "three voters with new names", func() (bool, string) {
		got, err := r.boards[0].callConsole(http.MethodGet, "/api/v1/shop/ledger", "")
		var s orderservice.LedgerState
		if err != nil || json.Unmarshal([]byte(got.body), &s) != nil {
			return false, got.body
		}
		return slices.Equal(s.Voters, []string{"new-board-1", "new-board-2", "new-board-3"}), got.body
	})
}
