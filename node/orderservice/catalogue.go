package orderservice

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"time"

	"bramble/node/orders"
)

// The catalogue and the order book. The leader offers what the book does not have, once. What the book
// refuses is not offered again: each board can tell by itself what that is, and Refused says so.

// Refused returns the products of the catalogue that are not on sale because the order book refuses
// them or an operator has retired them, with the reason in words for the operator.
func (s *Service) Refused() map[string]string {
	refused := map[string]string{}
	for _, o := range s.cfg.Offers {
		if sale, known := s.cfg.Book.Sale(o.Product); known && sale.Retired {
			refused[o.Product] = "it is retired"
		} else if why := s.whyRefused(o); !known && why != "" {
			refused[o.Product] = why
		}
	}
	return refused
}

// IsRefused reports whether Refused has a product that the order book does not have.
func (s *Service) IsRefused(product string) bool {
	_, known := s.cfg.Book.Sale(product)
	offer, isOffered := s.findOffer(product)
	return !known && isOffered && s.whyRefused(offer) != ""
}

// whyRefused returns why the order book refuses an offer of a product that it does not have, "" if it does not.
func (s *Service) whyRefused(o orders.Offer) string {
	o.Operation = orders.Operation{Operator: catalogueOperator, OpID: 1}
	o.Confirm = s.confirmOf(o)
	if o.Mode == orders.Ballot {
		o.Secret[0] = 1 // a real one is drawn for each offer
	}
	if err := orders.Check(o); err != nil {
		return "the catalogue's " + err.Error()
	}
	if !s.cfg.Book.HasRoom(s.cfg.Ledger.Status().Rules) {
		return fmt.Sprintf("the order book is full: it has had %d products", orders.MaxSales)
	}
	why, _ := s.refused.Load(o.Product)
	reason, _ := why.(string)
	return reason
}

// offerCatalogue submits the sales that the catalogue has and the order book does not. A
// sale that the book has stays as it is: operators change it, and the audit trail shows that.
func (s *Service) offerCatalogue(ctx context.Context) (complete bool) {
	for _, o := range s.cfg.Offers {
		if _, known := s.cfg.Book.Sale(o.Product); known || s.whyRefused(o) != "" {
			continue
		}
		o.Operation = orders.Operation{Operator: catalogueOperator, OpID: NewOpID()}
		o.Confirm = s.confirmOf(o)
		if s.cfg.Ledger.Status().Rules < orders.RestoreRules {
			o.Invitations = 0 // a board with an older program does not know it; revise sets it later
		}
		if s.cfg.Ledger.Status().Rules < orders.TrustRules {
			o.Dice = 0 // likewise
		}
		if o.Confirm > 0 && s.cfg.Ledger.Status().Rules < orders.TrustRules {
			return false // without it, an order would count at once: it is offered when all boards know it
		}
		if o.Mode == orders.Ballot {
			rand.Read(o.Secret[:]) // never fails
		}
		outcome, ok := s.submitTask(ctx, o)
		if !ok {
			return false
		}
		if outcome != orders.Done && outcome != orders.AlreadyDone {
			s.refused.Store(o.Product, "the order book's answer is "+outcome.String())
		}
	}
	return true
}

// confirmOf returns the time for confirmation by mail of a new sale.
func (s *Service) confirmOf(o orders.Offer) time.Duration {
	if o.Confirm == 0 && o.Mail {
		return s.cfg.DefaultConfirm
	}
	return max(0, o.Confirm)
}

// hasOffers reports whether this board's order book has everything that the catalogue offers, except for what
// it refuses.
func (s *Service) hasOffers() bool {
	return !slices.ContainsFunc(s.cfg.Offers, func(o orders.Offer) bool {
		_, known := s.cfg.Book.Sale(o.Product)
		return !known && s.whyRefused(o) == ""
	})
}

// appendRefused adds a notice for each product that is not on sale.
func (s *Service) appendRefused(notices []string) []string {
	refused := s.Refused()
	for _, product := range slices.Sorted(maps.Keys(refused)) {
		notices = append(notices, fmt.Sprintf("The product %s of the catalogue is not on sale: %s.", product, refused[product]))
	}
	return notices
}
