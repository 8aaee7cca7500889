package shop

import (
	"slices"
	"sort"
	"strings"
	"time"
)

// State is what a buyer came to learn. The strings are those of /status.json and of the
// catalogue's key `state`; they do not change.
type State string

// The states of a sale. A product is in exactly one of them.
const (
	Upcoming State = "upcoming" // opens later; there is stock
	InStock  State = "in_stock" // open, and there is stock
	SoldOut  State = "sold_out" // no stock, or the catalogue says so
	Closed   State = "closed"   // the catalogue says so
)

// StateAt is the state of the product's sale at a moment. What the catalogue says by
// hand goes first; without stock there is nothing to open.
func (p *Product) StateAt(now time.Time) State {
	switch {
	case p.Override != "":
		return p.Override
	case p.Stock == 0:
		return SoldOut
	case now.Before(p.Opens):
		return Upcoming
	}
	return InStock
}

// turningPoints are the moments, oldest first and each once, at which some page's text
// changes: sales open, announcements appear. Between two of them every page stands still.
func (c *Catalogue) turningPoints() []time.Time {
	var at []time.Time
	for _, p := range c.Products {
		if !p.Opens.IsZero() {
			at = append(at, p.Opens)
		}
	}
	for _, a := range c.Announcements {
		at = append(at, a.Time)
	}
	slices.SortFunc(at, time.Time.Compare)
	return slices.CompactFunc(at, time.Time.Equal)
}

// era is the number of turning points passed at now; left is the time to the next one,
// negative if there is none.
func era(points []time.Time, now time.Time) (n int, left time.Duration) {
	n = sort.Search(len(points), func(i int) bool { return points[i].After(now) })
	if n == len(points) {
		return n, -1
	}
	return n, points[n].Sub(now)
}

// announcedAt is the announcements made by now, newest first.
func (c *Catalogue) announcedAt(now time.Time) []Announcement {
	var made []Announcement
	for _, a := range slices.Backward(c.Announcements) {
		if !a.Time.After(now) {
			made = append(made, a)
		}
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
