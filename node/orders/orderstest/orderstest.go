// Package orderstest checks the answers that buyers got: whether a single order book
// without faults could have given them (linearizability). The tests of the
// order book under kills, pauses and partitions share it.
package orderstest

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// People is the number of people of a history: few, so that they order more than once.
const People = 6

// Action is one action of a person: place an order, or what one of the other fields says.
type Action struct {
	Person int    // 0 to People-1; each may have one order
	Order  string // the reference of the order that this form makes, "" if that is not known
	Cancel string // the reference of an order to cancel
	Read   string // the reference of an order whose receipt is read
	Sale   bool   // the sale's numbers are read; the person does not matter
	Stock  int    // units that an operator adds, or takes away; the person does not matter
}

// Reply is the answer that a person got.
type Reply int

// The replies. A placed order comes with its reference, and one that was placed before with
// the same. A form whose order exists has it as its reply, also once it is cancelled, and places no second
// one. Under rules 1 and 2, an open order of another form is a reply too. A cancel is Done also if it was
// done before. A receipt that was read comes with ReceiptOpen or another of these texts, and a sale with
// SaleText. A change of the stock is SoldOut if fewer units are free than it would take away.
// Uncertain means no answer, or the answer that the outcome is not known.
const (
	Done Reply = iota
	SoldOut
	HasOrder // of the other window: a buyer is not told which
	NotDone
	Uncertain
)

// What a receipt shows. No reply that has a reference leads to ReceiptMissing.
const (
	ReceiptOpen      = "open"
	ReceiptCancelled = "cancelled"
	ReceiptMissing   = "missing"
)

// SaleText is what a sale shows.
func SaleText(sold, stock int) string { return fmt.Sprintf("%d of %d sold", sold, stock) }

// String names the reply for the description of a history.
func (r Reply) String() string {
	return [...]string{"done", "sold out", "has an order", "not done", "uncertain"}[r]
}

// observed is the output of an operation for porcupine.
type observed struct {
	reply Reply
	order string
}

// bookState is the order book's state. It must be comparable: porcupine compares states.
type bookState struct {
	orders    [People]string // each person's open order, "" for none
	cancelled [People]string // each person's cancelled orders, each between two commas
	stock     int
}

// judgeTimeout limits the time to judge a history. A thousand actions usually take a second;
// each uncertain one doubles it.
const judgeTimeout = 45 * time.Second

// maxHistories bounds the histories that are recorded until one can be judged: on a busy
// machine more actions time out and stay uncertain.
const maxHistories = 3

// unknownOrder stands for an order whose reference nobody saw.
const unknownOrder = "?"

// withOrder returns the state with the person's order replaced; "" removes it.
func (b bookState) withOrder(person int, order string) bookState {
	b.orders[person] = order
	return b
}

// withCancelled returns the state with the person's open order cancelled. Its reference is known by then.
func (b bookState) withCancelled(person int, order string) bookState {
	b.cancelled[person] += "," + order + ","
	return b.withOrder(person, "")
}

// isCancelled reports whether the person had this order, and it is cancelled.
func (b bookState) isCancelled(person int, order string) bool {
	return order != "" && strings.Contains(b.cancelled[person], ","+order+",")
}

// unitsSold returns the number of open orders.
func (b bookState) unitsSold() int {
	n := 0
	for _, order := range b.orders {
		if order != "" {
			n++
		}
	}
	return n
}

// History records actions and replies by one clock. It is safe for concurrent use.
type History struct {
	stock int
	began time.Time

	mu    sync.Mutex // protects the rest
	done  []porcupine.Operation
	count map[Reply]int
}

// NewHistory returns the history of a sale with stock units, from now on.
func NewHistory(stock int) *History {
	return &History{stock: stock, began: time.Now(), count: map[Reply]int{}}
}

// Do runs and records an action. The actions of one client must not overlap. do returns the
// reply and the order's reference.
func (h *History) Do(client int, p Action, do func() (Reply, string)) (Reply, string) {
	call := int64(time.Since(h.began))
	reply, order := do()
	end := int64(time.Since(h.began))
	if reply == Uncertain {
		end = math.MaxInt64 // it can take effect at any later time
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count[reply]++
	if reply != NotDone { // that changed nothing
		h.done = append(h.done, porcupine.Operation{ClientId: client, Input: p, Call: call, Output: observed{reply, order}, Return: end})
	}
	return reply, order
}

// Resolve replaces the uncertain replies by what became of the actions, as far as that is known
// afterwards: an action that never happened is no part of the history. become returns
// Done, NotDone or Uncertain. order is the reference that came with the reply.
func (h *History) Resolve(become func(p Action, order string) Reply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = slices.DeleteFunc(h.done, func(o porcupine.Operation) bool {
		a := o.Output.(observed)
		return a.reply == Uncertain && become(o.Input.(Action), a.order) == NotDone
	})
	for i, o := range h.done {
		if a := o.Output.(observed); a.reply == Uncertain {
			h.done[i].Output = observed{become(o.Input.(Action), a.order), a.order}
		}
	}
}

// Count returns the number of times that a reply was given.
func (h *History) Count(t Reply) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count[t]
}

// RunJudged records histories, each in a subtest, until one can be judged. record records one
// and returns the result of Judge.
func RunJudged(t *testing.T, record func(t *testing.T) (decided bool)) {
	t.Helper()
	for n := range maxHistories {
		decided := false
		t.Run(fmt.Sprintf("history %d", n+1), func(t *testing.T) { decided = record(t) })
		if decided || t.Failed() {
			return
		}
	}
	t.Errorf("none of %d histories could be judged: make them shorter, or longer if too little happened", maxHistories)
}

