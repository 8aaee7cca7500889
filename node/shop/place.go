package shop

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"bramble/node/orders"
)

// servePlace takes the order page's form. The page itself is at another URL, so that a
// reload of it asks nothing of anybody, and a browser that is sent here without a form is
// led there.
func (s *Shop) servePlace(w http.ResponseWriter, r *http.Request) {
	p := s.product(r)
	switch {
	case p == nil:
		s.notFound(w, r)
	case r.Method == http.MethodPost:
		s.place(w, r, p)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, address{page: "order", product: p}.path(), http.StatusFound)
	default:
		s.notTaken(w, r, "GET, HEAD, POST")
	}
}

// place has a form taken, and leads to the receipt (Post/Redirect/Get: to load that again
// is harmless) or back to the form, filled as it was.
func (s *Shop) place(w http.ResponseWriter, r *http.Request, p *Product) {
	if s.desk == nil {
		s.nothingOrdered(w, r, p)
		return
	}
	if s.fromElsewhere(w, r) {
		return
	}
	f := readForm(r, s.limits)
	if errors.Is(f.err, errFormType) {
		s.wrongType(w, r, address{page: "order", product: p}.path())
		return
	}
	o := s.lone(p)
	ask := f.check(s, o)
	if f.code() != 0 {
		code, y := f.status()
		c := s.scene(s.now())
		o = c.of(p)
		s.answer(w, r, code, c, o, &filling{form: f, takes: kindOr(f.get("kind"), o.Takes), why: y, asked: f.asked(), id: ask.ID})
		return
	}
	bill, _ := s.total(o, ask.Person.Country, ask.Quantity) // check has seen to it that there is one
	ask.Total, ask.Currency = bill.Total.Minor, bill.Total.Currency
	if !f.seen(o, &bill) {
		c := s.scene(s.now())
		s.answer(w, r, http.StatusConflict, c, c.of(p), &filling{form: f, takes: f.get("kind"), asked: f.asked(), id: ask.ID, why: &why{
			Title: "Nothing was sent yet: please check the total",
			Lines: []string{fmt.Sprintf("It is %s. If that is right, press the button again.", bill.Total)},
		}})
		return
	}
	answer, err := s.ask(r.Context(), &ask)
	if err == nil && (answer.Outcome == orders.Taken || answer.Outcome == orders.Same) {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, s.receiptPath(answer.Paper), http.StatusSeeOther)
		return
	}
	c := s.scene(s.now()) // what the answer is about may be newer
	o = c.of(p)
	if o.Known && answer.State != 0 {
		o.as(answer.State)
	}
	fill := &filling{form: f, takes: f.get("kind"), asked: f.asked(), id: ask.ID}
	var code int
	if err != nil {
		code, fill.why = trouble(err)
	} else {
		code = question(o, &ask, answer, fill)
	}
	s.answer(w, r, code, c, o, fill)
}

// maxTries bounds how often a new reference is made because it is somebody's already. One
// in 2^50 is; three in a row are a broken source of chance.
const maxTries = 3

// ask has the order book answer, under a reference of its own unless the form brings one.
func (s *Shop) ask(ctx context.Context, a *orders.Ask) (answer orders.Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, placeWait)
	defer cancel()
	for try := range maxTries {
		if !a.More || try > 0 {
			a.ID = newID()
		}
		answer, err = s.desk.Place(ctx, *a)
		if err != nil || answer.Outcome != orders.Retry {
			return answer, err
		}
	}
	return orders.Answer{}, fmt.Errorf("%w: no reference is free", orders.ErrNotCommitted)
}

func newID() orders.ID {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails, says crypto/rand
		if id := orders.ID(binary.LittleEndian.Uint64(b[:])) & orders.MaxID; id.Valid() {
			return id
		}
	}
}

// asked is where the question "in addition?" stands, as the form says.
func (f *form) asked() addition {
	if f.get("more") == "" {
		return notAsked
	}
	return saidYes
}

// kindOr is the kind of form that was sent, or else the one that the page has.
func kindOr(sent, has string) string {
	if _, ok := kindOf(sent); ok {
		return sent
	}
	return has
}

// answer shows the order page, once, for who sent a form that was not taken.
func (s *Shop) answer(w http.ResponseWriter, r *http.Request, code int, c *scene, o *sale, fill *filling) {
	if fill.asked == saidYes && !fill.id.Valid() {
		fill.id = newID()
	}
	page, err := s.renderOrder(c, o, fill)
	if err != nil {
		s.broken(w, err)
		return
	}
	s.once(w, r, code, page)
}

// trouble is what is said when the order book gave no answer.
func trouble(err error) (int, *why) {
	y := &why{
		Title: "It is not certain that this was taken",
		Lines: []string{"Boards of the rack lost sight of each other at that moment. Please press the button again: the same form cannot be taken twice, and if it was taken, you will see its receipt."},
	}
	switch {
	case errors.Is(err, orders.ErrUnavailable):
		y.Title = "Nothing was taken: the rack is not ready"
		y.Lines = []string{"Please press the button again in a little while. What you typed is kept below."}
		if _, reason, ok := strings.Cut(err.Error(), orders.ErrUnavailable.Error()+": "); ok {
			y.Lines = append(y.Lines, "The rack says: "+reason+".")
		}
	case errors.Is(err, orders.ErrNotCommitted):
		y.Title = "Nothing was taken: please press again"
		y.Lines = []string{"The rack could not take it just now. What you typed is kept below, so press the button again in a few seconds."}
	}
	return http.StatusServiceUnavailable, y
}

