package orderservice

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/orders"
)

var (
	restartOrders     = flag.Int("restart-orders", 3000, "orders of TestRestart's book")
	restartTail       = flag.Int("restart-tail", 1000, "orders of TestRestart that are in the log only, and replayed")
	restartAlone      = flag.Bool("restart-alone", false, "each of these is alone in its entry, as in a quiet shop: the slowest to apply again")
	countInstructions = flag.Bool("instructions", false, "count the ARM instructions of a restart")
	restartDir        = flag.String("restart-dir", "", "keep TestRestart's ledger in this directory, or use the one that is there")
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
func runAlone(t *testing.T, dir string, batchWait time.Duration, use func(l *ledger.Ledger, book *orders.Book)) {
	t.Helper()
	began := time.Now()
	book, err := orders.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	timing := ledger.DefaultTiming()
	timing.FoundingWait = 100 * time.Millisecond
	timing.SnapshotCheck, timing.BatchWait = time.Hour, batchWait
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

// awaitCaughtUp waits until the board has applied everything that was acknowledged.
func awaitCaughtUp(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	for l.Barrier(t.Context()) != nil {
		if t.Context().Err() != nil {
			t.Fatal("it does not catch up")
		}
		time.Sleep(time.Millisecond)
	}
}

// submitOrders has clients place the orders from number from to before number to.
func submitOrders(t *testing.T, l *ledger.Ledger, clients, from, to int) {
	t.Helper()
	var next atomic.Int64
	next.Store(int64(from))
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= to {
					return
				}
				reply, _, err := l.Submit(t.Context(), orders.Encode(testOrder(n)))
				for errors.Is(err, ledger.ErrBusy) || errors.Is(err, ledger.ErrNoMajority) {
					reply, _, err = l.Submit(t.Context(), orders.Encode(testOrder(n)))
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

// usualBatchWait is DefaultTiming's; aloneBatchWait is too short for two orders to share an entry.
const (
	usualBatchWait = 5 * time.Millisecond
	aloneBatchWait = time.Nanosecond
)

// buildLedger makes the directory of a board that lost power: its last snapshot and a log of
// restartTail orders after that.
func buildLedger(t *testing.T, dir string) {
	t.Helper()
	snapshotted := *restartOrders - *restartTail
	runAlone(t, dir, usualBatchWait, func(l *ledger.Ledger, _ *orders.Book) {
		offer := berry()
		offer.Stock, offer.LimitByAddress, offer.Mail = orders.MaxStock, true, true
		for {
			if _, _, err := l.Submit(t.Context(), orders.Encode(offer)); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		submitOrders(t, l, 512, 1, snapshotted+1)
		if err := l.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	wait, clients := usualBatchWait, 512
	if *restartAlone {
		wait, clients = aloneBatchWait, 1
	}
	runAlone(t, dir, wait, func(l *ledger.Ledger, _ *orders.Book) {
		awaitCaughtUp(t, l)
		submitOrders(t, l, clients, snapshotted+1, *restartOrders+1)
	})
}

// TestRestart measures the start of a board after a power cut: until it has applied
// everything that was acknowledged. The largest tail that a rack leaves is that at which a
// snapshot is due, and what comes while it is written.
//
//	go test ./node/orderservice -run 'TestRestart$' -v -restart-orders 300000 -restart-tail 17000 -timeout 30m
func TestRestart(t *testing.T) {
	dir := *restartDir
	if dir == "" {
		dir = t.TempDir()
	}
	if _, err := os.Stat(filepath.Join(dir, "now")); err != nil {
		buildLedger(t, dir)
	}
	if t.Failed() {
		return
	}
	began := time.Now()
	runAlone(t, dir, usualBatchWait, func(l *ledger.Ledger, book *orders.Book) {
		for l.Status().Applied == 0 {
			time.Sleep(time.Millisecond)
		}
		t.Logf("snapshot restored after %v", time.Since(began).Round(time.Millisecond))
		awaitCaughtUp(t, l)
		t.Logf("caught up after %v, with %d commands applied again", time.Since(began).Round(time.Millisecond), l.Status().LogCommands)
		if sale, _ := book.Sale("berry"); sale.Sold != int64(*restartOrders) {
			t.Errorf("%d orders are there, %d were placed", sale.Sold, *restartOrders)
		}
	})
}

// TestInstructionsOfARestart counts the user-mode instructions of the same start on an
// original board's processor, from the start of the process to its end:
//
//	go test ./node/orderservice -run InstructionsOfARestart -v -instructions -restart-orders 300000 -restart-tail 17000 -timeout 30m
//
// -restart-alone has each order of the tail in an entry of its own, the most expensive ones.
func TestInstructionsOfARestart(t *testing.T) {
	if !*countInstructions {
		t.Skip("a measurement: run it with -instructions, gcc and QEMU's qemu-user")
	}
	dir, tools := t.TempDir(), t.TempDir()
	buildLedger(t, dir)
	runTool := func(env []string, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	plugin, program, count := filepath.Join(tools, "insns.so"), filepath.Join(tools, "restart"), filepath.Join(tools, "count")
	runTool(nil, "gcc", "-O2", "-shared", "-fPIC", "-o", plugin, "../front/testdata/insns.c")
	runTool([]string{"CGO_ENABLED=0", "GOARCH=arm", "GOARM=6"}, "go", "test", "-c", "-o", program, ".")
	said := runTool([]string{"INSNS=" + count, "GOMAXPROCS=1"}, "qemu-arm", "-cpu", "arm1176", "-plugin", plugin, program,
		"-test.run=^TestRestart$", "-test.v", "-test.timeout=30m", "-restart-dir="+dir, "-restart-orders="+strconv.Itoa(*restartOrders))
	counted, err := os.ReadFile(count)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s%s user-mode instructions", said, counted)
}
