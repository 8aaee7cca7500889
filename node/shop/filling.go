package shop

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"bramble/node/orders"
)

// filling is what the order page's form is filled with, and what stands above it.
type filling struct {
	form  *form
	takes string // the kind of form to show; "" = none, what was typed is listed instead
	why   *why   // nil on a page that nobody has posted to
	// asked is the question whether this is to be in addition to what the person has, and
	// id the paper that it would be: see orders.Ask.
	asked addition
	id    orders.ID
}

// addition is where the question "in addition?" stands.
type addition int

const (
	notAsked addition = iota
	askNow            // a second button says yes
	saidYes           // the form says yes
)

// why is what is said above a form that was sent and not taken.
type why struct {
	Title  string
	Lines  []string
	Faults []fault // links to the fields
}

// formView is the order page as its template sees it.
type formView struct {
	Title      string // of the page
	Takes      string
	Why        *why
	Entries    []filledEntry
	Country    string
	Bad        string // what is wrong with the country
	Quantity   string
	Quantities []int  // to choose from; none = not to be chosen, or to be typed
	Ask        bool   // whether to ask for a quantity
	BadNumber  string // what is wrong with it
	Hidden     []field
	Additional bool
	Button     string
	Typed      []field // where there is no form
	Bill       *total  // for the country and the quantity, if there are
	Bills      []total // for the country, by quantity, if one may have several
	Brief      bool    // the list of countries says the totals, and no table does
	Elsewhere  bool    // the country is one that nothing is sent to
}

// filledEntry is a field with what stands in it.
type filledEntry struct {
	entry
	Value string
	Bad   string // what is wrong with it
}

// What is wrong with a choice.
const noCountry = "Please choose a country from the list: this shop delivers to no other."

func noQuantity(most int) string {
	if most == 1 {
		return "One person can have one: please write 1."
	}
	return "Please write a whole number from 1 to " + grouped(strconv.Itoa(most)) + "."
}

// faultsFound is what is said above a form with faults, in the order of its fields.
func faultsFound(f *form) *why {
	y := &why{Title: "Nothing was sent yet: please mend what is marked", Faults: slices.Clone(f.faults)}
	place := func(x fault) int {
		if x.Field == "country" {
			return len(entries())
		}
		// -1: the quantity, which comes first, and what is in no field that shows.
		return slices.IndexFunc(entries(), func(e entry) bool { return e.Name == x.Field })
	}
	slices.SortStableFunc(y.Faults, func(a, b fault) int { return place(a) - place(b) })
	if len(f.faults) == 1 {
		y.Title = "Nothing was sent yet: please mend one thing"
	}
	return y
}

// heading and button say what a form is for.
func heading(takes, name string) string {
	switch takes {
	case takesEntry:
		return "Enter the ballot: " + name
	case takesInterest:
		return "Register your interest: " + name
	case takesWaiting:
		return "Join the waiting list: " + name
	}
	return "Order: " + name
}

func button(takes string) string {
	switch takes {
	case takesEntry:
		return "Enter the ballot"
	case takesInterest:
		return "Register my interest"
	case takesWaiting:
		return "Join the waiting list"
	}
	return "Place the order"
}

// renderOrder makes the order page.
func (s *Shop) renderOrder(c *scene, o *sale, fill *filling) ([]byte, error) {
	f := fill.form
	v := s.view(c)
	v.Sale = o
	v.Here = o.Order
	v.Form = &formView{
		Title:      heading(fill.takes, o.Name),
		Takes:      fill.takes,
		Why:        fill.why,
		Country:    f.get("country"),
		Bad:        f.faultOf("country"),
		Quantity:   f.get("quantity"),
		BadNumber:  f.faultOf("quantity"),
		Additional: fill.asked == askNow,
		Button:     button(fill.takes),
	}
	v.Title = v.Form.Title
	if fill.why != nil && len(fill.why.Faults) > 0 {
		v.Title = "Not sent yet · " + v.Title
	}
	s.bills(v.Form, o)
	v.Form.Brief = fill.why != nil && v.Form.Bill == nil
	for _, e := range entries() {
		value := f.get(e.Name)
		v.Form.Entries = append(v.Form.Entries, filledEntry{entry: e, Value: value, Bad: f.faultOf(e.Name)})
		if fill.takes == "" && value != "" {
			v.Form.Typed = append(v.Form.Typed, field{e.Label, value})
		}
	}
	if to := v.Form.Bill; to != nil && len(v.Form.Typed) > 0 {
		v.Form.Typed = append(v.Form.Typed, field{"Country", to.Name})
	}
	if fill.takes != "" {
		v.Form.hide(o, fill)
	}
	return s.execute("order", v)
}