// question turns an answer that took nothing into words above the form, which it chooses
// by what the sale takes now. It gives the reply's status.
func question(o *sale, a *orders.Ask, answer orders.Answer, fill *filling) int {
	y := &why{}
	fill.why = y
	switch answer.Outcome {
	case orders.Differs:
		y.Title = "You have been here before: nothing new was taken"
		y.Lines = []string{"With this e-mail address there is something already, and not all of it is what you typed now. It stays as it is; its receipt is at the address that you were led to then."}
		if o.PerPerson > 1 && fill.takes != "" {
			y.Lines = append(y.Lines, "Do you want this in addition to what you have?")
			fill.asked, fill.id = askNow, newID()
		} else {
			fill.asked = notAsked
			y.Lines = append(y.Lines, "To change it, cancel it on its receipt and send this form again.")
		}
	case orders.OverLimit:
		y.Title = "That would be more than one person can have"
		y.Lines = []string{fmt.Sprintf("It is %d a person%s, and you have as many. Nothing new was taken.", o.PerPerson, orAddress(o))}
		if answer.Left > 0 {
			y.Lines = []string{fmt.Sprintf("It is %d a person%s, and what you have leaves %d more. Nothing new was taken.", o.PerPerson, orAddress(o), answer.Left)}
		}
	case orders.SoldOut:
		soldOut(o, answer, fill)
	case orders.NotOpen:
		y.Title = "Nothing was taken: it is not open yet"
		opens := answer.Opens
		if opens.IsZero() {
			opens = o.Opens
		}
		y.Lines = []string{"It opens at " + sentence(opens) + ". What you typed is kept below: press the button then. To press before is in vain, and harmless."}
	case orders.Closed:
		y.Title = "Nothing was taken: it is closed"
		fill.takes = o.Takes
		if o.Takes == "" {
			y.Lines = []string{"Nothing can be sent in now. If that changes, it will be at this address."}
		} else {
			y.Lines = []string{"What this page takes now is below, with what you typed."}
		}
	case orders.PriceChanged:
		y.Title = "Nothing was sent yet: the total has changed"
		y.Lines = []string{fmt.Sprintf("It is %s now. If that is right, press the button again.", o.money(answer.Total))}
	case orders.WrongKind:
		y.Title = "Nothing was taken: this page takes something else now"
		fill.takes = o.Takes
		y.Lines = []string{"What it takes now is below, with what you typed. Send it if you want that."}
	case orders.NoShipping:
		fill.form.blame("country", noCountry)
		fill.why = faultsFound(fill.form)
		return http.StatusUnprocessableEntity
	case orders.NoSuchSale:
		y.Title = "Nothing was taken: the rack is not ready"
		y.Lines = []string{"Its order book does not have this product yet. What you typed is kept below: please press the button again in a little while."}
		return http.StatusServiceUnavailable
	default:
		y.Title = "Nothing was taken: the order book cannot read this"
		y.Lines = []string{"Something in the form is not as it should be, though this page cannot tell what. Please look it over and send it again."}
		return http.StatusUnprocessableEntity
	}
	return http.StatusConflict
}

func orAddress(o *sale) string {
	if o.book.LimitByAddress {
		return " and postal address"
	}
	return ""
}

// soldOut says that it is, or that there are too few, and offers what there is instead.
func soldOut(o *sale, answer orders.Answer, fill *filling) {
	y := fill.why
	if answer.Left > 0 {
		y.Title = "There are fewer left than you asked for"
		y.Lines = []string{fmt.Sprintf("There are %d left. Nothing was taken: choose fewer and press the button again.", answer.Left)}
		return
	}
	if o.Takes == takesOrder { // this board has not heard of it yet
		o.as(orders.SaleSoldOut)
	}
	y.Title = "The last one has gone: nothing was taken"
	fill.takes = o.Takes
	if o.Takes == takesWaiting {
		y.Lines = []string{"You can join the waiting list: the form below has what you typed. It costs nothing, and you will be asked before you owe anything."}
	} else {
		y.Lines = []string{"You owe nothing. If more come, they will be at this address."}
	}
}

// fromElsewhere refuses a form that another site's page sent, and shows nothing of it.
func (s *Shop) fromElsewhere(w http.ResponseWriter, r *http.Request) bool {
	if s.foreign.Check(r) == nil {
		return false
	}
	s.apologise(w, r, http.StatusForbidden, apology{
		Title: "This form came from another site",
		Text:  "Nothing was taken. Forms of this shop are only taken from its own pages: please use those.",
		List:  true,
	})
	return true
}

// wrongType refuses a form in a type that no page of this shop sends.
func (s *Shop) wrongType(w http.ResponseWriter, r *http.Request, back string) {
	w.Header().Set("Accept-Post", "application/x-www-form-urlencoded")
	s.apologise(w, r, http.StatusUnsupportedMediaType, apology{
		Title: "This form cannot be read",
		Text:  "Nothing was taken. This page takes what its own form sends: application/x-www-form-urlencoded, in UTF-8. Your browser's Back button still has what you typed.",
		Back:  back,
	})
}

// notTaken answers 405 to a method that a page with a form does not have.
func (s *Shop) notTaken(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	s.apologise(w, r, http.StatusMethodNotAllowed, apology{
		Title: "This page does not take that",
		Text:  "Your program sent a request that this page does not take. Nothing was changed and nothing was ordered.",
	})
}
