package node

import (
	"context"
	"time"

	"bramble/cache"
	"bramble/node/orders"
	"bramble/node/orderservice"
)

const (
	// tidingsPace is how often a board looks whether the order book says
	// something that pages must say too. "Sold out" is on every board within
	// a second, and nine tenths of it are for the ledger.
	tidingsPace = 100 * time.Millisecond
	// tidingsAgain is when pages are dropped once more: until then an owner
	// that is behind in the ledger may have handed out what it said before.
	tidingsAgain = 400 * time.Millisecond
)

// Tags of the shop's pages; a product's own has its name after it.
const (
	shopTag    = "shop"
	productTag = "product:"
)

// tidings drops this board's stored pages of the built-in shop when the order
// book changes what they say. Each board has the whole book and does so for
// itself, so no purge goes round.
type tidings struct {
	desk  *orderservice.Service
	cache *cache.Cache
	sales map[string]orders.SaleState
	news  orders.News
	again map[string]time.Time // tags to be dropped a second time
}

func newTidings(d *orderservice.Service, c *cache.Cache) *tidings {
	return &tidings{desk: d, cache: c, sales: map[string]orders.SaleState{}, again: map[string]time.Time{}}
}

// run looks until ctx ends.
func (t *tidings) run(ctx context.Context) {
	ticker := time.NewTicker(tidingsPace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			t.look(now)
		}
	}
}

// look drops what has changed since the last look, and what is due once more.
func (t *tidings) look(now time.Time) {
	for tag, at := range t.again {
		if !at.After(now) {
			delete(t.again, tag)
			t.cache.PurgeTag(tag)
		}
	}
	drop := func(tag string) {
		t.cache.PurgeTag(tag)
		t.again[tag] = now.Add(tidingsAgain)
	}
	for _, s := range t.desk.Sales() {
		if s.State != t.sales[s.Product] {
			t.sales[s.Product] = s.State
			drop(productTag + s.Product)
		}
	}
	latest := orders.News{}
	if all := t.desk.News(); len(all) > 0 {
		latest = all[0]
	}
	if latest != t.news {
		t.news = latest
		drop(shopTag)
	}
}