// bills adds up what can be added up, and offers the quantities.
func (s *Shop) bills(v *formView, o *sale) {
	quantity, ok := readQuantity(v.Quantity, o.PerPerson)
	if !ok {
		quantity = 1
	}
	if v.Quantity == "" {
		v.Quantity = "1"
	}
	if t, ok := s.total(o, v.Country, quantity); ok {
		v.Bill = &t
	}
	v.Elsewhere = v.Country == elsewhere
	v.Ask = o.PerPerson > 1 || v.BadNumber != ""
	if o.PerPerson == 1 || o.PerPerson > maxChoices {
		return
	}
	for n := range o.PerPerson {
		if v.BadNumber == "" { // else it is typed, so that what was typed can stand there
			v.Quantities = append(v.Quantities, n+1)
		}
		if t, ok := s.total(o, v.Country, n+1); ok {
			v.Bills = append(v.Bills, t)
		}
	}
}

// maxChoices bounds the quantities that a page gives the total for and lets choose from; a
// larger one is typed.
const maxChoices = 10

// hide enters what the page tells itself: what was asked for, and which totals the person
// has seen (see seen).
func (v *formView) hide(o *sale, fill *filling) {
	v.Hidden = []field{{"kind", fill.takes}, {"prices", o.prices()}}
	if v.Bill != nil {
		v.Hidden = append(v.Hidden, field{"agreed", v.Bill.mark()})
	}
	if len(v.Bills) > 0 {
		v.Hidden = append(v.Hidden, field{"shown", v.Country})
	}
	if fill.asked != notAsked {
		v.Hidden = append(v.Hidden, field{"id", fill.id.String()})
	}
	if fill.asked == saidYes {
		v.Hidden = append(v.Hidden, field{"more", "yes"})
	}
}

// mark is a total as a form repeats it.
func (t *total) mark() string {
	return fmt.Sprint(t.Country, " ", t.Quantity, " ", t.Total.Minor)
}

// seen reports whether the page that the form was on has shown this total: as the one
// added up, among those of the country, or as the one for one unit in the list of
// countries. What it has not shown is asked about before it is owed.
func (f *form) seen(o *sale, t *total) bool {
	if f.get("agreed") == t.mark() {
		return true
	}
	return f.get("prices") == o.prices() &&
		(t.Quantity == 1 || f.get("shown") == t.Country && t.Quantity <= maxChoices)
}

// readQuantity is strict: a whole number from 1 to most, in plain digits.
func readQuantity(text string, most int) (n int, ok bool) {
	if text == "" || len(text) > 4 || !allDigits(text) {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= most
}

// formLimits are the fields of the order page's form and the bytes that each takes.
func formLimits() map[string]int {
	limits := map[string]int{"country": maxHidden, "quantity": maxHidden, "kind": maxHidden, "prices": maxHidden,
		"shown": maxHidden, "agreed": maxHidden, "more": maxHidden, "id": maxHidden}
	for _, e := range entries() {
		limits[e.Name] = e.Most
	}
	return limits
}

// check reads what the form asks for, and blames the fields that cannot be right.
func (f *form) check(s *Shop, o *sale) (a orders.Ask) {
	a.Product = o.Slug
	var ok bool
	if a.Kind, ok = kindOf(f.get("kind")); !ok {
		f.blame("kind", "This form does not say what it is for. The one below does: please send it.")
	}
	if f.get("quantity") == "" {
		f.values["quantity"] = "1" // the page does not ask where there is no choice
	}
	if a.Quantity, ok = readQuantity(f.get("quantity"), o.PerPerson); !ok {
		f.blame("quantity", noQuantity(o.PerPerson))
	}
	f.values["country"] = strings.ToUpper(f.get("country"))
	f.checkPerson()
	a.Person = f.person()
	if _, ok := s.total(o, f.get("country"), 1); !ok {
		f.blame("country", noCountry)
	}
	if f.get("more") != "" {
		a.More = true
		id, err := orders.ParseID(f.get("id"))
		if err != nil {
			f.blame("more", "This form does not say which paper it would be. Please send it again.")
		}
		a.ID = id
	}
	return a
}

// status is the code of a reply to a form with complaints, and what is said above it.
func (f *form) status() (int, *why) {
	y := faultsFound(f)
	switch f.code() {
	case http.StatusRequestEntityTooLarge:
		y.Title = "Nothing was sent yet: that was too much text"
		y.Lines = []string{fmt.Sprintf("The whole form may have %d KB. What fits is kept below: please look it over and send it again.", maxPost>>10)}
	case http.StatusBadRequest:
		if f.err != nil {
			y.Title = "Nothing was sent yet: the form did not arrive as it should"
			y.Lines = []string{"What did arrive is kept below: please look it over and send it again."}
		}
	}
	return f.code(), y
}
