package shop

import (
	"slices"
	"strings"
	"time"

	"bramble/node/orders"
)

// stateAt returns the state of the product's sale by the catalogue alone, which counts until
// the order book has the product. A state set by hand goes first. Without stock nothing
// opens, except a list of interest.
func (p *Product) stateAt(now time.Time) orders.SaleState {
	switch {
	case p.Override != 0:
		return p.Override
	case !p.Closes.IsZero() && !now.Before(p.Closes):
		return orders.SaleClosed
	case p.Stock == 0 && p.Mode != orders.Interest:
		return orders.SaleSoldOut
	case now.Before(p.Opens):
		return orders.SaleUpcoming
	case p.Mode == orders.Ballot || p.Mode == orders.Interest:
		return orders.SaleOpen
	}
	return orders.SaleInStock
}

// announcedAt returns the announcements made by now, newest first: the catalogue's, by their
// own times, and the order book's. An empty one of the order book withdraws all older ones.
func (c *Catalogue) announcedAt(now time.Time, news []orders.News) []Announcement {
	var list []Announcement
	for _, n := range news {
		list = append(list, Announcement{Time: n.At, Text: n.Text})
	}
	for _, a := range slices.Backward(c.Announcements) {
		if !a.Time.After(now) {
			list = append(list, a)
		}
	}
	slices.SortStableFunc(list, func(a, b Announcement) int { return b.Time.Compare(a.Time) })
	if i := slices.IndexFunc(list, func(a Announcement) bool { return a.Text == "" }); i >= 0 {
		list = list[:i]
	}
	return list
}

// formatTime writes a moment for people: "06:00 UTC on 29 February 2012". Seconds appear only
// if they are not zero.
func formatTime(t time.Time) string {
	s := t.UTC().Format("15:04:05 UTC on 2 January 2006")
	return strings.Replace(s, ":00 UTC", " UTC", 1)
}

// formatTimestamp writes a moment for machines (RFC 3339, UTC, whole seconds).
func formatTimestamp(t time.Time) string {
	return t.UTC().Format(time.RFC3339)
}
