//go:build unix

package node_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/node/orderservice"
)

// TestReadyMeansCaughtUp restarts a board behind a rack that took orders meanwhile. From the
// first moment at which it is ready, it has the newest order and counts all of them.
func TestReadyMeansCaughtUp(t *testing.T) {
	runBeside(t)
	const many = 6000
	r := startRack(t, 3, withShop(t, many+1, ""))
	for _, board := range r.boards {
		board.waitOrders()
	}
	away := r.boards[0]
	if away == r.leader() {
		away = r.boards[1]
	}
	var others []*process
	for _, board := range r.boards {
		if board != away {
			others = append(others, board)
		}
	}
	blank := others[0].get(berryOrder).body
	away.kill()
	clients := &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer clients.CloseIdleConnections()
	var all sync.WaitGroup
	for c := range 64 {
		all.Go(func() {
			for i := c; i < many; i += 64 {
				b := &buyer{name: fmt.Sprintf("c%d", i), http: clients}
				if _, err := b.submitUntilPlaced(others[i%2].http, b.fillForm(blank)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	newest := newBuyer("newest")
	receipt := newest.mustSubmit(t, others[0].http, newest.fillForm(blank))

	away.start()
	behind := 0
	eventually(t, away.name+" to be ready", func() (bool, string) {
		got, err := away.callConsole(http.MethodGet, "/readyz", "")
		if err != nil {
			return false, err.Error()
		}
		if strings.Contains(got.body, "catching up with the order book") {
			behind++
		}
		return got.status == http.StatusOK, got.body
	})
	began := time.Now()
	got := away.get(receipt)
	if got.status != http.StatusOK {
		t.Errorf("it is ready, and answers the newest receipt with %d", got.status)
	}
	t.Logf("it answered the newest receipt after %v", time.Since(began).Round(time.Millisecond))
	listed, err := away.callConsole(http.MethodGet, "/api/v1/shop/sales?stale=1", "")
	if err != nil {
		t.Fatal(err)
	}
	var sales []orderservice.SaleJSON
	if err := json.Unmarshal([]byte(listed.body), &sales); err != nil || len(sales) != 1 || sales[0].Sold != many+1 {
		t.Errorf("it is ready, and its own copy says %s", listed.body)
	}
	if lag := away.metric("bramble_ledger_lag_entries"); lag > 10 {
		t.Errorf("it is ready and lags by %v entries", lag)
	}
	t.Logf("it said %d times that it was catching up", behind)
	if behind == 0 {
		t.Error("the restarted board was never seen catching up, so the test shows nothing: it needs more orders")
	}
	if away.metric("bramble_ledger_is_catching_up") != 0 {
		t.Error("its metrics say that it is catching up")
	}
}
