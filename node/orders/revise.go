package orders

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What operators and the configuration change about a sale's offer.

// invitationsOf returns how long a sale's automatic invitations last, 0 for none.
func invitationsOf(offered time.Duration, waitingList bool, mode Mode) time.Duration {
	switch {
	case offered < 0:
		return 0
	case offered == 0 && (mode == Ballot || waitingList && mode != Interest):
		return DefaultInvitation
	}
	return offered
}

func reviseField[T any](c *ReviseOffer, field Revised, of *T, value T) {
	if c.Fields&field != 0 {
		*of = value
	}
}

// reviseOffer changes the fields that the command names.
func (a *applyTx) reviseOffer(s *storedSale, c *ReviseOffer) (Answer, string) {
	before := s.Sale
	s.overLimit = s.overLimit || c.Fields&ReviseLimit != 0 && c.Limit < s.Limit
	reviseField(c, RevisePrice, &s.Price, c.Price)
	reviseField(c, ReviseCountries, &s.Countries, c.Countries)
	reviseField(c, ReviseLimit, &s.Limit, c.Limit)
	reviseField(c, ReviseWaitingList, &s.WaitingList, c.WaitingList)
	reviseField(c, ReviseInvitations, &s.Invitations, invitationsOf(c.Invitations, s.WaitingList, s.Mode))
	reviseField(c, ReviseWebhook, &s.Webhook, c.Webhook)
	reviseField(c, ReviseMail, &s.Mail, c.Mail)
	reviseField(c, ReviseDelay, &s.FulfilmentDelay, c.FulfilmentDelay)
	if c.Fields&ReviseRetain != 0 && s.Retain != c.Retain {
		s.Retain = c.Retain
		s.sweep, s.sweepFor = 1, s.sweepFor|sweepRetention
	}
	changes := compareTerms(&before, &s.Sale)
	if len(changes) == 0 {
		return Answer{Outcome: AlreadyDone}, "revise " + s.Product
	}
	var words []string
	for _, d := range changes {
		words = append(words, fmt.Sprintf("%s %s instead of %s", d.Field, d.Offered, d.Sold))
	}
	return Answer{Outcome: Done, Count: len(changes)}, "revise " + s.Product + ": " + strings.Join(words, ", ")
}

// Unposted looks for orders that wait to be fulfilled and will not be posted although their sales have a
// webhook: they are from before it. It reads at most limit orders after a number, and returns what it
// found and the number of the last order that it read.
func (b *Book) Unposted(after uint64, limit int) (found []Order, last uint64, err error) {
	last = after
	err = b.withReadTx(func(r *readTx) error {
		c := r.bucket(bucketOrders).Cursor()
		for k, v := c.Seek(uint64Key(after + 1)); k != nil && limit > 0; k, v = c.Next() {
			o, err := r.decodeOrder(v)
			if err != nil {
				return err
			}
			s, err := r.saleByNumber(o.sale)
			if err != nil {
				return err
			}
			if s.Webhook && s.sweepFor&sweepHandOver == 0 && o.awaitsFulfilment() && o.webhookJob == 0 {
				found = append(found, o.Order)
			}
			last, limit = o.Number, limit-1
		}
		return nil
	})
	return found, last, err
}

// retireSale hides a sale in which nothing is open, or shows it again.
func (a *applyTx) retireSale(s *storedSale, c RetireSale) (Answer, string) {
	action := "retire " + s.Product
	if c.Undo {
		action = "bring back " + s.Product
	}
	state := s.StateAt(a.now)
	open := s.Waiting + s.Interested + int(s.Held)
	if s.Mode == Ballot && s.Draw.At.IsZero() {
		open += s.Entries
	}
	switch {
	case s.Retired != c.Undo:
		return Answer{Outcome: AlreadyDone}, action
	case c.Undo:
		s.Retired, s.closed = false, true
		a.b.active = append(a.b.active, s)
		slices.SortFunc(a.b.active, func(x, y *storedSale) int { return int(x.number) - int(y.number) })
		return Answer{Outcome: Done}, action
	case state != SaleClosed && state != SaleDrawn && state != SaleDrawing, open > 0:
		return Answer{Outcome: NotClosed, Count: open}, action
	}
	s.Retired = true
	a.b.active = slices.DeleteFunc(a.b.active, func(other *storedSale) bool { return other == s })
	return Answer{Outcome: Done}, action
}

