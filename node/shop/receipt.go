package shop

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"bramble/node/orders"
)

// receiptPath is the path of a paper's receipt.
func (s *Shop) receiptPath(id orders.ID) string { return ReceiptPath(id, s.desk.Sign(id)) }

// receiptView is a receipt as its template sees it.
type receiptView struct {
	Paper   orders.Paper
	Heading string
	Lines   []string
	Thing   string // what was asked for
	Sale    *sale  // nil if the catalogue does not have the product any more
	Place   int    // in the queue, from 1; 0 = in none
	Of      int
	Total   Money
	Split   *total // the total's parts, if they are still what the sale asks
	Country string
	Path    string
	Cancel  string // what the button to take it back says; "" = it cannot be
	Sure    bool   // this is the question whether to take it back
	Why     *why
	Invited *total // what an invited person owes when saying yes
	Hidden  []field
	Person  []string // lines of the address; none if they are erased
	Erased  bool
	Old     bool // the rest of the rack may know something newer
}

// receipt makes a paper's receipt, so that a page and its JSON say the same.
func (s *Shop) receipt(c *scene, p orders.Paper, place int) *receiptView {
	v := &receiptView{
		Paper:   p,
		Thing:   p.Product,
		Place:   place,
		Total:   Money{Minor: p.Total, Currency: p.Currency},
		Country: p.Person.Country,
		Path:    s.receiptPath(p.ID),
		Erased:  p.Person == orders.Person{},
	}
	for i := range c.sales {
		if c.sales[i].Slug == p.Product {
			v.Sale = &c.sales[i]
			v.Thing = v.Sale.Name
		}
	}
	if to := s.cat.shippingTo(p.Person.Country); to != nil {
		v.Country = to.Name
	}
	for _, line := range []string{p.Person.Name, p.Person.Line1, p.Person.Line2, strings.TrimSpace(p.Person.Postcode + " " + p.Person.City), v.Country} {
		if line != "" {
			v.Person = append(v.Person, line)
		}
	}
	if v.Sale != nil {
		v.Of = max(place, v.Sale.Waiting)
		if p.Kind == orders.KindInterest {
			v.Of = max(place, v.Sale.Interested)
		}
		if t, ok := s.total(v.Sale, p.Person.Country, p.Quantity); ok {
			if t.Total == v.Total {
				v.Split = &t
			}
			if p.State == orders.StateInvited {
				v.Invited = &t
				v.Hidden = accept(v.Sale, p, &t)
			}
		}
	}
	v.Heading, v.Lines = inWords(v, c.now)
	v.Cancel = takeBack(v, c.now)
	return v
}

// accept is the form by which an invited person says yes: the order form, filled with what
// the person has told before.
func accept(o *sale, p orders.Paper, t *total) []field {
	who := p.Person
	return []field{{"kind", takesOrder}, {"prices", o.prices()}, {"agreed", t.mark()}, {"quantity", itoa(p.Quantity)},
		{"name", who.Name}, {"email", who.Email}, {"line1", who.Line1}, {"line2", who.Line2},
		{"postcode", who.Postcode}, {"city", who.City}, {"country", who.Country}}
}

// takeBack is what the button says by which the buyer takes the paper back.
func takeBack(v *receiptView, now time.Time) string {
	p := v.Paper
	if !p.Cancellable() {
		return ""
	}
	switch p.Kind {
	case orders.KindEntry:
		if p.State == orders.StateWon {
			return "Cancel what I won"
		}
		if v.Sale != nil && !v.Sale.Closes.IsZero() && !now.Before(v.Sale.Closes) {
			return "" // the list of entries that is drawn from stands
		}
		return "Take my entry back"
	case orders.KindInterest, orders.KindWaiting:
		if p.State == orders.StateInvited {
			return "Leave it to the next one"
		}
		return "Leave the list"
	}
	return "Cancel this order"
}

