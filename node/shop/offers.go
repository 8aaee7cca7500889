package shop

import (
	"time"

	"bramble/node/orders"
)

// Offers returns the catalogue's products as offers for the order book. The node fills in
// the fields that only it knows: Operation, Webhook, Mail, Retain, and a ballot's Secret. A state that
// the catalogue sets by hand is part of the offer, because only the order book decides a
// sale's state: a sold-out product has no stock, and a closed one closed long ago, so that
// the operator can still add stock and open it.
func (c *Catalogue) Offers() []orders.Offer {
	list := make([]orders.Offer, 0, len(c.Products))
	for i := range c.Products {
		p := &c.Products[i]
		o := orders.Offer{
			Product:         p.Slug,
			Mode:            p.Mode,
			Stock:           int64(p.Stock),
			Limit:           p.PerPerson,
			LimitByAddress:  p.LimitByAddress,
			Opens:           p.Opens,
			Closes:          p.Closes,
			WaitingList:     p.WaitingList,
			Price:           p.Price.Minor,
			Currency:        p.Price.Currency,
			Countries:       c.orderCountries(),
			FulfilmentDelay: p.FulfilmentDelay,
			Invitations:     p.InvitationTime,
			Confirm:         p.Confirm,
			PublicKind:      p.Draw,
			Dice:            p.Dice,
		}
		switch p.Override {
		case orders.SaleSoldOut:
			o.Stock = 0
		case orders.SaleClosed:
			o.Opens, o.Closes = time.Time{}, time.Date(firstYear, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		list = append(list, o)
	}
	return list
}

// orderCountries returns the shipping table for the order book.
func (c *Catalogue) orderCountries() []orders.Country {
	list := make([]orders.Country, 0, len(c.Shipping))
	for _, s := range c.Shipping {
		list = append(list, orders.Country{Code: s.Country, Shipping: s.Price.Minor, Tax: s.Tax})
	}
	return list
}
