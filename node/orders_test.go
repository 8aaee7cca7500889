//go:build unix

package node_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bramble/node"
	"bramble/node/orderservice"
)

// receipts are those that buyers were shown: acknowledged orders.
type receipts struct {
	mu  sync.Mutex
	all map[string]string // receipt path by buyer
}

func (r *receipts) add(t *testing.T, buyer, path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before := r.all[buyer]; before != "" && before != path {
		t.Errorf("%s has two receipts, %s and %s", buyer, before, path)
	}
	r.all[buyer] = path
}

// startRush lets buyers submit the form to random boards, each until the result is
// final or stop is closed. A buyer whose result is uncertain submits the same form again: a
// new one is another order, and the page does not show what became of the first.
func startRush(t *testing.T, boards []*process, buyers int, got *receipts, stop <-chan struct{}) *sync.WaitGroup {
	var all sync.WaitGroup
	for i := range buyers {
		all.Go(func() {
			b := newBuyer(fmt.Sprintf("buyer%d", i))
			var form url.Values
			for began := time.Now(); ; {
				select {
				case <-stop:
					return
				default:
				}
				board := boards[rand.IntN(len(boards))].http
				var (
					how     buyerReply
					receipt string
					seen    page
				)
				if form == nil {
					how, form, seen = b.openForm(board)
				}
				if form != nil {
					how, receipt, seen = b.submitForm(board, form)
				}
				switch how {
				case placed:
					got.add(t, b.name, receipt)
					return
				case soldOut:
					return
				case unexpected:
					t.Errorf("%s got status %d: %s", b.name, seen.status, seen.body)
					return
				}
				if time.Since(began) > 2*patience {
					t.Errorf("%s gets no result; last seen: %d %s", b.name, seen.status, seen.body)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return &all
}

// compareOrders compares the buyers' receipts with the ledger's orders.
func compareOrders(t *testing.T, from *process, got *receipts, stock int) {
	t.Helper()
	by := map[string]int{}
	open := map[string]bool{}
	for _, p := range from.listOrders() {
		if p.State != "cancelled" {
			by[p.Email]++
			open[p.Reference] = true
		}
	}
	for email, n := range by {
		if n > 1 {
			t.Errorf("%s has %d orders", email, n)
		}
	}
	for buyer, path := range got.all {
		if !open[reference(path)] {
			t.Errorf("the order of %s, %s, was acknowledged and is lost", buyer, path)
		}
	}
	sale := from.sale()
	if sale.Sold != int64(len(open)) || sale.Sold+sale.Held+sale.Free != int64(stock) {
		t.Errorf("sold %d, held %d, free %d of %d, and there are %d orders", sale.Sold, sale.Held, sale.Free, stock, len(open))
	}
}

// TestLastUnitIsSoldOnce: more buyers than units submit forms to all boards at once.
func TestLastUnitIsSoldOnce(t *testing.T) {
	runBeside(t)
	const stock, buyers = 40, 120
	r := startRack(t, 5, withShop(t, stock, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	got := &receipts{all: map[string]string{}}
	blank := r.boards[2].get(berryOrder).body
	startRush(t, r.boards, buyers, got, nil).Wait()
	if len(got.all) != stock {
		t.Errorf("%d buyers have a receipt, and there were %d units", len(got.all), stock)
	}
	compareOrders(t, r.boards[4], got, stock)

	soldOutAt := time.Now()
	for _, b := range r.boards {
		eventually(t, b.name+" to show that it is sold out", func() (bool, string) {
			page := b.get(berryPage)
			return strings.Contains(page.body, "Sold out") && !strings.Contains(page.body, "In stock"), page.body
		})
	}
	t.Logf("sold out on all boards %v after the last order", time.Since(soldOutAt).Round(time.Millisecond))

	for _, b := range r.boards {
		if strings.Contains(b.logText(), "@buyer.example") {
			t.Errorf("the log of %s has an e-mail address in it", b.name)
		}
	}
	// Every board shows every receipt; the same form returns the same one.
	buyer, path := "", ""
	for buyer, path = range got.all {
		break
	}
	for _, b := range r.boards {
		page := b.get(path)
		if page.status != http.StatusOK || !strings.Contains(page.body, reference(path)) {
			t.Errorf("%s shows for %s: %d", b.name, path, page.status)
		}
		at := strings.LastIndexByte(path, '/') + 1
		other := "a"
		if path[at] == 'a' {
			other = "b"
		}
		if guess := b.get(path[:at] + other + path[at+1:]); guess.status != http.StatusNotFound {
			t.Errorf("%s shows a receipt for a guessed token: %d", b.name, guess.status)
		}
	}
	again := newBuyer(buyer)
	// The same words in another browser do not lead to the receipt, and do not place a second order.
	if how, _, seen := again.submitForm(r.boards[2].http, again.fillForm(blank)); how != soldOut && how != known || strings.Contains(seen.body, path) {
		t.Errorf("submitted by a stranger: %s, status %d", how, seen.status)
	}
	// A cancelled unit can be sold again.
	if how, seen := again.cancelOrder(r.boards[0].http, path); how != placed {
		t.Fatalf("cancelling: %s, status %d", how, seen.status)
	}
	late, first := newBuyer("late"), ""
	form := late.fillForm(blank)
	eventually(t, "the unit to be sold again", func() (bool, string) {
		how, path, seen := late.submitForm(r.boards[3].http, form)
		first = path
		return how == placed, seen.body
	})
	// A form that is sent again after a new secret is the same order. When all links have ended, it leads to none and places none.
	for _, revokes := range []bool{false, true} {
		eventually(t, "a new secret", func() (bool, string) {
			got := r.boards[1].sendCommand(orderservice.OperatorCommand{Action: "relink", Revoke: revokes})
			return got.status == http.StatusOK, got.body
		})
		for _, b := range r.boards {
			eventually(t, b.name+" to use the new secret", func() (bool, string) {
				how, path, seen := late.submitForm(b.http, form)
				if how == placed && reference(path) != reference(first) {
					t.Fatalf("%s: the form is a second order", b.name)
				}
				return how == placed && path != first && !revokes || revokes && strings.Contains(seen.body, "has placed orders already"), seen.body
			})
		}
	}
	if orders := r.boards[0].listOrders(); len(orders) != stock+1 {
		t.Errorf("%d orders", len(orders))
	}
}

// TestOrdersSurviveDeadBoards: two of five boards are killed one after the
// other, the leader among them, and one is paused.
func TestOrdersSurviveDeadBoards(t *testing.T) {
	runBeside(t)
	const stock, buyers = 150, 200
	r := startRack(t, 5, withShop(t, stock, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	got := &receipts{all: map[string]string{}}
	buying := startRush(t, r.boards, buyers, got, nil)
	leader := r.leader()
	leader.kill()
	time.Sleep(time.Second)
	paused := r.boards[0]
	if paused == leader {
		paused = r.boards[1]
	}
	paused.signal(syscall.SIGSTOP)
	time.Sleep(3 * time.Second)
	paused.signal(syscall.SIGCONT)
	leader.start()
	buying.Wait()
	if len(got.all) != stock {
		t.Errorf("%d buyers have a receipt, and there were %d units", len(got.all), stock)
	}
	for _, b := range r.boards {
		b.waitReady()
	}
	compareOrders(t, r.boards[0], got, stock)
	compareOrders(t, leader, got, stock)
}

// leader returns the board that leads the ledger.
func (r *rack) leader() (found *process) {
	r.t.Helper()
	eventually(r.t, "the ledger to have a leader", func() (bool, string) {
		for _, b := range r.boards {
			if b.metric("bramble_ledger_is_leader") == 1 {
				found = b
				return true, ""
			}
		}
		return false, "none"
	})
	return found
}

// TestOrdersSurviveAPowerCut: every acknowledged order is there after the boards
// have restarted; a card that was pulled out can be read.
func TestOrdersSurviveAPowerCut(t *testing.T) {
	runBeside(t)
	const stock, buyers = 10_000, 60
	r := startRack(t, 3, withShop(t, stock, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	got := &receipts{all: map[string]string{}}
	stop := make(chan struct{})
	buying := startRush(t, r.boards, buyers, got, stop)
	eventually(t, "some orders", func() (bool, string) {
		got.mu.Lock()
		defer got.mu.Unlock()
		return len(got.all) > buyers/3, fmt.Sprint(len(got.all))
	})
	for _, b := range r.boards {
		b.signal(syscall.SIGKILL)
	}
	close(stop)
	for _, b := range r.boards {
		<-b.exited
	}
	buying.Wait()
	t.Logf("%d orders were acknowledged when the power was cut", len(got.all))

	card, err := node.ReadCard(r.boards[1].orders())
	if err != nil {
		t.Fatal(err)
	}
	onCard := 0
	if err := card.Each(func(orderservice.OrderJSON) error { onCard++; return nil }); err != nil {
		t.Error(err)
	}
	t.Logf("%d orders on the card of %s. %s", onCard, r.boards[1].name, card.Note)
	card.Close()

	for _, b := range r.boards {
		b.start()
	}
	for _, b := range r.boards {
		b.waitReady()
		compareOrders(t, b, got, stock)
	}
	for buyer, path := range got.all {
		if receipt, err := r.boards[2].receipt(path); err != nil || receipt.State != "open" {
			t.Errorf("the receipt of %s: %+v, %v", buyer, receipt, err)
		}
	}
	// And the shop continues.
	r.boards[0].mustOrder("after", "berry")
}

// TestBoardWithAWipedCardRejoins: a board with a new card joins the existing ledger, as
// another server, and copies everything from the others.
func TestBoardWithAWipedCardRejoins(t *testing.T) {
	runBeside(t)
	r := startRack(t, 3, withShop(t, 100, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	got := &receipts{all: map[string]string{}}
	startRush(t, r.boards, 20, got, nil).Wait()
	wiped := r.boards[1]
	wiped.kill()
	if err := os.RemoveAll(wiped.orders()); err != nil {
		t.Fatal(err)
	}
	wiped.start()
	wiped.waitReady()
	wiped.waitOrders()
	compareOrders(t, wiped, got, 100)
}
