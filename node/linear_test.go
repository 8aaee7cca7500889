//go:build unix

package node_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

var ordersFor = flag.Duration("orders", 12*time.Second, "how long TestOrdersAreLinearizable breaks boards")

const (
	linearPeople = 6 // few, so that they meet themselves
	linearStock  = 3 // near zero, so that overselling would show
)

// press is one thing that a person does with the shop.
type press struct {
	person  int
	receipt string // to be cancelled; "" = an order is placed
}

// seen is what the person is told.
type seen struct {
	how     outcome
	receipt string
}

// shelf is the whole order book as these people see it: who has which receipt.
// maybe stands for one that nobody was shown.
type shelf [linearPeople]string

const maybe = "?"

func (s shelf) left() int {
	left := linearStock
	for _, r := range s {
		if r != "" {
			left--
		}
	}
	return left
}

// with is the shelf after a person has, or has no longer, a receipt.
func (s shelf) with(person int, receipt string) shelf {
	s[person] = receipt
	return s
}

// orderBook says what a correct order book may answer.
func orderBook() porcupine.Model {
	one := func(s shelf) []any { return []any{s} }
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{shelf{}} },
		Step: func(state, input, output any) []any {
			s, in, out := state.(shelf), input.(press), output.(seen)
			has := s[in.person]
			if in.receipt != "" { // cancel
				its := has == in.receipt || has == maybe
				switch {
				case out.how == unsure && its, out.how == taken && has == maybe:
					return []any{s, s.with(in.person, "")}
				case out.how == taken && its:
					return one(s.with(in.person, ""))
				}
				return one(s) // cancelled before
			}
			switch out.how {
			case taken:
				switch {
				case has == out.receipt:
					return one(s)
				case has == maybe || has == "" && s.left() > 0:
					return one(s.with(in.person, out.receipt))
				}
				return nil
			case soldOut:
				if has == "" && s.left() <= 0 {
					return one(s)
				}
				return nil
			}
			if has == "" && s.left() > 0 { // not sure
				return []any{s, s.with(in.person, maybe)}
			}
			return one(s)
		},
		DescribeOperation: func(input, output any) string {
			in, out := input.(press), output.(seen)
			if in.receipt != "" {
				return fmt.Sprintf("person %d cancels %s: %s", in.person, in.receipt, out.how)
			}
			return fmt.Sprintf("person %d orders: %s %s", in.person, out.how, out.receipt)
		},
	}
	return model.ToModel()
}

// history is what happened, by the test's own clock.
type history struct {
	mu    sync.Mutex // guards what follows
	began time.Time
	done  []porcupine.Operation
	count map[outcome]int
}

// note records a press. One whose outcome is not known may take effect at any
// later time; one that was surely not taken did nothing.
func (h *history) note(client int, call time.Duration, in press, out seen) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count[out.how]++
	if out.how == sure {
		return
	}
	end := int64(time.Since(h.began))
	if out.how == unsure {
		end = math.MaxInt64
	}
	h.done = append(h.done, porcupine.Operation{ClientId: client, Input: in, Call: int64(call), Output: out, Return: end})
}

// TestOrdersAreLinearizable: people order and cancel on all boards, each person
// in two windows at once, while boards are killed and paused. What they are told
// must be what one order book in one place could have told them.
func TestOrdersAreLinearizable(t *testing.T) {
	r := startRack(t, 5, withShop(t, linearStock, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	blank := r.boards[0].get(berryOrder).body
	h := &history{began: time.Now(), count: map[outcome]int{}}
	stop := make(chan struct{})
	var people sync.WaitGroup
	for client := range 2 * linearPeople {
		people.Go(func() { h.live(t, r, client, blank, stop) })
	}
	breakBoards(r, *ordersFor)
	close(stop)
	people.Wait()
	t.Logf("%d presses: %v", len(h.done), h.count)
	if h.count[taken] == 0 || h.count[soldOut] == 0 {
		t.Fatal("nothing happened that could tell anything")
	}
	result, info := porcupine.CheckOperationsVerbose(orderBook(), h.done, 2*time.Minute)
	switch result {
	case porcupine.Illegal:
		path := filepath.Join(os.TempDir(), fmt.Sprintf("bramble-orders-%d.html", time.Now().Unix()))
		if err := porcupine.VisualizePath(orderBook(), info, path); err == nil {
			t.Logf("see %s", path)
		}
		t.Error("no one order book could have answered so")
	case porcupine.Unknown:
		t.Log("the history is too long to be checked whole; only the counts were")
	}
	for _, b := range r.boards {
		b.waitReady()
	}
	if sale := r.boards[0].sale(); sale.Sold+sale.Held+sale.Free != linearStock || sale.Free < 0 {
		t.Errorf("sold %d, held %d, free %d of %d", sale.Sold, sale.Held, sale.Free, linearStock)
	}
}

// live is one window of a person, until stop is closed.
func (h *history) live(t *testing.T, r *rack, client int, blank string, stop <-chan struct{}) {
	person := client % linearPeople
	b := newBuyer(fmt.Sprintf("person%d", person))
	b.http.Timeout = 4 * time.Second
	form := b.fill(blank)
	receipt := ""
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rand.IntN(300)) * time.Millisecond):
		}
		board := r.boards[rand.IntN(len(r.boards))].http
		call := time.Since(h.began)
		if receipt != "" && rand.IntN(3) > 0 {
			how, page := b.cancel(board, receipt)
			if how == odd {
				t.Errorf("cancelling gave %d: %s", page.status, page.body)
			}
			h.note(client, call, press{person, receipt}, seen{how: how})
			if how == taken {
				receipt = ""
			}
			continue
		}
		how, path, page := b.send(board, form)
		if how == odd {
			t.Errorf("ordering gave %d: %s", page.status, page.body)
		}
		h.note(client, call, press{person, ""}, seen{how, path})
		if how == taken {
			receipt = path
		}
	}
}

// breakBoards kills a board and brings it back, or pauses one, again and again.
// Two of five may be away at a time, and at most one of them by a kill.
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
		time.Sleep(time.Second) // in which something can be taken for certain
	}
}
