//go:build unix

package node_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
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
	orderstest.RunJudged(t, ordersUnderKills)
}

func ordersUnderKills(t *testing.T) (decided bool) {
	r := startRack(t, 5, withShop(t, linearStock, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	blank := r.boards[0].get(berryOrder).body
	h := orderstest.NewHistory(linearStock)
	stop := make(chan struct{})
	var people sync.WaitGroup
	for client := range 2 * orderstest.People {
		people.Go(func() { placeAndCancel(t, r, h, client, blank, stop) })
	}
	breakBoards(r, *ordersFor)
	close(stop)
	people.Wait()
	decided = h.Judge(t, "orders")
	for _, b := range r.boards {
		b.waitReady()
	}
	if sale := r.boards[0].sale(); sale.Sold+sale.Held+sale.Free != linearStock || sale.Free < 0 {
		t.Errorf("sold %d, held %d, free %d of %d", sale.Sold, sale.Held, sale.Free, linearStock)
	}
	return decided
}

// placeAndCancel is one browser window of a person, until stop is closed.
func placeAndCancel(t *testing.T, r *rack, h *orderstest.History, client int, blank string, stop <-chan struct{}) {
	person := client % orderstest.People
	b := newBuyer(fmt.Sprintf("person%d", person))
	// Longer than a board is paused, and than a busy machine needs for an answer: a
	// timeout leaves the result uncertain, which is hard to judge.
	b.http.Timeout = 10 * time.Second
	form := b.fillForm(blank)
	reply := func(how buyerReply, seen page) orderstest.Reply {
		switch how {
		case placed:
			return orderstest.Done
		case soldOut:
			return orderstest.SoldOut
		case notPlaced, refused:
			return orderstest.NotDone
		case unexpected:
			t.Errorf("person %d got %d: %s", person, seen.status, seen.body)
		}
		return orderstest.Uncertain
	}
	receipt := ""
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rand.IntN(300)) * time.Millisecond):
		}
		board := r.boards[rand.IntN(len(r.boards))].http
		if receipt != "" && rand.IntN(3) > 0 {
			how, _ := h.Do(client, orderstest.Action{Person: person, Cancel: receipt}, func() (orderstest.Reply, string) {
				how, seen := b.cancelOrder(board, receipt)
				return reply(how, seen), ""
			})
			if how == orderstest.Done {
				receipt = ""
			}
			continue
		}
		how, path := h.Do(client, orderstest.Action{Person: person}, func() (orderstest.Reply, string) {
			how, path, seen := b.submitForm(board, form)
			return reply(how, seen), path
		})
		if how == orderstest.Done {
			receipt = path
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
