package orderservice

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// unpostedInterval is the time between two looks at the orders that are not posted.
	unpostedInterval = 5 * time.Second
	// unpostedRead limits the orders that one look reads: 0.1 s on a first Pi.
	unpostedRead = 5000
	// maxUnposted limits the orders that are remembered; beyond it the count is at least that.
	maxUnposted = 1000
)

// unpostedOrders are the orders from before the webhook that nobody has sent or posted. They are found
// in the order book, so every board knows them, whatever has restarted. The search passes over
// each order once: with the webhook on, none is placed without its post.
type unpostedOrders struct {
	mu      sync.Mutex        // guards the rest
	digest  uint64            // of the book at the last look
	after   uint64            // the number of the last order that the search has passed
	webhook int               // the sales with a webhook; more than before: the search begins again
	orders  map[uint64]string // the product of each order found, by number
}

func (s *Service) watchUnposted(ctx context.Context) {
	s.updateUnposted()
	runChecks(ctx, unpostedInterval, func(time.Time) { s.updateUnposted() })
}

// updateUnposted looks once. A book that cannot be read changes nothing.
func (s *Service) updateUnposted() {
	u := &s.unposted
	u.mu.Lock()
	defer u.mu.Unlock()
	webhook := 0
	for _, sale := range s.cfg.Book.Sales() {
		if sale.Webhook {
			webhook++
		}
	}
	digest := s.cfg.Book.Digest()
	if webhook > u.webhook {
		u.after, u.orders = 0, nil
	}
	if u.webhook = webhook; u.orders == nil {
		u.orders = map[uint64]string{}
	}
	if digest != u.digest {
		for number := range u.orders {
			if found, _, err := s.cfg.Book.Unposted(number-1, 1); err == nil && len(found) == 0 {
				delete(u.orders, number)
			}
		}
	}
	u.digest = digest
	if webhook == 0 || len(u.orders) >= maxUnposted {
		return
	}
	found, last, err := s.cfg.Book.Unposted(u.after, unpostedRead)
	if err != nil {
		return
	}
	u.after = last
	for _, o := range found {
		u.orders[o.Number] = o.Product
	}
}

// UnpostedJSON are the orders of a product from before its webhook that nobody has sent or posted.
type UnpostedJSON struct {
	Product string `json:"product"`
	Orders  int    `json:"orders"` // at most 1000
}

// Unposted lists the sales with orders from before their webhook, as of the last look.
func (s *Service) Unposted() []UnpostedJSON {
	u := &s.unposted
	u.mu.Lock()
	defer u.mu.Unlock()
	count := map[string]int{}
	for _, product := range u.orders {
		count[product]++
	}
	var list []UnpostedJSON
	for _, product := range slices.Sorted(maps.Keys(count)) {
		list = append(list, UnpostedJSON{product, count[product]})
	}
	return list
}

// Describe tells operators of the orders.
func (u UnpostedJSON) Describe() string {
	return fmt.Sprintf("The webhook of %s is new: its orders are posted from now on. Orders from before that were neither sent nor posted: %d. "+
		"Send them by hand (\"bramble orders sent\"), or post them too (\"bramble sale fulfil %s\").", u.Product, u.Orders, u.Product)
}
