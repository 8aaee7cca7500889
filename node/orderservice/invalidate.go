package orderservice

import (
	"context"
	"time"

	"bramble/node/orders"
)

const (
	// pageCheckInterval is the interval at which a board compares its pages with the order
	// book. Every board shows "Sold out" within a second; nine tenths of that are the
	// ledger's.
	pageCheckInterval = 100 * time.Millisecond
	// secondPurgeDelay is the time to the second purge of a page: meanwhile an owner that
	// lags behind the ledger may have served the old page.
	secondPurgeDelay = 400 * time.Millisecond
)

// Cache tags of the shop's pages; a product's name follows productTag.
const (
	shopTag    = "shop"
	productTag = "product:"
)

// pageInvalidator purges this board's stored pages of the shop when the order book changes
// their content, or when orders are paused or go on. Every board has the whole book and
// purges its own pages, so no purge is sent over the rack.
type pageInvalidator struct {
	service *Service
	states  map[string]orders.SaleState // by product, as of the last purge
	news    orders.News                 // the latest announcement, as of the last purge
	pause   orders.Pause                // as of the last purge
	pending map[string]time.Time        // tags to purge a second time, and when
}

func newPageInvalidator(s *Service) *pageInvalidator {
	return &pageInvalidator{service: s, states: map[string]orders.SaleState{}, pending: map[string]time.Time{}}
}

func (p *pageInvalidator) run(ctx context.Context) { runChecks(ctx, pageCheckInterval, p.purgeChanged) }

// runChecks calls check at every interval until ctx ends.
func runChecks(ctx context.Context, interval time.Duration, check func(now time.Time)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			check(now)
		}
	}
}

// purgeChanged purges the pages that have changed since the last call, and those whose
// second purge is due.
func (p *pageInvalidator) purgeChanged(now time.Time) {
	for tag, at := range p.pending {
		if !at.After(now) {
			delete(p.pending, tag)
			p.service.cfg.PurgeTag(tag)
		}
	}
	for _, sale := range p.service.Sales() {
		if sale.State != p.states[sale.Product] {
			p.states[sale.Product] = sale.State
			p.purgeTwice(productTag+sale.Product, now)
		}
	}
	latest := orders.News{}
	if all := p.service.News(); len(all) > 0 {
		latest = all[0]
	}
	if pause := p.service.Pause(); latest != p.news || pause != p.pause {
		p.news, p.pause = latest, pause
		p.purgeTwice(shopTag, now)
	}
}

func (p *pageInvalidator) purgeTwice(tag string, now time.Time) {
	p.service.cfg.PurgeTag(tag)
	p.pending[tag] = now.Add(secondPurgeDelay)
}
