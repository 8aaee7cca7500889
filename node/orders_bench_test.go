//go:build unix

package node_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkOrders has 192 buyers at a time send the order form to the boards of
// a rack of three whose every disk sync takes 20 ms longer, as on an SD card:
//
//	go test ./node -run '^$' -bench Orders -benchtime 20000x
//
// It reports acknowledged orders a second, how long a buyer waits, and the CPU
// time of all boards together for one order. The buyers share the machine.
func BenchmarkOrders(b *testing.B) {
	const buyers = 192
	b.Setenv(slowCardEnv, "20ms")
	r := startRack(b, 3, withShop(b, 5_000_000, ""))
	for _, board := range r.boards {
		board.waitOrders()
	}
	blank := r.boards[0].get(berryOrder).body
	clients := &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{MaxIdleConnsPerHost: buyers},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer clients.CloseIdleConnections()
	var next, failed atomic.Int64
	waits := make([]time.Duration, b.N)
	before := r.cpu()
	b.ResetTimer()
	var all sync.WaitGroup
	for range buyers {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				began := time.Now()
				if err := order(clients, r.boards[i%len(r.boards)].http, (&buyer{name: fmt.Sprintf("b%d", i)}).fillForm(blank)); err != nil {
					failed.Add(1)
					b.Log(err)
				}
				waits[i] = time.Since(began)
			}
		})
	}
	all.Wait()
	b.StopTimer()
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d of %d orders were not taken", n, b.N)
	}
	slices.Sort(waits)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
	b.ReportMetric(float64(waits[b.N/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(waits[b.N*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64((r.cpu()-before).Microseconds())/float64(b.N), "board-CPU-µs/order")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLeaderKilled kills the board that leads the ledger of an idle rack of
// three, and measures until an order is taken again at another board:
//
//	go test ./node -run '^$' -bench LeaderKilled -benchtime 8x
func BenchmarkLeaderKilled(b *testing.B) {
	r := startRack(b, 3, withShop(b, 5_000_000, ""))
	for _, board := range r.boards {
		board.waitOrders()
	}
	blank := r.boards[0].get(berryOrder).body
	var total, longest time.Duration
	for i := range b.N {
		leader := r.leader()
		at := slices.Index(r.boards, leader)
		other := r.boards[(at+1)%len(r.boards)]
		leader.kill()
		began := time.Now()
		buyer := newBuyer(fmt.Sprintf("k%d", i))
		for {
			if how, _, _ := buyer.submitForm(other.http, buyer.fillForm(blank)); how == placed {
				break
			}
			if time.Since(began) > patience {
				b.Fatalf("no order is taken %v after the leader was killed", patience)
			}
		}
		took := time.Since(began)
		total, longest = total+took, max(longest, took)
		leader.start()
		leader.waitReady()
	}
	b.ReportMetric(float64(total.Milliseconds())/float64(b.N), "mean-ms")
	b.ReportMetric(float64(longest.Milliseconds()), "longest-ms")
	b.ReportMetric(0, "ns/op")
}

func order(c *http.Client, board string, form url.Values) error {
	r, err := http.NewRequest(http.MethodPost, board+berryPlace, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := send(c, r)
	if err == nil && got.status != http.StatusSeeOther {
		err = fmt.Errorf("status %d: %s", got.status, got.body)
	}
	return err
}

// cpu returns the CPU time of all boards so far, user and system; 0 if
// there is no /proc.
func (r *rack) cpu() time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	var total time.Duration
	for _, p := range r.boards {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			return 0
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, f := range fields[11:13] { // utime and stime, proc(5)
			n, err := strconv.Atoi(f)
			if err != nil {
				return 0
			}
			total += time.Duration(n) * tick
		}
	}
	return total
}
