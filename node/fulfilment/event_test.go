package fulfilment

import (
	"strings"
	"testing"
	"time"

	"bramble/node/orders"
)

// The bodies are the contract with the receivers' programs: node/shop/README.md has them.
func TestEvents(t *testing.T) {
	order := testOrder(0)
	order.Split = orders.Split{Price: 2000, Shipping: 1000, Tax: 500, Total: 3500, TaxRate: 1667}
	order.State, order.Note, order.HandedOver = orders.StateCancelled, "wrong size", true
	order.Changed = launch.Add(time.Hour)
	ref := order.ID.String()
	const tax = `"tax":{"net":3000,"amount":500,"percent":"16.67"}`
	for kind, want := range map[orders.JobKind]struct{ id, body string }{
		orders.JobCancelled: {ref + ".cancelled", `{"type":"order.cancelled","timestamp":"2012-02-29T07:00:00Z","data":{"reference":"` + ref +
			`","product":"model-b","quantity":1,"total":{"minor":3500,"currency":"USD"},` + tax +
			`,"reason":"wrong size","made":"2012-02-29T06:00:00Z","ended":"2012-02-29T07:00:00Z"}}`},
		orders.JobReturned: {ref + ".returned", `{"type":"order.returned","timestamp":"2012-02-29T07:00:00Z","data":{"reference":"` + ref +
			`","product":"model-b","quantity":1,"total":{"minor":3500,"currency":"USD"},` + tax +
			`,"reason":"wrong size","restocked":false,"made":"2012-02-29T06:00:00Z","ended":"2012-02-29T07:00:00Z"}}`},
	} {
		body, id, err := encodeEvent(order, kind)
		if err != nil || id != want.id || string(body) != want.body {
			t.Errorf("%s, %v\n%s, want\n%s", id, err, body, want.body)
		}
	}
	if body, id, err := encodeEvent(order, orders.JobWebhook); err != nil || id != ref || !strings.Contains(string(body), tax) {
		t.Errorf("%s, %v\n%s", id, err, body)
	}
}

// A fulfiller hears of a cancellation only if it may have heard of the order.
func TestCancellationIsPostedIfTheOrderWas(t *testing.T) {
	book := newFakeJobStore()
	heard, unheard := testOrder(0), testOrder(1)
	heard.State, unheard.State = orders.StateCancelled, orders.StateCancelled
	heard.HandedOver = true
	book.add(orders.QueueWebhook, orders.JobCancelled, launch, heard, unheard)
	start(t, Config{Jobs: book, Webhook: receiver(t, book, always(200))})
	eventually(t, "both are done", func() bool { return book.left(orders.QueueWebhook) == 0 })
	if book.end(heard.ID) != ByWebhook || book.end(unheard.ID) != Superseded {
		t.Errorf("%s and %s", book.end(heard.ID), book.end(unheard.ID))
	}
	calls := strings.Join(book.noted(), " ")
	if !strings.Contains(calls, "post "+heard.ID.String()+".cancelled") || strings.Contains(calls, "post "+unheard.ID.String()) || strings.Contains(calls, "begin") {
		t.Errorf("calls: %s", calls)
	}
}
