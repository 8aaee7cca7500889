package orderservice

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
)

var (
	restartOrders = flag.Int("restart-orders", 3000, "orders of TestRestart's book")
	restartTail   = flag.Int("restart-tail", 1000, "orders of TestRestart that are in the log only, and replayed")
	restartDir    = flag.String("restart-dir", "", "keep TestRestart's ledger in this directory, or use the one that is there")
)

// aloneTransport reaches no other board.
type aloneTransport struct{}

func (aloneTransport) Stream(context.Context, string) (net.Conn, error) {
	return nil, ledger.ErrNotSent
}

func (aloneTransport) Call(context.Context, string, string, []byte) ([]byte, error) {
	return nil, ledger.ErrNotSent
}

// runAlone runs the ledger and the order book of a rack of one board.
func runAlone(t *testing.T, dir string, use func(l *ledger.Ledger, book *orders.Book)) {
	t.Helper()
	began := time.Now()
	book, err := orders.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	timing := ledger.DefaultTiming()
	timing.FoundingWait = 100 * time.Millisecond
	timing.SnapshotCheck = time.Hour
	l, err := ledger.Open(ledger.Config{
		Name: "alone", Dir: dir, Boards: 1, StateMachine: OrderStateMachine{Book: book},
		Transport: aloneTransport{}, Live: func() []string { return []string{"alone"} }, Timing: timing,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("files checked after %v", time.Since(began).Round(time.Millisecond))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	use(l, book)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// submitOrders places the orders from number from to number to, as many boards at once do.
func submitOrders(t *testing.T, l *ledger.Ledger, from, to int) {
	t.Helper()
	var next atomic.Int64
	next.Store(int64(from))
	var all sync.WaitGroup
	for range 512 {
		all.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= to {
					return
				}
				reply, _, err := l.Submit(t.Context(), testOrder(n).Encode())
				for errors.Is(err, ledger.ErrBusy) || errors.Is(err, ledger.ErrNoMajority) {
					reply, _, err = l.Submit(t.Context(), testOrder(n).Encode())
				}
				if err != nil {
					t.Error(err)
					return
				}
				if a, err := orders.DecodeAnswer(reply); err != nil || a.Outcome != orders.Placed {
					t.Errorf("order %d: %v, %v", n, a.Outcome, err)
				}
			}
		})
	}
	all.Wait()
}

// TestRestart measures the start of a board after a power cut: until it has applied
// everything that was acknowledged.
//
//	go test ./node/orderservice -run TestRestart -v -restart-orders 300000 -restart-tail 15000 -timeout 30m
func TestRestart(t *testing.T) {
	dir := *restartDir
	if dir == "" {
		dir = t.TempDir()
	}
	if _, err := os.Stat(filepath.Join(dir, "now")); err != nil {
		runAlone(t, dir, func(l *ledger.Ledger, _ *orders.Book) {
			offer := berry()
			offer.Stock, offer.LimitByAddress, offer.Mail = orders.MaxStock, true, true
			for {
				if _, _, err := l.Submit(t.Context(), offer.Encode()); err == nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			began := time.Now()
			submitOrders(t, l, 1, *restartOrders-*restartTail+1)
			if err := l.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			submitOrders(t, l, *restartOrders-*restartTail+1, *restartOrders+1)
			t.Logf("%d orders in %v", *restartOrders, time.Since(began).Round(time.Millisecond))
		})
	}
	if t.Failed() {
		return
	}
	began := time.Now()
	runAlone(t, dir, func(l *ledger.Ledger, book *orders.Book) {
		for l.Status().Applied == 0 {
			time.Sleep(time.Millisecond)
		}
		t.Logf("snapshot restored after %v", time.Since(began).Round(time.Millisecond))
		for l.Barrier(t.Context()) != nil {
			time.Sleep(time.Millisecond)
		}
		t.Logf("caught up after %v", time.Since(began).Round(time.Millisecond))
		if sale, _ := book.Sale("berry"); sale.Sold != int64(*restartOrders) {
			t.Errorf("%d orders are there, %d were placed", sale.Sold, *restartOrders)
		}
	})
}
