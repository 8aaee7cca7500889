//go:build unix

package node_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bramble/node/orders/orderstest"
)

var ordersFor = flag.Duration("orders", 12*time.Second, "how long TestOrdersAreLinearizable breaks boards")

// linearStock is near zero, so that overselling would show.
const linearStock = 3

// TestOrdersAreLinearizable: people order and cancel on all boards, each person
// in two windows at once, while boards are killed and paused. Their answers must be
// answers that one order book in one place could have given. (Partitions:
// node/orderservice.)
func TestOrdersAreLinearizable(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills boards for many seconds")
	}
	orderstest.RunJudged(t, func(t *testing.T) bool {
		decided, _ := ordersWhile(t, 5, func(r *rack) { breakBoards(r, *ordersFor) })
		return decided
	})
}

// pausesInHistory is the number of times that TestPausesAreLinearizable takes the majority away.
const pausesInHistory = 2

// TestPausesAreLinearizable: the majority is lost and comes back while people order and
// cancel. Whoever is told that orders are paused and nothing was taken was told the truth.
func TestPausesAreLinearizable(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes the majority away for many seconds")
	}
	orderstest.RunJudged(t, func(t *testing.T) bool {
		decided, paused := ordersWhile(t, 3, func(r *rack) {
			for range pausesInHistory {
				at := rand.Perm(len(r.boards))
				for _, i := range at[1:] {
					r.boards[i].signal(syscall.SIGSTOP)
				}
				// Pages say it after 5 s; for another second buyers meet that.
				awaitAccepting(t, r.boards[at[0]], false)
				time.Sleep(time.Second)
				for _, i := range at[1:] {
					r.boards[i].signal(syscall.SIGCONT)
				}
				awaitAccepting(t, r.boards[at[0]], true)
				time.Sleep(time.Second) // in which orders can be placed with certainty
			}
		})
		if paused == 0 {
			t.Error("nobody was told that orders are paused")
		}
		t.Logf("%d times a buyer was told that orders are paused", paused)
		return decided
	})
}

// awaitAccepting waits until a board says that it accepts orders, sold out or not, or none.
func awaitAccepting(t *testing.T, b *process, accepts bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s to accept orders: %t", b.name, accepts), func() (bool, string) {
		got := b.get("/status.json")
		return strings.Contains(got.body, fmt.Sprintf(`"takes_orders": %t`, accepts)), got.body
	})
}

// ordersWhile lets people order and cancel while breaking runs, and judges the answers. paused is
// the number of times that one was told that orders are paused.
func ordersWhile(t *testing.T, boards int, breaking func(*rack)) (decided bool, paused int64) {
	r := startRack(t, boards, withShop(t, linearStock, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	blank := r.boards[0].get(berryOrder).body
	h := orderstest.NewHistory(linearStock)
	stop := make(chan struct{})
	var people sync.WaitGroup
	var told atomic.Int64
	for client := range 2 * orderstest.People {
		people.Go(func() { placeAndCancel(t, r, h, client, blank, stop, &told) })
	}
	breaking(r)
	close(stop)
	people.Wait()
	decided = h.Judge(t, "orders")
	for _, b := range r.boards {
		b.waitReady()
	}
	if sale := r.boards[0].sale(); sale.Sold+sale.Held+sale.Free != linearStock || sale.Free < 0 {
		t.Errorf("sold %d, held %d, free %d of %d", sale.Sold, sale.Held, sale.Free, linearStock)
	}
	return decided, told.Load()
}

// placeAndCancel is one browser window of a person, until stop is closed. told counts how
// often it is told that orders are paused.
func placeAndCancel(t *testing.T, r *rack, h *orderstest.History, client int, blank string, stop <-chan struct{}, told *atomic.Int64) {
	person := client % orderstest.People
	b := newBuyer(fmt.Sprintf("person%d", person))
	// Longer than a board is paused, and than a busy machine needs for an answer: a
	// timeout leaves the result uncertain, which is hard to judge.
	b.http.Timeout = 10 * time.Second
	form := b.fillForm(blank) // the same until its order is cancelled: a press after a lost reply is the same order
	reply := func(how buyerReply, seen page) orderstest.Reply {
		switch how {
		case placed:
			return orderstest.Done
		case known:
			return orderstest.HasOrder
		case soldOut:
			return orderstest.SoldOut
		case refused:
			told.Add(1)
			return orderstest.NotDone
		case notPlaced:
			return orderstest.NotDone
		case unexpected:
			t.Errorf("person %d got %d: %s", person, seen.status, seen.body)
		}
		return orderstest.Uncertain
	}
	receipt, orderOf := "", map[string]string{} // orderOf: the receipt by token
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rand.IntN(300)) * time.Millisecond):
		}
		board := r.boards[rand.IntN(len(r.boards))].http
		if receipt != "" && rand.IntN(3) > 0 {
			form.Set("token", newToken())
			how, _ := h.Do(client, orderstest.Action{Person: person, Cancel: receipt}, func() (orderstest.Reply, string) {
				how, seen := b.cancelOrder(board, receipt)
				return reply(how, seen), ""
			})
			if how == orderstest.Done {
				receipt = ""
			}
			continue
		}
		how, path := h.Do(client, orderstest.Action{Person: person, Order: orderOf[form.Get("token")]}, func() (orderstest.Reply, string) {
			how, path, seen := b.submitForm(board, form)
			return reply(how, seen), path
		})
		if how == orderstest.Done {
			receipt, orderOf[form.Get("token")] = path, path
		}
	}
}

// breakBoards repeatedly kills and restarts a board while another is paused.
// Two of five are away at a time, often the leader.
func breakBoards(r *rack, d time.Duration) {
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		at := rand.Perm(len(r.boards))
		killed, paused := r.boards[at[0]], r.boards[at[1]]
		if rand.IntN(2) == 0 {
			killed = r.leader()
			if paused == killed {
				paused = r.boards[at[0]]
			}
		}
		paused.signal(syscall.SIGSTOP)
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
		killed.kill()
		time.Sleep(time.Duration(500+rand.IntN(1500)) * time.Millisecond)
		paused.signal(syscall.SIGCONT)
		killed.start()
		killed.waitReady()
		time.Sleep(time.Second) // in which orders can be placed with certainty
	}
}
