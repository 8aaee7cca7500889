package orderservice

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bramble/cluster/ledger"
	"bramble/cluster/ledger/ledgertest"
	"bramble/node/orders"
)

// The recorded ledgers in testdata/recorded were written by the program of 2026-11-29 (c4c0964),
// on a rack of one board: "log" has everything in its log, "snapshot" is the same ledger after
// a compaction, with a log after that. Every later program must read both and arrive at what
// the text files beside them say. Never record them again: record new ones beside them.

// unpackRecording unpacks a recorded ledger into a new folder.
func unpackRecording(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "recorded", name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	packed, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for r := tar.NewReader(packed); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err == nil {
			err = os.WriteFile(path, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// summarizeBook describes a book: each sale's numbers, each order, and the digest.
func summarizeBook(t *testing.T, b *orders.Book) string {
	t.Helper()
	var w strings.Builder
	for _, s := range b.Sales() {
		if s.Product[0] == 'x' && s.Stock == 1 { // one of the many that fill the book
			continue
		}
		fmt.Fprintf(&w, "sale %s: %v %v, stock %d = sold %d + held %d + free %d; waiting %d, interested %d, entries %d, won %d; %s to %s; version %d\n",
			s.Product, s.Mode, s.State, s.Stock, s.Sold, s.Held, s.Free, s.Waiting, s.Interested, s.Entries, s.Draw.Winners,
			s.Opens.Format(time.RFC3339), s.Closes.Format(time.RFC3339), s.Version)
		if f, err := b.Draw(s.Product); err == nil {
			fmt.Fprintf(&w, "draw %s: winners %v\n", s.Product, f.Winners)
		}
	}
	fmt.Fprintf(&w, "%d sales\n", len(b.Sales()))
	for after := uint64(0); ; {
		page, next, err := b.Orders(orders.Filter{}, after, orders.MaxPage)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page {
			fmt.Fprintf(&w, "order %d %v: %s %v %v (%v), %d for %d %s, person %t, changed %s, note %q\n", o.Number, o.ID, o.Product,
				o.Kind, o.State, o.Was, o.Quantity, o.Total, o.Currency, o.Person != orders.Person{}, o.Changed.Format(time.RFC3339), o.Note)
		}
		if after = next; next == 0 {
			break
		}
	}
	trail, err := b.Audit(0, orders.MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []orders.Queue{orders.QueueWebhook, orders.QueueMail} {
		jobs, err := b.Outbox(q, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), orders.Job{}, orders.MaxPage)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			fmt.Fprintf(&w, "job %v of %v\n", j.Kind, j.Order.ID)
		}
	}
	fmt.Fprintf(&w, "%d audit entries, %d announcements, %d erasures, digest %016x\n", len(trail), len(b.News()), b.Erasures(), b.Digest())
	return w.String()
}

func openRecordedBook(t *testing.T) *orders.Book {
	t.Helper()
	book, err := orders.Open(filepath.Join(t.TempDir(), "book"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { book.Close() })
	return book
}

func checkRecordedBook(t *testing.T, name string, book *orders.Book) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", "recorded", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got := summarizeBook(t, book); got != string(want) {
		t.Errorf("the recorded ledger %s gives another book than the program that wrote it: a command's meaning has changed. "+
			"Give the change a new rules version (node/orders/rules.go)\ngot:\n%s\nwant:\n%s", name, got, want)
	}
	if err := recountBook(t, book); err != nil {
		t.Error(err)
	}
}

// TestRecordedLedgersReplay reads the recorded ledgers as `bramble orders --card` does.
func TestRecordedLedgersReplay(t *testing.T) {
	for _, name := range []string{"log", "snapshot"} {
		t.Run(name, func(t *testing.T) {
			book := openRecordedBook(t)
			found, err := ledger.ReadDir(unpackRecording(t, name), OrderStateMachine{Book: book})
			if err != nil || found.Damage != "" {
				t.Fatalf("damage %q, error %v", found.Damage, err)
			}
			checkRecordedBook(t, name, book)
		})
	}
}

// TestABoardStartsFromARecordedLedger runs a board on a copy: it leads, and takes an order.
func TestABoardStartsFromARecordedLedger(t *testing.T) {
	for _, name := range []string{"log", "snapshot"} {
		t.Run(name, func(t *testing.T) {
			book := openRecordedBook(t)
			l, stop := runLoneBoard(t, unpackRecording(t, name), book, clockAfterRecording())
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			for (l.Barrier(ctx) != nil || l.Status().CatchingUp) && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			checkRecordedBook(t, name, book)
			s := New(Config{Ledger: l, Book: book, Keys: [][]byte{[]byte("key")}, Logger: slog.New(slog.DiscardHandler), Clock: time.Now})
			o := testOrder(987654)
			o.Product, o.Total = "tea", 1200
			if answer, err := s.PlaceOrder(ctx, o); err != nil || answer.Outcome != orders.Placed {
				t.Errorf("a new order: %v, %v", answer.Outcome, err)
			}
			stop()
		})
	}
}

// clockAfterRecording returns a board's clock that runs a month after the recorded ledgers ended.
func clockAfterRecording() func() time.Time {
	started := time.Now()
	return func() time.Time { return time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC).Add(time.Since(started)) }
}

// runLoneBoard runs the ledger of a rack of one board; stop ends it.
func runLoneBoard(t *testing.T, dir string, book *orders.Book, clock func() time.Time) (l *ledger.Ledger, stop func()) {
	t.Helper()
	network := ledgertest.New()
	l, err := ledger.Open(ledger.Config{
		Name: "recorder", Dir: dir, Boards: 1, StateMachine: OrderStateMachine{Book: book}, Transport: network.TransportOf("recorder"),
		Live: func() []string { return network.Boards("recorder") }, Timing: quick(), Clock: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	network.Join("recorder", l)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return l, stop
}
