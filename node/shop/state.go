package shop

import (
	"slices"
	"strings"
	"time"

	"bramble/node/orders"
)

// State is what a buyer came to learn. The strings are those of /status.json and, for two
// of them, of the catalogue's key `state`; they do not change.
type State string

// The states of a sale. A product is in exactly one of them.
const (
	Upcoming State = "upcoming" // opens later; there is stock
	InStock  State = "in_stock" // open, and there is stock
	SoldOut  State = "sold_out" // no stock, or the catalogue says so
	Closed   State = "closed"   // the hour has passed, or somebody closed it
	Open     State = "open"     // a ballot that takes entries, or a list of interest
	Drawing  State = "drawing"  // a ballot that is over and not yet drawn
	Drawn    State = "drawn"    // a ballot that is drawn
	Unknown  State = "unknown"  // there is an order book, and this board has not seen it yet
)

// StateAt is the state of the product's sale at a moment, by the catalogue alone: what
// holds as long as no order book knows better. What the catalogue says by hand goes
// first; without stock there is nothing to open, but for who only registers interest.
func (p *Product) StateAt(now time.Time) State {
	switch {
	case p.Override != "":
		return p.Override
	case !p.Closes.IsZero() && !now.Before(p.Closes):
		return Closed
	case p.Stock == 0 && p.Mode != Interest:
		return SoldOut
	case now.Before(p.Opens):
		return Upcoming
	case p.Mode == Ballot || p.Mode == Interest:
		return Open
	}
	return InStock
}

// stateOf puts the order book's state into the shop's words, which are the same.
func stateOf(s orders.SaleState) State { return State(s.String()) }

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

// sentence writes a moment for people: "06:00 UTC on 29 February 2012". Seconds are said
// only if there are any.
func sentence(t time.Time) string {
	s := t.UTC().Format("15:04:05 UTC on 2 January 2006")
	return strings.Replace(s, ":00 UTC", " UTC", 1)
}

// stamp writes a moment for machines (RFC 3339, UTC, whole seconds).
func stamp(t time.Time) string {
	return t.UTC().Format(time.RFC3339)
}
