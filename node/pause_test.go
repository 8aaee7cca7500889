//go:build unix

package node_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bramble/node/console"
	"bramble/node/shop"
)

// pausePages are the pages with a sale's state.
var pausePages = []string{"/", berryPage, berryOrder, berryOrder + "?country=GB", "/status", "/status.json"}

// awaitPages polls all pages of a board, plainly and conditionally, until they show that
// orders are paused, or that they are accepted.
func awaitPages(t *testing.T, b *process, paused bool, tags map[string]string) (took time.Duration) {
	t.Helper()
	began := time.Now()
	for _, path := range pausePages {
		good := func(p page) bool {
			if path == "/status.json" {
				var st shop.Status
				return json.Unmarshal([]byte(p.body), &st) == nil && st.TakesOrders != paused && (st.Reason != nil) == paused && (st.Products[0].Form == nil) == paused
			}
			form := strings.Contains(p.body, `action="`+berryPlace+`"`)
			return strings.Contains(p.body, "Orders are paused") == paused && strings.Contains(p.body, "In stock") != paused &&
				form == (!paused && strings.HasPrefix(path, berryOrder))
		}
		eventually(t, fmt.Sprintf("%s%s to show that orders are paused: %t", b.name, path, paused), func() (bool, string) {
			r, err := http.NewRequest(http.MethodGet, b.http+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("If-None-Match", tags[path])
			got, err := send(client(), r)
			if err != nil {
				return false, err.Error()
			}
			return got.status == http.StatusOK && good(got), fmt.Sprint(got.status, got.header, got.body)
		})
		// Once changed it stays changed, from memory too.
		for range 3 {
			got := b.get(path)
			if !good(got) {
				t.Errorf("%s%s shows the other state again (%s): %s", b.name, path, got.header.Get("Cache-Status"), got.body)
			}
			tags[path] = got.header.Get("ETag")
		}
	}
	return time.Since(began)
}

// TestPagesFollowTheMajority: two of three boards hang; the third one's pages say so within
// seconds on every path, offer no form, and answer one at once; receipts stay; and everything
// comes back with the majority.
func TestPagesFollowTheMajority(t *testing.T) {
	runBeside(t)
	r := startRack(t, 3, withShop(t, 10, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	survivor := r.boards[slices.Index(r.boards, r.leader())]
	buyer := newBuyer("before")
	receipt := survivor.mustOrder(buyer.name, "berry")
	late := newBuyer("late")
	form := late.fillForm(survivor.get(berryOrder).body)
	tags := map[string]string{}
	for _, path := range pausePages {
		tags[path] = survivor.get(path).header.Get("ETag")
	}
	for _, b := range r.boards {
		if b != survivor {
			b.signal(syscall.SIGSTOP)
		}
	}
	lost := time.Now()
	awaitPages(t, survivor, true, tags)
	t.Logf("all pages showed it %v after the majority was lost", time.Since(lost).Round(100*time.Millisecond))
	began := time.Now()
	how, _, seen := late.submitForm(survivor.http, form)
	if took := time.Since(began); how != refused || seen.header.Get("Retry-After") == "" {
		t.Errorf("a form: %s after %v, %d %v %s", how, took, seen.status, seen.header, seen.body)
	} else {
		t.Logf("a form was answered after %v", took.Round(time.Millisecond))
	}
	again := url.Values{}
	for _, field := range hidden.FindAllStringSubmatch(seen.body, -1) {
		again.Set(field[1], field[2])
	}
	if page := survivor.get(receipt); page.status != http.StatusOK || !strings.Contains(page.body, "may be out of date") || strings.Contains(page.body, "/cancel") {
		t.Errorf("the receipt: %d %s", page.status, page.body)
	}
	if how, seen := buyer.cancelOrder(survivor.http, receipt); how != refused {
		t.Errorf("a cancellation: %s, %d %s", how, seen.status, seen.body)
	}
	survivor.waitFor("the fault and the notice", func(s console.RackView) bool {
		fault := slices.ContainsFunc(s.Boards, func(b console.BoardView) bool {
			return b.Name == survivor.name && slices.Contains(b.Faults, "no-majority")
		})
		return fault && strings.Contains(strings.Join(s.Notices, " "), "Orders are paused")
	})
	for _, b := range r.boards {
		if b != survivor {
			b.signal(syscall.SIGCONT)
		}
	}
	back := time.Now()
	awaitPages(t, survivor, false, tags)
	for _, b := range r.boards {
		awaitPages(t, b, false, map[string]string{})
	}
	t.Logf("all pages of all boards offered the form %v after the majority was back", time.Since(back).Round(100*time.Millisecond))
	// The button of the page that the buyer left open.
	late.mustSubmit(t, survivor.http, again)
}

// TestABoardWithoutABookSpoilsNoPage: pages of a board whose card fails say so to its own
// clients and to nobody else's, though it owns its share of the ring; it calls no receipt
// wrong.
func TestABoardWithoutABookSpoilsNoPage(t *testing.T) {
	runBeside(t)
	r := startRack(t, 3, withShop(t, 5, ""))
	broken := r.boards[0]
	broken.kill()
	if err := os.RemoveAll(broken.orders()); err != nil {
		t.Fatal(err)
	}
	breakCard(t, broken)
	broken.start()
	broken.waitReady()
	for _, b := range r.boards[1:] {
		b.waitOrders()
		awaitPages(t, b, false, map[string]string{})
	}
	receipt := r.boards[1].mustOrder("ada", "berry")
	for _, path := range []string{berryPage, berryOrder} {
		eventually(t, "the board without a book to know that the others accept orders", func() (bool, string) {
			page := broken.get(path)
			if page.status != http.StatusOK || strings.Contains(page.body, "In stock") {
				t.Fatalf("%s of the board without a book: %d %s", path, page.status, page.body)
			}
			return strings.Contains(page.body, "No orders on this server now"), page.body
		})
	}
	if page := broken.get(receipt); page.status != http.StatusServiceUnavailable || !strings.Contains(page.body, "Its other servers do") {
		t.Errorf("the receipt there: %d %s", page.status, page.body)
	}
}
