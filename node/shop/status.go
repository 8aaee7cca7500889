package shop

import (
	"net/http"
	"time"

	"bramble/node/orders"
)

// Status is the body of GET /status.json. New fields may be added; these keep their names,
// types and meaning. It has no "as of", because the reply's Date field has that, and
// every board sends the same bytes for the same state.
type Status struct {
	Shop        string `json:"shop"`
	TakesOrders bool   `json:"takes_orders"` // this board accepts orders now, for a product that its order book knows
	// Reason is why TakesOrders is false: not_ready (there is nothing to order from yet),
	// paused (no board accepts orders; nothing is lost) or this_board (others accept them).
	// It is null if TakesOrders is true, or if the shop has no order book.
	Reason       *string             `json:"reason"`
	Announcement *StatusAnnouncement `json:"announcement"` // the latest, or null
	Products     []StatusProduct     `json:"products"`
}

// StatusAnnouncement is an announcement in /status.json.
type StatusAnnouncement struct {
	Time string `json:"time"` // RFC 3339, UTC
	Text string `json:"text"`
}

// StatusProduct is a product in /status.json.
type StatusProduct struct {
	Slug        string      `json:"slug"`
	Name        string      `json:"name"`
	URL         string      `json:"url"`    // path of the product's page
	Mode        string      `json:"mode"`   // first-come, ballot or interest
	State       string      `json:"state"`  // upcoming, in_stock, sold_out, closed, open, drawing, drawn or unknown
	Form        *string     `json:"form"`   // on its order page now: order, entry, interest or waiting; null = none
	Opens       *string     `json:"opens"`  // RFC 3339, UTC; null = no opening moment
	Closes      *string     `json:"closes"` // RFC 3339, UTC; null = no closing moment
	Stock       int         `json:"stock"`  // free units
	PerPerson   int         `json:"limit_per_person"`
	WaitingList bool        `json:"waiting_list"` // there is one once it is sold out
	Waiting     int         `json:"waiting"`      // people on it
	Interested  int         `json:"interested"`   // registrations of interest
	Entries     int         `json:"entries"`      // in the ballot
	Draw        *string     `json:"draw"`         // path of the page about the draw; null = none
	Price       StatusPrice `json:"price"`        // of one unit, before shipping and local tax
}

// StatusPrice is an amount in /status.json, as text and as a whole number.
type StatusPrice struct {
	Currency string `json:"currency"` // ISO 4217
	Amount   string `json:"amount"`   // "35.00"
	Minor    int64  `json:"minor"`    // 3500
}

func (s *Shop) buildStatus(state *pageState) Status {
	status := Status{Shop: s.cat.Name, Products: []StatusProduct{}}
	if len(state.announcements) > 0 {
		status.Announcement = &StatusAnnouncement{Time: formatTimestamp(state.announcements[0].Time), Text: state.announcements[0].Text}
	}
	for i := range state.sales {
		sale := &state.sales[i]
		status.TakesOrders = status.TakesOrders || sale.InBook && state.pause == orders.NotPaused
		status.Products = append(status.Products, StatusProduct{
			Slug:        sale.Slug,
			Name:        sale.Name,
			URL:         sale.Path,
			Mode:        sale.Mode.String(),
			State:       sale.State.String(),
			Form:        orNull(sale.FormKind),
			Opens:       timestampOrNull(sale.Opens),
			Closes:      timestampOrNull(sale.Closes),
			Stock:       sale.Stock,
			PerPerson:   sale.PerPerson,
			WaitingList: sale.HasWaitingList,
			Waiting:     sale.Waiting,
			Interested:  sale.Interested,
			Entries:     sale.Entries,
			Draw:        orNull(sale.DrawPath),
			Price:       newStatusPrice(sale.Price),
		})
	}
	switch {
	case status.TakesOrders || !state.hasOrderBook:
	case state.pause == orders.NotPaused: // the leader has not offered the products yet
		status.Reason = orNull(orders.PausedStart.String())
	default:
		status.Reason = orNull(state.pause.String())
	}
	return status
}

func newStatusPrice(m Money) StatusPrice {
	return StatusPrice{Currency: m.Currency, Amount: m.Amount(), Minor: m.Minor}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timestampOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return orNull(formatTimestamp(t))
}

func (s *Shop) serveStatusJSON(w http.ResponseWriter, r *http.Request) {
	if !s.requireCanonicalURL(w, r, "/status.json") {
		return
	}
	state := s.readPageState(s.now())
	policy := statusPolicy()
	if state.changesFast() {
		policy = livePolicy()
	}
	w.Header().Set("Surrogate-Key", s.surrogateKeys("shop status"))
	s.sendJSON(w, r, s.buildStatus(state), policy.cacheControl(state.untilChange))
}
