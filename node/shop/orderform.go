package shop

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"bramble/node/orders"
)

// formState is what the order page's form is filled with, and what stands above it.
type formState struct {
	form  *form
	kind  string     // the kind of form to show; "" = none, what was typed is listed instead
	alert *formAlert // nil on a page that nobody has posted to
	// extra is the question whether this is to be in addition to what the person has, and
	// id the paper that it would be: see orders.PlaceOrder.
	extra   extraConfirmation
	orderID orders.ID
}

// extraConfirmation is where the question "in addition?" stands.
type extraConfirmation int

const (
	extraUnasked   extraConfirmation = iota
	extraOffered                     // a second button says yes
	extraConfirmed                   // the form says yes
)

// formAlert is what is said above a form that was sent and not taken.
type formAlert struct {
	Title    string
	Lines    []string
	Problems []fieldProblem // links to the fields
}

// formData is the order page as its template sees it.
type formData struct {
	Title            string // of the page
	Kind             string
	Alert            *formAlert
	Fields           []filledField
	Country          string
	CountryProblem   string // what is wrong with the country
	Quantity         string
	Quantities       []int  // to choose from; none = not to be chosen, or to be typed
	AskQuantity      bool   // whether to ask for a quantity
	QuantityProblem  string // what is wrong with it
	Hidden           []formValue
	OfferExtra       bool
	Button           string
	Typed            []formValue  // where there is no form
	Total            *orderTotal  // for the country and the quantity, if there are
	TotalsByQuantity []orderTotal // for the country, by quantity, if one may have several
	TotalsInList     bool         // the list of countries says the totals, and no table does
	NotDelivered     bool         // the country is one that nothing is sent to
}

// filledField is a field with what stands in it.
type filledField struct {
	personField
	Value   string
	Problem string // what is wrong with it
}

// What is wrong with a choice.
const countryProblem = "Please choose a country from the list: this shop delivers to no other."

func quantityProblem(most int) string {
	if most == 1 {
		return "One person can have one: please write 1."
	}
	return "Please write a whole number from 1 to " + groupDigits(strconv.Itoa(most)) + "."
}

// alertForProblems is what is said above a form with faults, in the order of its fields.
func alertForProblems(f *form) *formAlert {
	y := &formAlert{Title: "Nothing was sent yet: please mend what is marked", Problems: slices.Clone(f.problems)}
	place := func(x fieldProblem) int {
		if x.Field == "country" {
			return len(personFields())
		}
		// -1: the quantity, which comes first, and what is in no field that shows.
		return slices.IndexFunc(personFields(), func(e personField) bool { return e.Name == x.Field })
	}
	slices.SortStableFunc(y.Problems, func(a, b fieldProblem) int { return place(a) - place(b) })
	if len(f.problems) == 1 {
		y.Title = "Nothing was sent yet: please mend one thing"
	}
	return y
}

// formHeading and button say what a form is for.
func formHeading(takes, name string) string {
	switch takes {
	case formEntry:
		return "Enter the ballot: " + name
	case formInterest:
		return "Register your interest: " + name
	case formWaiting:
		return "Join the waiting list: " + name
	}
	return "Order: " + name
}

func buttonText(takes string) string {
	switch takes {
	case formEntry:
		return "Enter the ballot"
	case formInterest:
		return "Register my interest"
	case formWaiting:
		return "Join the waiting list"
	}
	return "Place the order"
}

// renderOrder makes the order page.
func (s *Shop) renderOrder(c *snapshot, o *productSale, fill *formState) ([]byte, error) {
	f := fill.form
	v := s.newTemplateData(c)
	v.Sale = o
	v.CanonicalPath = o.OrderPath
	v.Form = &formData{
		Title:           formHeading(fill.kind, o.Name),
		Kind:            fill.kind,
		Alert:           fill.alert,
		Country:         f.get("country"),
		CountryProblem:  f.problemWith("country"),
		Quantity:        f.get("quantity"),
		QuantityProblem: f.problemWith("quantity"),
		OfferExtra:      fill.extra == extraOffered,
		Button:          buttonText(fill.kind),
	}
	v.Title = v.Form.Title
	if fill.alert != nil && len(fill.alert.Problems) > 0 {
		v.Title = "Not sent yet · " + v.Title
	}
	s.addTotals(v.Form, o)
	v.Form.TotalsInList = fill.alert != nil && v.Form.Total == nil
	for _, e := range personFields() {
		value := f.get(e.Name)
		v.Form.Fields = append(v.Form.Fields, filledField{personField: e, Value: value, Problem: f.problemWith(e.Name)})
		if fill.kind == "" && value != "" {
			v.Form.Typed = append(v.Form.Typed, formValue{e.Label, value})
		}
	}
	if to := v.Form.Total; to != nil && len(v.Form.Typed) > 0 {
		v.Form.Typed = append(v.Form.Typed, formValue{"Country", to.Name})
	}
	if fill.kind != "" {
		v.Form.addHiddenValues(o, fill)
	}
	return s.executeTemplate("order", v)
}