// inWords says where a paper stands.
func inWords(v *receiptView, now time.Time) (heading string, lines []string) {
	p := v.Paper
	switch p.State {
	case orders.StateInvited:
		return "It is your turn", []string{
			"What you asked for is kept for you until " + sentence(p.Until) + ". If you still want it, order it below; if you do nothing, it goes to the next one in the queue."}
	case orders.StateWon:
		lines = []string{"Your entry was drawn: it is yours, and will be handed over to be packed and sent. You need do nothing."}
		return "You have won", append(lines, cancelUntil(p, now)...)
	case orders.StateLost:
		lines = []string{"Your entry was not drawn. You owe nothing."}
		if v.Sale != nil && v.Sale.Takes == takesWaiting {
			lines = append(lines, "There is a waiting list: it is on the order page.")
		}
		return "Not this time", lines
	case orders.StateHandingOver:
		return "Your order is being handed over", []string{"It is on its way to be packed and sent, so it cannot be cancelled here any more."}
	case orders.StateHandedOver:
		return "Your order was handed over", []string{"It was given on to be packed and sent at " + sentence(p.Changed) + ". Please ask the seller about anything further."}
	case orders.StateCancelled:
		what := "This order was cancelled"
		if p.Kind == orders.KindEntry {
			what = "This entry was taken back"
		}
		return what, note(p, "That was at "+sentence(p.Changed)+". You owe nothing, and may order again.")
	case orders.StateLeft:
		return "You have left the list", note(p, "That was at "+sentence(p.Changed)+". You owe nothing.")
	case orders.StateExpired:
		return "The time to order has passed", []string{"It was kept for you until " + sentence(p.Until) + ", and is for the next one in the queue now. You owe nothing."}
	case orders.StateForgotten:
		return "What you told us is erased", []string{"Name and address are no longer known here. What is left are numbers."}
	}
	switch p.Kind {
	case orders.KindEntry:
		lines = []string{"Every entry has the same chance, the first as the last. Come back to this page after the draw."}
		if v.Sale != nil {
			switch {
			case v.Sale.State == orders.SaleOpen && !v.Sale.Closes.IsZero():
				lines = append([]string{"The ballot is open until " + sentence(v.Sale.Closes) + ", and is drawn after that."}, lines...)
			case v.Sale.State == orders.SaleDrawing:
				lines = append([]string{"The ballot is over. " + drawing(v.Sale) + "."}, lines...)
			}
		}
		return "You are in the ballot", lines
	case orders.KindInterest:
		return "Your interest is registered", append(inQueue(v, "the list"), "You have ordered nothing yet and owe nothing. When it is your turn, this page will say so.")
	case orders.KindWaiting:
		return "You are on the waiting list", append(inQueue(v, "the waiting list"), "You have ordered nothing yet and owe nothing. When it is your turn, this page will say so.")
	}
	return "Your order is in", append([]string{"It is written to disk on most boards of the rack: a pulled plug does not lose it."}, cancelUntil(p, now)...)
}

// inQueue says the place in it, if it is known.
func inQueue(v *receiptView, list string) []string {
	if v.Place == 0 {
		return nil
	}
	return []string{"You are number " + grouped(itoa(v.Place)) + " of " + grouped(itoa(v.Of)) + " on " + list + "."}
}

func cancelUntil(p orders.Paper, now time.Time) []string {
	if p.Ready.After(now) {
		return []string{"You can cancel it at least until " + sentence(p.Ready) + ", when it is due to be handed over."}
	}
	return []string{"It is due to be handed over: until then you can still cancel it."}
}

// note adds why, which never says anything about a person.
func note(p orders.Paper, line string) []string {
	if p.Note == "" {
		return []string{line}
	}
	return []string{line, "The reason given: " + p.Note}
}

// serveReceipt shows a receipt, as a page or as JSON.
func (s *Shop) serveReceipt(w http.ResponseWriter, r *http.Request) {
	if !s.readOnly(w, r) {
		return
	}
	token, asJSON := strings.CutSuffix(r.PathValue("token"), ".json")
	found, ok := s.paper(w, r, token)
	if !ok {
		return
	}
	c := s.scene(s.now())
	v := s.receipt(c, found.Paper, found.place)
	v.Old = found.old
	if asJSON {
		s.receiptJSON(w, r, v)
		return
	}
	s.showReceipt(w, r, http.StatusOK, c, v)
}

func (s *Shop) showReceipt(w http.ResponseWriter, r *http.Request, code int, c *scene, receipt *receiptView) {
	v := s.view(c)
	v.Title = receipt.Heading + " · " + receipt.Paper.ID.String()
	v.Receipt = receipt
	page, err := s.execute("receipt", v)
	if err != nil {
		s.broken(w, err)
		return
	}
	secret(w.Header())
	s.once(w, r, code, page)
}

// secret keeps a page that shows a person out of search engines.
func secret(h http.Header) { h.Set("X-Robots-Tag", "noindex") }

// found is a paper as this board knows it.
type found struct {
	orders.Paper
	place int  // in the queue, from 1; 0 = in none
	old   bool // see orders.ErrStale
}

// paper finds the paper of a receipt's URL. A wrong reference and a wrong token get the
// same answer, from this board's memory.
func (s *Shop) paper(w http.ResponseWriter, r *http.Request, token string) (found, bool) {
	id, err := orders.ParseID(r.PathValue("id"))
	if s.desk == nil || err != nil || !s.desk.Signed(id, token) {
		s.noReceipt(w, r)
		return found{}, false
	}
	ctx, cancel := context.WithTimeout(r.Context(), paperWait)
	defer cancel()
	p, place, err := s.desk.Paper(ctx, id)
	switch {
	case err == nil, errors.Is(err, orders.ErrStale):
		return found{Paper: p, place: place, old: err != nil}, true
	case errors.Is(err, orders.ErrNoPaper):
		s.noReceipt(w, r)
	default:
		s.apologise(w, r, http.StatusServiceUnavailable, apology{
			Title: "This board cannot show the receipt yet",
			Text:  "It has not caught up with the rest of the rack. Nothing is lost: load this page again in a few seconds.",
		})
	}
	return found{}, false
}

func (s *Shop) noReceipt(w http.ResponseWriter, r *http.Request) {
	s.apologise(w, r, http.StatusNotFound, apology{
		Title: "There is no receipt at this address",
		Text:  "The address of a receipt is long, and every letter of it counts: please open it as you were given it. These are the products of this shop:",
		List:  true,
	})
}

