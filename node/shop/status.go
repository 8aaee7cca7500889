package shop

import (
	"encoding/json"
	"net/http"
	"time"
)

// Status is the body of GET /status.json. Fields may be added; those here keep their
// names, types and meaning. There is no "as of": the Date field of the reply says that,
// and the same state is the same bytes on every board.
type Status struct {
	Shop         string              `json:"shop"`
	TakesOrders  bool                `json:"takes_orders"` // false: this rack cannot take any yet
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
	Slug      string      `json:"slug"`
	Name      string      `json:"name"`
	URL       string      `json:"url"`   // path of the product's page
	State     State       `json:"state"` // upcoming, in_stock, sold_out or closed
	Opens     *string     `json:"opens"` // RFC 3339, UTC; null = no opening moment
	Stock     int         `json:"stock"`
	PerPerson int         `json:"limit_per_person"`
	Price     StatusPrice `json:"price"` // of one, before shipping and local tax
}

// StatusPrice is an amount in /status.json, as text and as a whole number.
type StatusPrice struct {
	Currency string `json:"currency"` // ISO 4217
	Amount   string `json:"amount"`   // "35.00"
	Minor    int64  `json:"minor"`    // 3500
}

// Status is what /status.json says at a moment.
func (s *Shop) Status(now time.Time) Status {
	st := Status{Shop: s.cat.Name, Products: []StatusProduct{}}
	if told := s.cat.announcedAt(now); len(told) > 0 {
		st.Announcement = &StatusAnnouncement{Time: stamp(told[0].Time), Text: told[0].Text}
	}
	for i := range s.cat.Products {
		p := &s.cat.Products[i]
		sp := StatusProduct{
			Slug:      p.Slug,
			Name:      p.Name,
			URL:       address{page: "product", product: p}.path(),
			State:     p.StateAt(now),
			Stock:     p.Stock,
			PerPerson: p.PerPerson,
			Price:     StatusPrice{Currency: p.Price.Currency, Amount: p.Price.Amount(), Minor: p.Price.Minor},
		}
		if !p.Opens.IsZero() {
			opens := stamp(p.Opens)
			sp.Opens = &opens
		}
		st.Products = append(st.Products, sp)
	}
	return st
}

func (s *Shop) serveStatusJSON(w http.ResponseWriter, r *http.Request) {
	if !s.canonical(w, r, "/status.json") {
		return
	}
	now := s.now()
	body, err := json.MarshalIndent(s.Status(now), "", "  ")
	if err != nil {
		s.broken(w, err)
		return
	}
	_, left := era(s.points, now)
	w.Header().Set("Cache-Control", statusTerms().field(left))
	w.Header().Set("Surrogate-Key", s.tags("shop status"))
	reply(w, r, "application/json", append(body, '\n'))
}
