package orderservice

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bramble/node/orders"
)

// findText returns the files below a folder that have a text, in whatever is allocated.
func findText(t *testing.T, dir, text string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, []byte(text)) {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Whom an operator erases is in no byte of any file of any board: the person of an order, and one whose form was
// refused. A board that was off does it when it is back, from a snapshot that others took meanwhile; and one
// that was killed before it could, from its own log.
func TestErasedPeopleAreInNoFile(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs a rack, and boards compact once a minute")
	}
	r := newHistoryRack(t, 3, 1)
	r.awaitRules(orders.MaxRules)
	place := func(n int, name string, total int64, want orders.Outcome) {
		t.Helper()
		o := testOrder(n)
		o.Person.Name, o.Person.Email, o.Total = name, name+"@buyer.example", total
		ctx, cancel := r.limit(time.Minute)
		defer cancel()
		if a, err := r.boards[0].current().service.PlaceOrder(ctx, o); err != nil || a.Outcome != want {
			t.Fatalf("%s: %+v, %v", name, a, err)
		}
	}
	erase := func(name string, want int) {
		t.Helper()
		ctx, cancel := r.limit(time.Minute)
		defer cancel()
		result, err := r.boards[0].current().service.Operate(ctx, OperatorCommand{Action: "erase", Operator: "me", OpID: NewOpID(), Email: name + "@buyer.example"})
		if err != nil || result.Count != want {
			t.Fatalf("%s: %+v, %v", name, result, err)
		}
	}
	isDone := func(board string, entry uint64) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		s := r.boards[0].current()
		if s == nil {
			return false
		}
		e := s.service.readErasure(ctx, s.ledger)
		return e.Entry >= entry && slices.ContainsFunc(e.Boards, func(b ErasureBoardJSON) bool { return b.Board == board && b.IsDone })
	}
	newest := func() uint64 { return r.boards[0].current().book.ErasedAt() }

	place(1, "Acceptedperson", 1200, orders.Placed)
	place(2, "Refusedperson", 1, orders.PriceChanged)
	place(3, "Otherperson", 1200, orders.Placed)
	r.awaitHealthy()
	for _, b := range r.boards {
		for _, name := range []string{"Acceptedperson", "Refusedperson"} {
			if len(findText(t, b.dir, name)) == 0 {
				t.Fatalf("%s is not in the files of %s: the test looks for the wrong text", name, b.name)
			}
		}
	}
	off := r.boards[2]
	r.kill(off)
	erase("Refusedperson", 0)
	erase("Acceptedperson", 1)
	entry := newest()
	for _, b := range r.boards[:2] {
		r.until(b.name+" has compacted", func() bool { return isDone(b.name, entry) })
	}
	if isDone(off.name, entry) || len(findText(t, off.dir, "Refusedperson")) == 0 {
		t.Error("a board that is off has compacted")
	}
	r.start(off)
	r.until(off.name+" has compacted", func() bool { return isDone(off.name, entry) })

	// A second erasure, and all boards are killed before they compact again, which they do once a minute.
	place(4, "Laterperson", 1, orders.PriceChanged)
	erase("Laterperson", 0)
	entry = newest()
	r.restartAll()
	for _, b := range r.boards {
		r.until(b.name+" has compacted after its start", func() bool { return isDone(b.name, entry) })
	}
	for _, b := range r.boards {
		for _, name := range []string{"Acceptedperson", "Refusedperson", "Laterperson"} {
			if files := findText(t, b.dir, name); len(files) > 0 {
				t.Errorf("%s: %s is in %s", b.name, name, strings.Join(files, ", "))
			}
		}
		if len(findText(t, b.dir, "Otherperson")) == 0 {
			t.Errorf("%s has lost an order", b.name)
		}
	}
}

// A board compacts a log that is a day old, once, and one that is younger not; wherever in the day it is.
func TestAnOldLogIsCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newTestService(t)
		s.offerCatalogue(t.Context())
		age := func(d time.Duration) { l.set(func() { l.logSince = time.Now().Add(-d) }) }
		age(maxLogAge - compactSpread - 5*minCompactInterval)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		compacted := func() (n int) {
			l.set(func() { n = l.compact })
			return n
		}
		time.Sleep(4 * minCompactInterval)
		if compacted() != 0 {
			t.Error("a young log was compacted")
		}
		age(maxLogAge)
		time.Sleep(2 * minCompactInterval)
		if compacted() != 1 {
			t.Errorf("an old log was compacted %d times", compacted())
		}
		time.Sleep(10 * minCompactInterval) // it is empty now
		if compacted() != 1 {
			t.Errorf("an empty log was compacted %d times", compacted())
		}
		l.set(func() { l.index++; l.logSince = time.Now().Add(2 * maxLogAge) }) // the clock was wrong then
		time.Sleep(2 * minCompactInterval)
		if compacted() != 2 {
			t.Errorf("a log of the future was compacted %d times", compacted()-1)
		}
		cancel()
		<-done
	})
}
