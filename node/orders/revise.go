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

// reviseOffer changes the fields that the command names.
func (a *applyTx) reviseOffer(s *storedSale, c *ReviseOffer) (Answer, string) {
	before := s.Sale
	if c.Fields&RevisePrice != 0 {
		s.Price = c.Price
	}
	if c.Fields&ReviseCountries != 0 {
		s.Countries = c.Countries
	}
	if c.Fields&ReviseLimit != 0 {
		s.overLimit = s.overLimit || c.Limit < s.Limit
		s.Limit = c.Limit
	}
	if c.Fields&ReviseWaitingList != 0 {
		s.WaitingList = c.WaitingList
	}
	if c.Fields&ReviseInvitations != 0 {
		s.Invitations = invitationsOf(c.Invitations, s.WaitingList, s.Mode)
	}
	if c.Fields&ReviseWebhook != 0 {
		s.Webhook = c.Webhook
	}
	if c.Fields&ReviseMail != 0 {
		s.Mail = c.Mail
	}
	if c.Fields&ReviseDelay != 0 {
		s.FulfilmentDelay = c.FulfilmentDelay
	}
	if c.Fields&ReviseRetain != 0 && s.Retain != c.Retain {
		s.Retain = c.Retain
		s.sweep, s.sweepFor = 1, s.sweepFor|sweepRetention
	}
	changes := compareTerms(&before, &s.Sale)
	if len(changes) == 0 {
		return Answer{Outcome: AlreadyDone}, auditRevised + s.Product
	}
	var words []string
	for _, d := range changes {
		words = append(words, fmt.Sprintf("%s %s instead of %s", d.Field, d.Offered, d.Sold))
	}
	return Answer{Outcome: Done, Count: len(changes)}, auditRevised + s.Product + ": " + strings.Join(words, ", ")
}

// Parts of entries of the audit trail that NewWebhooks reads again.
const (
	auditRevised   = "revise "
	auditWebhookOn = "webhook true instead of false"
	auditHandOver  = "hand over the orders of "
	auditHandedAll = " that are not fulfilled"
)

// newWebhookWindow is the number of last entries of the audit trail in which NewWebhooks looks.
const newWebhookWindow = 128

// NewWebhooks returns the products that got a webhook since a moment, after orders were placed,
// as far as the last entries of the audit trail tell. A HandOver since then ends that.
func (b *Book) NewWebhooks(since time.Time) []string {
	var products []string
	handed := map[string]bool{}
	_ = b.withReadTx(func(r *readTx) error { // a closed book has no news
		c := r.bucket(bucketAudit).Cursor()
		k, v := c.Last()
		for range newWebhookWindow {
			if k == nil {
				break
			}
			e, ok := decodeAudit(k, v)
			if !ok || e.At.Before(since) {
				break
			}
			if rest, found := strings.CutPrefix(e.Action, auditHandOver); found {
				if product, done := strings.CutSuffix(rest, auditHandedAll); done {
					handed[product] = true
				}
			}
			if rest, found := strings.CutPrefix(e.Action, auditRevised); found {
				product, changes, _ := strings.Cut(rest, ": ")
				s, known := b.Sale(product)
				if known && s.Sold > 0 && s.Webhook && !handed[product] && !slices.Contains(products, product) &&
					slices.Contains(strings.Split(changes, ", "), auditWebhookOn) {
					products = append(products, product)
				}
			}
			k, v = c.Prev()
		}
		return nil
	})
	slices.Sort(products)
	return products
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
	action := auditHandOver + s.Product + auditHandedAll
	if !s.Webhook {
		return Answer{Outcome: WrongKind}, action
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
