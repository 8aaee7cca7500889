//go:build unix

package node_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bramble/node/orderservice"
)

var scaleRows = flag.String("scale", "", "numbers of orders for TestScale, ascending, such as 1000,10000,100000,300000")

const (
	// scaleBuyers is the number of connections that TestScale's buyers keep.
	scaleBuyers = 48
	// scalePatience limits each wait of TestScale.
	scalePatience = 15 * time.Minute
)

// TestScale prints the scale table of cluster/ledger/DESIGN.md, a row for each number of
// orders, of one rack of three that takes them one after the other:
//
//	go test ./node -run TestScale -v -timeout 2h -scale 1000,10000,100000,300000
//
// The buyers share the machine with the boards. Memory and disk are those of the largest
// board. A restart is that of a killed board, a new board one with an empty card, both until they
// are ready, which is checked with the newest receipt; the rack's is from the start of three killed boards to an order.
func TestScale(t *testing.T) {
	if *scaleRows == "" {
		t.Skip("a measurement: run it with -scale")
	}
	s := scaleRun{rack: startRack(t, 3, withShop(t, 5_000_000, "")), http: &http.Client{
		Timeout:       time.Minute,
		Transport:     &http.Transport{MaxIdleConnsPerHost: scaleBuyers},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, board := range s.rack.boards {
		board.waitOrders()
	}
	t.Log("| orders | orders/s | p99 | resident (anonymous) | log and snapshot | working copy | list | export | restart | new board | whole rack |")
	for text := range strings.SplitSeq(*scaleRows, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n <= s.orders {
			t.Fatalf("-scale: %q is no number, or not larger than the one before", text)
		}
		perSecond, p99 := s.placeUpTo(n)
		resident, anonymous := s.largestMemory()
		log, copies := s.largestDisk()
		row := []string{strconv.Itoa(n), fmt.Sprintf("%.0f", perSecond), inSeconds(p99),
			fmt.Sprintf("%d MB (%d)", resident>>20, anonymous>>20), fmt.Sprintf("%d MB", log>>20), fmt.Sprintf("%d MB", copies>>20),
			inSeconds(s.timeList()), inSeconds(s.timeExport()), inSeconds(s.timeRestart(false)), inSeconds(s.timeRestart(true)), inSeconds(s.timeRack())}
		t.Log("| " + strings.Join(row, " | ") + " |")
	}
}

// scaleRun is a rack that takes more and more orders.
type scaleRun struct {
	rack    *rack
	http    *http.Client
	orders  int
	receipt string // path of the newest
}

func inSeconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// placeUpTo places orders until there are n.
func (s *scaleRun) placeUpTo(n int) (perSecond float64, p99 time.Duration) {
	t := s.rack.t
	blank := s.rack.boards[0].get(berryOrder).body
	waits := make([]time.Duration, n-s.orders)
	next := atomic.Int64{}
	began := time.Now()
	var all sync.WaitGroup
	for range scaleBuyers {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(waits) || t.Failed() {
					return
				}
				form := (&buyer{name: fmt.Sprintf("s%d", s.orders+i)}).fillForm(blank)
				sent := time.Now()
				if err := order(s.http, s.rack.boards[i%len(s.rack.boards)].http, form); err != nil {
					t.Error(err)
				}
				waits[i] = time.Since(sent)
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	s.orders = n
	s.placeNewest(scalePatience)
	slices.Sort(waits)
	return float64(len(waits)) / took.Seconds(), waits[len(waits)*99/100]
}

// placeNewest places one more order as soon as a board takes it.
func (s *scaleRun) placeNewest(limit time.Duration) {
	t := s.rack.t
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		how, receipt, seen := newBuyer(fmt.Sprintf("newest%d", s.orders)).placeOrder(s.rack.boards[0].http)
		if how == placed {
			s.receipt = receipt
			s.orders++
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no order is taken: %s: %s", how, seen.body)
		}
	}
}

func (s *scaleRun) largestMemory() (resident, anonymous int64) {
	for _, board := range s.rack.boards {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", board.cmd.Process.Pid)) // only Linux has it
		for line := range strings.Lines(string(text)) {
			var kb int64
			if n, _ := fmt.Sscanf(line, "VmRSS: %d", &kb); n == 1 {
				resident = max(resident, kb<<10)
			}
			if n, _ := fmt.Sscanf(line, "RssAnon: %d", &kb); n == 1 {
				anonymous = max(anonymous, kb<<10)
			}
		}
	}
	return resident, anonymous
}

func (s *scaleRun) largestDisk() (log, copies int64) {
	for _, board := range s.rack.boards {
		log = max(log, diskUse(filepath.Join(board.orders(), "log")))
		copies = max(copies, diskUse(filepath.Join(board.orders(), "book")))
	}
	return log, copies
}

func diskUse(dir string) (bytes int64) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}

// timeList returns the time for the numbers of the sale and the first page of orders.
func (s *scaleRun) timeList() time.Duration {
	began := time.Now()
	var sales []orderservice.SaleJSON
	s.readShop("sales", &sales)
	if len(sales) != 1 || sales[0].Sold != int64(s.orders) {
		s.rack.t.Errorf("the sale is %+v, %d orders were placed", sales, s.orders)
	}
	var page orderservice.OrderPage
	s.readShop("orders", &page)
	return time.Since(began)
}

// timeExport returns the time for all orders.
func (s *scaleRun) timeExport() time.Duration {
	began := time.Now()
	found := 0
	for page := (orderservice.OrderPage{Next: 0}); ; {
		after := page.Next
		page = orderservice.OrderPage{}
		s.readShop(fmt.Sprintf("orders?after=%d", after), &page)
		found += len(page.Orders)
		if page.Next == 0 {
			break
		}
	}
	if found != s.orders {
		s.rack.t.Errorf("%d orders are exported, %d were placed", found, s.orders)
	}
	return time.Since(began)
}

func (s *scaleRun) readShop(path string, out any) {
	s.rack.t.Helper()
	got, err := s.rack.boards[0].callConsole(http.MethodGet, "/api/v1/shop/"+path, "")
	if err == nil {
		err = json.Unmarshal([]byte(got.body), out)
	}
	if err != nil {
		s.rack.t.Fatalf("%s: %v: %s", path, err, got.body)
	}
}

// timeRestart kills a follower, empties its card if it is to be a new board, starts it and
// returns the time until it is ready. It then answers the newest receipt.
func (s *scaleRun) timeRestart(isNew bool) time.Duration {
	t, leader := s.rack.t, s.rack.leader()
	board := s.rack.boards[0]
	if board == leader {
		board = s.rack.boards[1]
	}
	board.kill()
	if isNew {
		if err := os.RemoveAll(board.orders()); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	board.start()
	for {
		got, err := board.callConsole(http.MethodGet, "/readyz", "")
		if err == nil && got.status == http.StatusOK {
			break
		}
		if time.Since(began) > scalePatience {
			t.Fatalf("%s is not ready: %v %s", board.name, err, got.body)
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(began)
	if got := board.get(s.receipt); got.status != http.StatusOK {
		t.Errorf("%s is ready after %v, and answers the newest receipt with %d", board.name, took, got.status)
	}
	if isNew { // it must vote again before another board may be killed
		for board.metric("bramble_ledger_voters") != 3 {
			if time.Since(began) > scalePatience {
				t.Fatalf("%s does not vote", board.name)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return took
}

// timeRack kills all boards and returns the time from their start to the first order.
func (s *scaleRun) timeRack() time.Duration {
	for _, board := range s.rack.boards {
		board.kill()
	}
	began := time.Now()
	for _, board := range s.rack.boards {
		board.start()
	}
	s.placeNewest(scalePatience)
	took := time.Since(began)
	for _, board := range s.rack.boards {
		board.waitOrders()
	}
	return took
}