// serveCancel asks whether to take a paper back, and takes it back for who says yes.
func (s *Shop) serveCancel(w http.ResponseWriter, r *http.Request) {
	sure := false
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		if s.fromElsewhere(w, r) {
			return
		}
		f := readForm(r, map[string]int{"sure": maxHidden})
		if errors.Is(f.err, errFormType) {
			s.wrongType(w, r, "")
			return
		}
		sure = f.code() == 0 && f.get("sure") == "yes"
	default:
		s.notTaken(w, r, "GET, HEAD, POST")
		return
	}
	p, ok := s.paper(w, r, r.PathValue("token"))
	if !ok {
		return
	}
	if sure {
		ctx, cancel := context.WithTimeout(r.Context(), placeWait)
		defer cancel()
		err := s.desk.Cancel(ctx, p.ID)
		if err == nil || errors.Is(err, orders.ErrNoPaper) {
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, s.receiptPath(p.ID), http.StatusSeeOther)
			return
		}
		c := s.scene(s.now())
		v := s.receipt(c, p.Paper, p.place)
		code := http.StatusConflict
		v.Why = &why{Title: "It is too late for that", Lines: []string{"Nothing was changed."}}
		if !errors.Is(err, orders.ErrTooLate) {
			code, v.Why = notCancelled(err)
			v.Sure = true
		}
		s.showReceipt(w, r, code, c, v)
		return
	}
	c := s.scene(s.now())
	v := s.receipt(c, p.Paper, p.place)
	v.Sure = v.Cancel != ""
	s.showReceipt(w, r, http.StatusOK, c, v)
}

// notCancelled is what is said when the order book gave no answer to a cancelling.
func notCancelled(err error) (int, *why) {
	y := &why{Title: "It is not certain that this was done", Lines: []string{"Please press the button again: it does no harm to say it twice."}}
	if errors.Is(err, orders.ErrNotCommitted) || errors.Is(err, orders.ErrUnavailable) {
		y = &why{Title: "Nothing was changed: please press again", Lines: []string{"The rack could not take it just now. Press the button again in a few seconds."}}
	}
	return http.StatusServiceUnavailable, y
}

// Receipt is the body of a receipt's JSON, at its URL with ".json" added. Fields may be
// added; those here keep their names, types and meaning.
type Receipt struct {
	Reference string         `json:"reference"`
	Kind      string         `json:"kind"`    // order, entry, interest or waiting
	State     string         `json:"state"`   // open, invited, won, lost, handing_over, handed_over, cancelled, left, expired or forgotten
	Text      string         `json:"text"`    // the state in words
	Current   bool           `json:"current"` // false = the board could not ask the rack whether there is something newer
	Product   string         `json:"product"`
	Quantity  int            `json:"quantity"`
	Total     StatusPrice    `json:"total"`
	Parts     *ReceiptParts  `json:"parts"`    // of the total; null if the sale's prices have changed since
	Position  *int           `json:"position"` // in the queue, from 1; null = in none
	Made      string         `json:"made"`     // RFC 3339, UTC, as all times
	Changed   string         `json:"changed"`
	Until     *string        `json:"until"` // the end of the invitation
	For       *ReceiptPerson `json:"for"`   // null if it is erased
}

// ReceiptParts are the parts of a total, in minor units.
type ReceiptParts struct {
	Price    int64 `json:"price"`
	Shipping int64 `json:"shipping"`
	Tax      int64 `json:"tax"`
}

// ReceiptPerson is who a paper is for.
type ReceiptPerson struct {
	Name     string `json:"name"`
	Email    string `json:"email"`
	Line1    string `json:"line1"`
	Line2    string `json:"line2"`
	Postcode string `json:"postcode"`
	City     string `json:"city"`
	Country  string `json:"country"`
}

func (s *Shop) receiptJSON(w http.ResponseWriter, r *http.Request, v *receiptView) {
	p := v.Paper
	body := Receipt{
		Reference: p.ID.String(),
		Kind:      p.Kind.String(),
		State:     p.State.String(),
		Text:      v.Heading,
		Current:   !v.Old,
		Product:   p.Product,
		Quantity:  p.Quantity,
		Total:     priced(v.Total),
		Made:      stamp(p.Made),
		Changed:   stamp(p.Changed),
		Until:     stampOrNull(p.Until),
	}
	if v.Split != nil {
		body.Parts = &ReceiptParts{Price: v.Split.Goods.Minor, Shipping: v.Split.Shipping.Minor, Tax: v.Split.Tax.Minor}
	}
	if v.Place > 0 {
		body.Position = &v.Place
	}
	if !v.Erased {
		body.For = &ReceiptPerson{Name: p.Person.Name, Email: p.Person.Email, Line1: p.Person.Line1,
			Line2: p.Person.Line2, Postcode: p.Person.Postcode, City: p.Person.City, Country: p.Person.Country}
	}
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		s.broken(w, err)
		return
	}
	secret(w.Header())
	w.Header().Set("Cache-Control", "no-store")
	reply(w, r, "application/json", append(text, '\n'))
}
