package shop

import (
	"encoding/json"
	"net/http"
	"time"

	"bramble/node/orders"
)

// Status is the body of GET /status.json. Fields may be added; those here keep their
// names, types and meaning. There is no "as of": the Date field of the reply says that,
// and the same state is the same bytes on every board.
type Status struct {
	Shop         string              `json:"shop"`
	TakesOrders  bool                `json:"takes_orders"` // whether this rack has an order book, and it knows a product
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
	Slug        string           `json:"slug"`
	Name        string           `json:"name"`
	URL         string           `json:"url"`    // path of the product's page
	Mode        orders.Mode      `json:"mode"`   // first-come, ballot or interest
	State       orders.SaleState `json:"state"`  // upcoming, in_stock, sold_out, closed, open, drawing, drawn or unknown
	Takes       *string          `json:"takes"`  // what its order page takes now: order, entry, interest, waiting; null = nothing
	Opens       *string          `json:"opens"`  // RFC 3339, UTC; null = no opening moment
	Closes      *string          `json:"closes"` // RFC 3339, UTC; null = no closing moment
	Stock       int              `json:"stock"`  // units that are free
	PerPerson   int              `json:"limit_per_person"`
	WaitingList bool             `json:"waiting_list"` // whether there is one once it is sold out
	Waiting     int              `json:"waiting"`      // people on it
	Interested  int              `json:"interested"`   // registrations of interest
	Entries     int              `json:"entries"`      // in the ballot
	Draw        *string          `json:"draw"`         // path of the page about the ballot's draw; null = none
	Price       StatusPrice      `json:"price"`        // of one, before shipping and local tax
}

// StatusPrice is an amount in /status.json, as text and as a whole number.
type StatusPrice struct {
	Currency string `json:"currency"` // ISO 4217
	Amount   string `json:"amount"`   // "35.00"
	Minor    int64  `json:"minor"`    // 3500
}

// Status is what /status.json says at a moment.
func (s *Shop) Status(now time.Time) Status { return s.buildStatus(s.takeSnapshot(now)) }

func (s *Shop) buildStatus(c *snapshot) Status {
	st := Status{Shop: s.cat.Name, Products: []StatusProduct{}}
	if len(c.announcements) > 0 {
		st.Announcement = &StatusAnnouncement{Time: formatTimestamp(c.announcements[0].Time), Text: c.announcements[0].Text}
	}
	for i := range c.sales {
		o := &c.sales[i]
		st.TakesOrders = st.TakesOrders || o.InBook
		st.Products = append(st.Products, StatusProduct{
			Slug:        o.Slug,
			Name:        o.Name,
			URL:         o.Path,
			Mode:        o.Mode,
			State:       o.State,
			Takes:       orNull(o.FormKind),
			Opens:       timestampOrNull(o.Opens),
			Closes:      timestampOrNull(o.Closes),
			Stock:       o.Stock,
			PerPerson:   o.PerPerson,
			WaitingList: o.HasWaitingList,
			Waiting:     o.Waiting,
			Interested:  o.Interested,
			Entries:     o.Entries,
			Draw:        orNull(o.DrawPath),
			Price:       newStatusPrice(o.Price),
		})
	}
	return st
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
	c := s.takeSnapshot(s.now())
	body, err := json.MarshalIndent(s.buildStatus(c), "", "  ")
	if err != nil {
		s.sendServerError(w, err)
		return
	}
	t := statusPolicy()
	if c.changesFast() {
		t = livePolicy()
	}
	w.Header().Set("Cache-Control", t.cacheControl(c.untilChange))
	w.Header().Set("Surrogate-Key", s.surrogateKeys("shop status"))
	sendContent(w, r, "application/json", append(body, '\n'))
}