// Judge fails the test if no order book could have given these replies. decided is false if the
// history does not test anything, or the time ran out. name is part of the name of the
// picture's file.
func (h *History) Judge(t testing.TB, name string) (decided bool) {
	t.Helper()
	t.Logf("done %d times, sold out %d, not done %d, uncertain %d",
		h.Count(Done), h.Count(SoldOut), h.Count(NotDone), h.Count(Uncertain))
	if h.Count(Done) == 0 || h.Count(SoldOut) == 0 {
		t.Log("too little happened to prove anything") // the machine was busy
		return false
	}
	picture := filepath.Join(os.TempDir(), fmt.Sprintf("bramble-%s-%d.html", name, os.Getpid()))
	ok, decided := h.Check(judgeTimeout, picture)
	switch {
	case !decided:
		t.Logf("the history cannot be judged within %v", judgeTimeout)
	case !ok:
		t.Errorf("no single order book could have given these replies; see %s", picture)
	}
	return decided
}

// Check judges the history within a time. picture is the path of an HTML file that shows the
// history if it is not linearizable. decided is false if the time ran out.
func (h *History) Check(within time.Duration, picture string) (linearizable, decided bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	model := h.buildModel()
	result, info := porcupine.CheckOperationsVerbose(model, h.done, within)
	if result == porcupine.Illegal {
		// The result is the same without the picture.
		_ = porcupine.VisualizePath(model, info, picture)
	}
	return result == porcupine.Ok, result != porcupine.Unknown
}

// buildModel returns the model of a correct order book for porcupine.
func (h *History) buildModel() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{bookState{stock: h.stock}} },
		Step: func(state, input, output any) []any {
			s, p, a := state.(bookState), input.(Action), output.(observed)
			switch {
			case p.Cancel != "":
				return afterCancel(s, p, a)
			case p.Read != "":
				return afterReceipt(s, p, a)
			case p.Stock != 0:
				return afterStock(s, p, a)
			case p.Sale && a.order != SaleText(s.unitsSold(), s.stock):
				return nil
			case p.Sale:
				return []any{s}
			}
			return afterOrder(s, p, a)
		},
		DescribeOperation: func(input, output any) string {
			p, a := input.(Action), output.(observed)
			switch {
			case p.Cancel != "":
				return fmt.Sprintf("person %d cancels %s: %v", p.Person, p.Cancel, a.reply)
			case p.Read != "":
				return fmt.Sprintf("person %d reads %s: %s", p.Person, p.Read, a.order)
			case p.Stock != 0:
				return fmt.Sprintf("stock %+d: %v", p.Stock, a.reply)
			case p.Sale:
				return a.order
			}
			return fmt.Sprintf("person %d orders: %v %s", p.Person, a.reply, a.order)
		},
	}
	return model.ToModel()
}

// afterOrder returns the states that an order may lead to; none if the reply is wrong.
func afterOrder(s bookState, p Action, a observed) []any {
	has, free := s.orders[p.Person], s.unitsSold() < s.stock
	isCancelled := s.isCancelled(p.Person, p.Order)
	isPlaced := isCancelled || p.Order != "" && p.Order == has // this form has its order
	makes := cmp.Or(p.Order, a.order)
	switch {
	case a.reply == Done && a.order == has, a.reply == Done && isCancelled && a.order == p.Order:
		return []any{s}
	case a.reply == Done && (isPlaced || s.isCancelled(p.Person, a.order)):
		return nil
	case a.reply == Done && (has == unknownOrder || has == "" && free && a.order == makes):
		return []any{s.withOrder(p.Person, a.order)}
	case a.reply == HasOrder && has != "" && !isPlaced, a.reply == SoldOut && !free && !isPlaced:
		return []any{s}
	case a.reply == Uncertain && (isPlaced || has != "" || !free):
		return []any{s}
	case a.reply == Uncertain:
		return []any{s, s.withOrder(p.Person, cmp.Or(p.Order, unknownOrder))}
	}
	return nil
}

// afterCancel returns the states that a cancel may lead to: that order is cancelled, another one
// that the person has by now stays.
func afterCancel(s bookState, p Action, a observed) (after []any) {
	has := s.orders[p.Person]
	if a.reply != Done || s.isCancelled(p.Person, p.Cancel) {
		after = append(after, s)
	}
	if !s.isCancelled(p.Person, p.Cancel) && (has == p.Cancel || has == unknownOrder) {
		after = append(after, s.withCancelled(p.Person, p.Cancel))
	}
	return after
}

// afterReceipt returns the state if a receipt may show this. "Cancelled" can be about an order
// from before the one that the person has by now.
func afterReceipt(s bookState, p Action, a observed) []any {
	has, isCancelled := s.orders[p.Person], s.isCancelled(p.Person, p.Read)
	switch {
	case a.order == ReceiptOpen && has == p.Read, a.order == ReceiptCancelled && isCancelled:
		return []any{s}
	case a.order == ReceiptOpen && has == unknownOrder && !isCancelled:
		return []any{s.withOrder(p.Person, p.Read)}
	}
	return nil
}

// afterStock returns the states that a change of the stock may lead to.
func afterStock(s bookState, p Action, a observed) []any {
	changed := s
	changed.stock += p.Stock
	enough := s.unitsSold() <= changed.stock
	switch {
	case a.reply == Done && enough:
		return []any{changed}
	case a.reply == SoldOut && !enough, a.reply == Uncertain && !enough:
		return []any{s}
	case a.reply == Uncertain:
		return []any{s, changed}
	}
	return nil
}