// beginHandOver begins a sweep that gives orders the webhook jobs that they lack.
func (a *applyTx) beginHandOver(s *storedSale) (Answer, string) {
	action := "hand over the orders of " + s.Product + " that are not fulfilled"
	if !s.Webhook {
		return Answer{Outcome: NoWebhook}, action
	}
	s.sweep, s.sweepFor = 1, s.sweepFor|sweepHandOver
	return Answer{Outcome: Done}, action
}

// Difference is a field in which a catalogue's offer and the book's sale differ.
type Difference struct {
	Field         string  // in words
	Offered, Sold string  // the catalogue's value and the book's; amounts in minor units
	Revise        Revised // the field of a ReviseOffer that changes it; 0 = it cannot be changed
}

// Differences returns what differs between a catalogue's offer and the sale of its product. The
// stock, the times and the secret are left out: operators change the first two.
func Differences(o *Offer, s *Sale) []Difference {
	offered := newSale(o, 0).Sale
	offered.Invitations = invitationsOf(o.Invitations, o.WaitingList, o.Mode)
	return compareTerms(s, &offered)
}

// compareTerms returns the fields in which two versions of a sale differ.
func compareTerms(sold, offered *Sale) []Difference {
	var list []Difference
	compare := func(field string, offered, sold any, revise Revised) {
		if o, s := fmt.Sprint(offered), fmt.Sprint(sold); o != s {
			list = append(list, Difference{field, o, s, revise})
		}
	}
	compare("mode", offered.Mode, sold.Mode, 0)
	compare("currency", offered.Currency, sold.Currency, 0)
	compare("limit by address", offered.LimitByAddress, sold.LimitByAddress, 0)
	compare("kind of draw", offered.Draw.PublicKind, sold.Draw.PublicKind, 0)
	if sold.Draw.Dice != 0 {
		compare("number of dice", offered.Draw.Dice, sold.Draw.Dice, 0)
	}
	if offered.Confirm != 0 { // otherwise the default of the day of its first offer counts
		compare("confirmation", max(0, offered.Confirm), sold.Confirm, 0)
	}
	compare("price", offered.Price, sold.Price, RevisePrice)
	compare("countries", formatCountries(offered.Countries), formatCountries(sold.Countries), ReviseCountries)
	compare("limit", offered.Limit, sold.Limit, ReviseLimit)
	compare("waiting list", offered.WaitingList, sold.WaitingList, ReviseWaitingList)
	compare("invitations", offered.Invitations, sold.Invitations, ReviseInvitations)
	compare("webhook", offered.Webhook, sold.Webhook, ReviseWebhook)
	compare("mail", offered.Mail, sold.Mail, ReviseMail)
	compare("fulfilment delay", offered.FulfilmentDelay, sold.FulfilmentDelay, ReviseDelay)
	compare("retention", offered.Retain, sold.Retain, ReviseRetain)
	return list
}

// formatCountries writes countries as "GB 200 (2000), DE 800 (0)": shipping in minor units, and tax in
// hundredths of a percent.
func formatCountries(list []Country) string {
	var words []string
	for _, c := range list {
		words = append(words, fmt.Sprintf("%s %d (%d)", c.Code, c.Shipping, c.Tax))
	}
	return strings.Join(words, ", ")
}

// RevisionFor returns a ReviseOffer that makes a sale's given fields those of a catalogue's offer.
func RevisionFor(o *Offer, fields Revised) ReviseOffer {
	return ReviseOffer{
		Product: o.Product, Fields: fields, Price: o.Price, Countries: o.Countries, Limit: o.Limit, WaitingList: o.WaitingList,
		Invitations: o.Invitations, Webhook: o.Webhook, Mail: o.Mail, FulfilmentDelay: o.FulfilmentDelay, Retain: o.Retain,
	}
}