// addTotals adds up what can be added up, and offers the quantities.
func (s *Shop) addTotals(v *formData, o *productSale) {
	quantity, ok := readQuantity(v.Quantity, o.PerPerson)
	if !ok {
		quantity = 1
	}
	if v.Quantity == "" {
		v.Quantity = "1"
	}
	if t, ok := s.totalFor(o, v.Country, quantity); ok {
		v.Total = &t
	}
	v.NotDelivered = v.Country == otherCountry
	v.AskQuantity = o.PerPerson > 1 || v.QuantityProblem != ""
	if o.PerPerson == 1 || o.PerPerson > maxChoices {
		return
	}
	for n := range o.PerPerson {
		if v.QuantityProblem == "" { // else it is typed, so that what was typed can stand there
			v.Quantities = append(v.Quantities, n+1)
		}
		if t, ok := s.totalFor(o, v.Country, n+1); ok {
			v.TotalsByQuantity = append(v.TotalsByQuantity, t)
		}
	}
}

// maxChoices bounds the quantities that a page gives the total for and lets choose from; a
// larger one is typed.
const maxChoices = 10

// addHiddenValues enters what the page tells itself: what was asked for, and which totals the person
// has seen (see seen).
func (v *formData) addHiddenValues(o *productSale, fill *formState) {
	v.Hidden = []formValue{{"kind", fill.kind}, {"prices", o.pricesMark()}}
	if v.Total != nil {
		v.Hidden = append(v.Hidden, formValue{"agreed", v.Total.formMark()})
	}
	if len(v.TotalsByQuantity) > 0 {
		v.Hidden = append(v.Hidden, formValue{"shown", v.Country})
	}
	if fill.extra != extraUnasked {
		v.Hidden = append(v.Hidden, formValue{"id", fill.orderID.String()})
	}
	if fill.extra == extraConfirmed {
		v.Hidden = append(v.Hidden, formValue{"more", "yes"})
	}
}

// formMark is a total as a form repeats it.
func (t *orderTotal) formMark() string {
	return fmt.Sprint(t.Country, " ", t.Quantity, " ", t.Total.Minor)
}

// hasShown reports whether the page that the form was on has shown this total: as the one
// added up, among those of the country, or as the one for one unit in the list of
// countries. What it has not shown is asked about before it is owed.
func (f *form) hasShown(o *productSale, t *orderTotal) bool {
	if f.get("agreed") == t.formMark() {
		return true
	}
	return f.get("prices") == o.pricesMark() &&
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

// formFieldLimits are the fields of the order page's form and the bytes that each takes.
func formFieldLimits() map[string]int {
	limits := map[string]int{"country": maxHiddenValue, "quantity": maxHiddenValue, "kind": maxHiddenValue, "prices": maxHiddenValue,
		"shown": maxHiddenValue, "agreed": maxHiddenValue, "more": maxHiddenValue, "id": maxHiddenValue}
	for _, e := range personFields() {
		limits[e.Name] = e.MaxBytes
	}
	return limits
}

// parseOrder reads what the form asks for, and blames the fields that cannot be right.
func (f *form) parseOrder(s *Shop, o *productSale) (a orders.PlaceOrder) {
	a.Product = o.Slug
	var ok bool
	if a.Kind, ok = orderKind(f.get("kind")); !ok {
		f.addProblem("kind", "This form does not say what it is for. The one below does: please send it.")
	}
	if f.get("quantity") == "" {
		f.values["quantity"] = "1" // the page does not ask where there is no choice
	}
	if a.Quantity, ok = readQuantity(f.get("quantity"), o.PerPerson); !ok {
		f.addProblem("quantity", quantityProblem(o.PerPerson))
	}
	f.values["country"] = strings.ToUpper(f.get("country"))
	f.checkPerson()
	a.Person = f.personFromForm()
	if _, ok := s.totalFor(o, f.get("country"), 1); !ok {
		f.addProblem("country", countryProblem)
	}
	if f.get("more") != "" {
		a.More = true
		id, err := orders.ParseID(f.get("id"))
		if err != nil {
			f.addProblem("more", "This form does not say which paper it would be. Please send it again.")
		}
		a.ID = id
	}
	return a
}

// rejection is the code of a reply to a form with complaints, and what is said above it.
func (f *form) rejection() (int, *formAlert) {
	y := alertForProblems(f)
	switch f.statusCode() {
	case http.StatusRequestEntityTooLarge:
		y.Title = "Nothing was sent yet: that was too much text"
		y.Lines = []string{fmt.Sprintf("The whole form may have %d KB. What fits is kept below: please look it over and send it again.", maxFormBytes>>10)}
	case http.StatusBadRequest:
		if f.err != nil {
			y.Title = "Nothing was sent yet: the form did not arrive as it should"
			y.Lines = []string{"What did arrive is kept below: please look it over and send it again."}
		}
	}
	return f.statusCode(), y
}
