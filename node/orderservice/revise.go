package orderservice

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bramble/node/orders"
)

// configOperator is the operator that the audit trail names for what follows from a board's
// configuration.
const configOperator = "configuration"

// DifferenceJSON is a value of a sale that is not the one in the files of the board that
// answers: its catalogue and its configuration.
type DifferenceJSON struct {
	Field string `json:"field"` // as in the file, such as "price" or "shipping DE"
	Sale  string `json:"sale"`  // the value in the order book
	File  string `json:"file"`  // the value in the file
	// Remedy is how an operator changes it: "revise", "stock", "times", or "fixed" if
	// nothing does.
	Remedy string `json:"remedy"`
}

// How a difference is resolved: by the command "bramble sale" with this action.
const (
	remedyRevise = "revise"
	remedyStock  = "stock"
	remedyTimes  = "times"
	remedyFixed  = "fixed"
)

// compareOffer lists the values in which a sale differs from its product's offer in this board's
// files, and the fields that can be revised.
func (s *Service) compareOffer(sale orders.Sale, offer orders.Offer) (list []DifferenceJSON, revise orders.Revised) {
	for _, d := range orders.Differences(&offer, &sale) {
		if d.Revise&(orders.RevisePrice|orders.ReviseCountries) != 0 && sale.Currency != offer.Currency {
			d.Revise = 0 // amounts of another currency mean something else
		}
		revise |= d.Revise
		remedy := remedyRevise
		switch d.Revise {
		case 0:
			remedy = remedyFixed
		case orders.RevisePrice:
			d.Sold, d.Offered = s.formatAmount(sale.Price, sale.Currency), s.formatAmount(offer.Price, offer.Currency)
		case orders.ReviseCountries:
			list = append(list, s.compareCountries(sale, offer)...)
			continue
		}
		list = append(list, DifferenceJSON{d.Field, d.Sold, d.Offered, remedy})
	}
	add := func(field, remedy, sold, offered string) {
		if sold != offered {
			list = append(list, DifferenceJSON{field, sold, offered, remedy})
		}
	}
	add("stock", remedyStock, fmt.Sprint(sale.Stock), fmt.Sprint(offer.Stock))
	add("opens", remedyTimes, formatMoment(sale.Opens), formatMoment(offer.Opens))
	add("closes", remedyTimes, formatMoment(sale.Closes), formatMoment(offer.Closes))
	return list, revise
}

// compareCountries lists the countries whose delivery or tax differs.
func (s *Service) compareCountries(sale orders.Sale, offer orders.Offer) []DifferenceJSON {
	var list []DifferenceJSON
	was, now := s.describeCountries(sale.Countries, sale.Currency), s.describeCountries(offer.Countries, offer.Currency)
	all := maps.Clone(was)
	maps.Copy(all, now)
	for _, code := range slices.Sorted(maps.Keys(all)) {
		if now[code] != was[code] {
			list = append(list, DifferenceJSON{"shipping " + code, cmp.Or(was[code], "none"), cmp.Or(now[code], "none"), remedyRevise})
		}
	}
	if len(list) == 0 {
		list = []DifferenceJSON{{"order of the countries", "as first offered", "as in the file", remedyRevise}}
	}
	return list
}

// describeCountries returns what each country costs, by its code.
func (s *Service) describeCountries(list []orders.Country, currency string) map[string]string {
	all := map[string]string{}
	for _, c := range list {
		all[c.Code] = s.formatAmount(c.Shipping, currency) + ", tax " + orders.FormatPercent(c.Tax) + " %"
	}
	return all
}

func (s *Service) formatAmount(minor int64, currency string) string {
	if s.cfg.Amount == nil {
		return fmt.Sprintf("%d %s", minor, currency)
	}
	return s.cfg.Amount(minor, currency)
}

// formatMoment writes a moment in UTC, or "none".
func formatMoment(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339)
}

func (s *Service) findOffer(product string) (orders.Offer, bool) {
	at := slices.IndexFunc(s.cfg.Offers, func(o orders.Offer) bool { return o.Product == product })
	if at < 0 {
		return orders.Offer{}, false
	}
	return s.cfg.Offers[at], true
}

// followConfig turns on the webhook and mail of sales that were offered before the board's
// configuration had them. It turns nothing off: a board with an older configuration may
// lead for a moment, and orders placed then would never be sent. It reports whether all is done.
func (s *Service) followConfig(ctx context.Context) (complete bool) {
	if s.cfg.Book.Rules() < orders.RestoreRules {
		return false // a board of the rack has an older program
	}
	for _, o := range s.cfg.Offers {
		sale, known := s.cfg.Book.Sale(o.Product)
		if !known {
			continue
		}
		c := orders.ReviseOffer{Operation: orders.Operation{Operator: configOperator, OpID: NewOpID()}, Product: o.Product, Webhook: true, Mail: true}
		if o.Webhook && !sale.Webhook {
			c.Fields |= orders.ReviseWebhook
		}
		if o.Mail && !sale.Mail {
			c.Fields |= orders.ReviseMail
		}
		if c.Fields == 0 {
			continue
		}
		if outcome, ok := s.submitTask(ctx, c); !ok || outcome != orders.Done {
			return ok // a refused one is in the audit trail, and is not repeated
		}
		s.cfg.Logger.Info("a sale follows the configuration from now on; orders from before get neither posts nor mail",
			"product", o.Product, "webhook", o.Webhook, "mail", o.Mail)
	}
	return true
}

// listDifferences lists what the files of this board have differently for a sale.
func (s *Service) listDifferences(sale orders.Sale) []DifferenceJSON {
	offer, known := s.findOffer(sale.Product)
	if !known {
		return nil
	}
	list, _ := s.compareOffer(sale, offer)
	return list
}

// logDifferences logs once per start what the catalogue has differently.
func (s *Service) logDifferences() {
	for _, sale := range s.Sales() {
		for _, d := range s.listDifferences(sale) {
			s.cfg.Logger.Info("a sale differs from this board's files; the order book's value counts", "product", sale.Product,
				"field", d.Field, "sale", d.Sale, "file", d.File, "remedy", d.Remedy)
		}
	}
}

// catalogueNotices returns what an operator must know about changes of the files since the
// products were first offered.
func (s *Service) catalogueNotices() []string {
	var notices []string
	for _, sale := range s.Sales() {
		var fields []string
		for _, d := range s.listDifferences(sale) {
			if d.Remedy == remedyRevise || d.Remedy == remedyFixed {
				fields = append(fields, d.Field)
			}
		}
		if len(fields) > 0 {
			notices = append(notices, fmt.Sprintf("The catalogue of %s has changed since it was first offered, and the change has no effect yet (%s). \"bramble sale revise %s --dry-run\" shows it.",
				sale.Product, strings.Join(fields, ", "), sale.Product))
		}
	}
	for _, u := range s.Unposted() {
		notices = append(notices, u.Describe())
	}
	return notices
}
