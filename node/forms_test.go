//go:build unix

package node_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestAScriptOnAllBoardsGetsOneLimit: one address sends forms for 500 units to all five boards, as fast as they
// answer. The rack counts them together.
func TestAScriptOnAllBoardsGetsOneLimit(t *testing.T) {
	runBeside(t)
	const units, burst, perSecond, unasked = 500, 100, 5, 4
	r := newRack(t, 5, withShop(t, units, ""))
	r.http = "" // the default limits
	for i := range r.boards {
		r.boards[i] = r.board(i, r.key)
	}
	r.startAll()
	for _, b := range r.boards {
		b.waitOrders()
	}
	form := newBuyer("script").fillForm(r.boards[0].get(berryOrder).body)
	var took, limited atomic.Int64
	began := time.Now()
	var scripts sync.WaitGroup
	for at, b := range r.boards {
		scripts.Go(func() {
			for i := range 2 * units / len(r.boards) {
				buyer := newBuyer(fmt.Sprintf("script-%d-%d", at, i))
				filled := buyer.fillForm("")
				filled.Set("kind", form.Get("kind"))
				filled.Set("prices", form.Get("prices"))
				filled.Set("quantity", "1")
				filled.Set("agreed", "GB 1 1200")
				switch how, _, seen := buyer.submitForm(b.http, filled); {
				case how == placed:
					took.Add(1)
				case seen.status == http.StatusTooManyRequests && seen.header.Get("Retry-After") == "20" &&
					(strings.Contains(seen.body, buyer.name+"@") || strings.Contains(seen.body, "Back button")):
					limited.Add(1)
				default:
					t.Errorf("%s: %s, %d %s", b.name, how, seen.status, seen.body)
				}
			}
		})
	}
	scripts.Wait()
	seconds := int64(time.Since(began)/time.Second) + 1
	t.Logf("%d of %d units in %d s, %d forms refused", took.Load(), units, seconds, limited.Load())
	// The exact limit is in node/front/admission's test. Half more is for a busy machine: a board that gets no
	// answer in time counts alone.
	if most := 3 * (int64(burst+len(r.boards)*unasked) + perSecond*seconds) / 2; took.Load() > most || took.Load() < burst {
		t.Errorf("the script took %d units in %d s, want %d to %d", took.Load(), seconds, burst, most)
	}
	if listed := len(r.boards[0].listOrders()); listed != int(took.Load()) {
		t.Errorf("the ledger has %d orders, the script %d receipts", listed, took.Load())
	}
	counted := 0.0
	for _, b := range r.boards {
		counted += b.metric("bramble_shop_forms_limited_total")
	}
	if int64(counted) != limited.Load() {
		t.Errorf("the metric counts %v refused forms of %d", counted, limited.Load())
	}
}
