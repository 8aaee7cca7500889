//go:build unix

package node_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"bramble/node/orderservice"
)

// TestALoneSurvivorShowsItsLog: one board of three starts again without the others. Nobody tells
// it what was committed, and still its operator sees every order that its log holds, with what
// that is worth.
func TestALoneSurvivorShowsItsLog(t *testing.T) {
	runBeside(t)
	r := startRack(t, 3, withShop(t, 100, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	got := &receipts{all: map[string]string{}}
	startRush(t, r.boards, 20, got, nil).Wait()
	if len(got.all) != 20 {
		t.Fatalf("%d orders", len(got.all))
	}
	survivor := r.boards[1]
	compareOrders(t, survivor, got, 100) // it has all of them
	for _, b := range r.boards {
		b.kill()
	}
	survivor.start()
	survivor.waitReady()
	if page, err := survivor.callConsole(http.MethodGet, "/api/v1/shop/orders", ""); err != nil || page.status != http.StatusServiceUnavailable {
		t.Errorf("without --stale: %d, %v", page.status, err)
	}
	var list orderservice.OrderPage
	eventually(t, "the orders in the survivor's log", func() (bool, string) {
		page, err := survivor.callConsole(http.MethodGet, "/api/v1/shop/orders?stale=1", "")
		if err != nil {
			return false, err.Error()
		}
		return page.status == http.StatusOK && json.Unmarshal([]byte(page.body), &list) == nil, page.body
	})
	seen := map[string]bool{}
	for _, o := range list.Orders {
		seen[o.Reference] = true
	}
	for buyer, path := range got.all {
		if !seen[reference(path)] {
			t.Errorf("the order of %s is not listed", buyer)
		}
	}
	if list.Stale == nil || !list.Stale.FromLog || list.Stale.Entry == 0 || list.Stale.Unproven == 0 || list.Stale.Damage != "" {
		t.Errorf("what the list is worth: %+v", list.Stale)
	}
	page, err := survivor.callConsole(http.MethodGet, "/api/v1/shop/sales?stale=1", "")
	if err != nil || !strings.Contains(page.body, `"sold":20`) {
		t.Errorf("its sales: %d %s, %v", page.status, page.body, err)
	}
	one := list.Orders[0].Reference
	if page, err = survivor.callConsole(http.MethodGet, "/api/v1/shop/orders/"+one+"?stale=1", ""); err != nil || !strings.Contains(page.body, one) {
		t.Errorf("one order: %d %s, %v", page.status, page.body, err)
	}
	// The log is as it was: with the others back, nothing is lost or twice.
	for _, b := range r.boards {
		if b != survivor {
			b.start()
		}
	}
	compareOrders(t, survivor, got, 100)
}
