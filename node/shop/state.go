package shop

import (
	"slices"
	"strings"
	"time"

	"bramble/node/orders"
)

// StateAt is the state of the product's sale at a moment, by the catalogue alone: what
// holds as long as no order book knows better. What the catalogue says by hand goes
// first; without stock there is nothing to open, but for who only registers interest.
func (p *Product) StateAt(now time.Time) orders.SaleState {
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

// announcedAt is the announcements made by now, newest first: the catalogue's, by its own
// times, and the order book's. An empty one of the order book takes all older ones off.
func (c *Catalogue) announcedAt(now time.Time, news []orders.News) []Announcement {
	var made []Announcement
	for _, n := range news {
		made = append(made, Announcement{Time: n.At, Text: n.Text})
	}
	for _, a := range slices.Backward(c.Announcements) {
		if !a.Time.After(now) {
			made = append(made, a)
		}
	}
	slices.SortStableFunc(made, func(a, b Announcement) int { return b.Time.Compare(a.Time) })
	if i := slices.IndexFunc(made, func(a Announcement) bool { return a.Text == "" }); i >= 0 {
		made = made[:i]
	}
	return made
}

// formatTime writes a moment for people: "06:00 UTC on 29 February 2012". Seconds are said
// only if there are any.
func formatTime(t time.Time) string {
	s := t.UTC().Format("15:04:05 UTC on 2 January 2006")
	return strings.Replace(s, ":00 UTC", " UTC", 1)
}

// formatTimestamp writes a moment for machines (RFC 3339, UTC, whole seconds).
func formatTimestamp(t time.Time) string {
	return t.UTC().Format(time.RFC3339)
}
