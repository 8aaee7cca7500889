// Package orderstest judges what buyers were told: whether one order book, in
// one place and without faults, could have told it to them (linearizability).
// Tests of the order book under kills, pauses and partitions share it.
package orderstest

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// People is how many persons a history has: few, so that they meet themselves.
const People = 6

// Action is one thing that a person does: an order is placed, or, with an order's
// name, that one is cancelled.
type Action struct {
	Person int // 0 to People-1; each may have one order
	Cancel string
}

// Reply is what came of a press.
type Reply int

// What a person can be told. Of an order that was taken the order is named, and
// of one that was taken before, the same. A cancel is Taken also if it was done
// before. Unsure is no answer, or one that says that it is not known.
const (
	Done Reply = iota
	SoldOut
	NotDone
	Uncertain
)

// String names it for the description of a history.
func (t Reply) String() string {
	return [...]string{"taken", "sold out", "not taken", "not sure"}[t]
}

// observed is what porcupine gets as an operation's output.
type observed struct {
	reply Reply
	order string
}

// bookState is the whole order book as these people see it: who has which order.
type bookState [People]string

// judgeTimeout bounds how long a history is thought about. A thousand presses take a
// second as a rule; what takes longer are those of which nobody knows whether they
// were done, and each more doubles it.
const judgeTimeout = 45 * time.Second

// maxHistories is how many histories are made until one can be judged: on a busy
// machine people give up more often, and are left unsure.
const maxHistories = 3

// unknownOrder stands for an order that nobody was shown.
const unknownOrder = "?"

// withOrder is the shelf after a person has, or has no longer, an order.
func (s bookState) withOrder(person int, paper string) bookState {
	s[person] = paper
	return s
}

// History is what happened, by one clock. It is safe for concurrent use.
type History struct {
	stock int
	began time.Time

	mu    sync.Mutex // guards what follows
	done  []porcupine.Operation
	count map[Reply]int
}

// NewHistory is that of a sale with so many units, from now on.
func NewHistory(stock int) *History {
	return &History{stock: stock, began: time.Now(), count: map[Reply]int{}}
}

// Do has a person do something and records it. client is who did it: one
// does one thing after the other. do returns what was told, and the order.
func (h *History) Do(client int, p Action, do func() (Reply, string)) (Reply, string) {
	call := int64(time.Since(h.began))
	told, paper := do()
	end := int64(time.Since(h.began))
	if told == Uncertain {
		end = math.MaxInt64 // it may take effect at any later time
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count[told]++
	if told != NotDone { // that did nothing
		h.done = append(h.done, porcupine.Operation{ClientId: client, Input: p, Call: call, Output: observed{told, paper}, Return: end})
	}
	return told, paper
}

// Count is how often people were told something.
func (h *History) Count(t Reply) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count[t]
}

// RunJudged has histories made, each a test of its own, until one could be judged. make
// makes one and returns what Judge says of it.
func RunJudged(t *testing.T, make func(t *testing.T) (decided bool)) {
	t.Helper()
	for n := range maxHistories {
		decided := false
		t.Run(fmt.Sprintf("history %d", n+1), func(t *testing.T) { decided = make(t) })
		if decided || t.Failed() {
			return
		}
	}
	t.Errorf("none of %d histories could be judged: make them shorter", maxHistories)
}

// Judge fails a test whose history no order book could have made, or which tells
// nothing. decided is false if it could not be judged in time. name is for the file
// with the picture.
func (h *History) Judge(t testing.TB, name string) (decided bool) {
	t.Helper()
	t.Logf("taken %d times, sold out %d, not taken %d, not sure %d",
		h.Count(Done), h.Count(SoldOut), h.Count(NotDone), h.Count(Uncertain))
	if h.Count(Done) == 0 || h.Count(SoldOut) == 0 {
		t.Fatal("nothing happened that could tell anything")
	}
	picture := filepath.Join(os.TempDir(), fmt.Sprintf("bramble-%s-%d.html", name, os.Getpid()))
	ok, decided := h.Check(judgeTimeout, picture)
	switch {
	case !decided:
		t.Logf("the history cannot be judged within %v", judgeTimeout)
	case !ok:
		t.Errorf("no one order book could have answered so; see %s", picture)
	}
	return decided
}

// Check judges the history within a time. picture is the path of an HTML file
// that shows it if it is not linearizable. decided is false if the time was not
// enough.
func (h *History) Check(within time.Duration, picture string) (linearizable, decided bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	model := h.buildModel()
	result, info := porcupine.CheckOperationsVerbose(model, h.done, within)
	if result == porcupine.Illegal {
		// Without the picture the verdict is the same.
		_ = porcupine.VisualizePath(model, info, picture)
	}
	return result == porcupine.Ok, result != porcupine.Unknown
}

// buildModel says what a correct order book may answer.
func (h *History) buildModel() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{bookState{}} },
		Step: func(state, input, output any) []any {
			s, p, a := state.(bookState), input.(Action), output.(observed)
			if p.Cancel != "" {
				return afterCancel(s, p, a)
			}
			return h.afterOrder(s, p, a)
		},
		DescribeOperation: func(input, output any) string {
			p, a := input.(Action), output.(observed)
			if p.Cancel != "" {
				return fmt.Sprintf("person %d cancels %s: %v", p.Person, p.Cancel, a.reply)
			}
			return fmt.Sprintf("person %d orders: %v %s", p.Person, a.reply, a.order)
		},
	}
	return model.ToModel()
}

// unitsFree is how many units are free.
func (h *History) unitsFree(s bookState) int {
	n := h.stock
	for _, paper := range s {
		if paper != "" {
			n--
		}
	}
	return n
}

// afterOrder are the states that an order may lead to; none if the answer is wrong.
func (h *History) afterOrder(s bookState, p Action, a observed) []any {
	has, free := s[p.Person], h.unitsFree(s) > 0
	switch {
	case a.reply == Done && has == a.order:
		return []any{s}
	case a.reply == Done && (has == unknownOrder || has == "" && free):
		return []any{s.withOrder(p.Person, a.order)}
	case a.reply == SoldOut && has == "" && !free, a.reply == Uncertain && (has != "" || !free):
		return []any{s}
	case a.reply == Uncertain:
		return []any{s, s.withOrder(p.Person, unknownOrder)}
	}
	return nil
}

// afterCancel are the states that a cancel may lead to: its own order goes, another
// that the person has by now stays.
func afterCancel(s bookState, p Action, a observed) []any {
	has := s[p.Person]
	switch {
	case has == p.Cancel && a.reply == Done:
		return []any{s.withOrder(p.Person, "")}
	case has == p.Cancel || has == unknownOrder:
		return []any{s, s.withOrder(p.Person, "")}
	}
	return []any{s}
}
