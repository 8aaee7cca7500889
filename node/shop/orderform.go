package shop

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"bramble/node/orders"
)

// formContent is the content of the order page's form: the typed values and the alert above.
type formContent struct {
	form       *form
	kind       string     // the kind of form to show; "" = none, the typed values are listed instead
	alert      *formAlert // nil on a page without a submitted form
	inAddition inAdditionAnswer
	// unsure: the form was sent before, and its outcome is not known.
	unsure bool
	link   *mailedLink // of a form behind one; nil on the public page
	// again: orders are paused, and a button sends the typed values once they go on.
	again bool
}

// inAdditionAnswer is whether the form offers an order in addition to the person's earlier
// one, and whether the person has confirmed it.
type inAdditionAnswer int

const (
	inAdditionNotOffered inAdditionAnswer = iota
	inAdditionOffered                     // a second button confirms it
	inAdditionConfirmed                   // the form confirms it
)

// formAlert is the text above a form that was sent and not accepted.
type formAlert struct {
	Title    string
	Lines    []string
	Receipt  string         // its path; "" = no link
	Problems []fieldProblem // links to the fields
}

func (c *formContent) showAlert(title string, lines ...string) {
	c.alert = &formAlert{Title: title, Lines: lines}
}

type formData struct {
	Link             *mailedLink
	Title            string // of the page
	Kind             string
	Alert            *formAlert
	Fields           []filledField
	Country          string
	CountryProblem   string
	Quantity         string
	Quantities       []int // to choose from; none = only one is possible, or it is typed
	AskQuantity      bool
	QuantityProblem  string
	Hidden           []formValue
	OfferInAddition  bool
	Button           string
	Typed            []formValue  // without a form: the typed values
	Again            []formValue  // without a form: the hidden fields of a button that sends the typed values again
	Total            *orderTotal  // for the country and the quantity, if both are known
	TotalsByQuantity []orderTotal // for the country, if one person may have several
	TotalsInList     bool         // the list of countries has the totals, and no table does
	NotDelivered     bool         // the shop does not deliver to the country
}

type filledField struct {
	personField
	Value   string
	Problem string
}

// countryProblem is the text beside a country that the shop does not deliver to.
const countryProblem = "Please choose a country from the list: this shop delivers to no other."

// quantityProblem returns the text beside a quantity that is not possible.
func quantityProblem(most int) string {
	if most == 1 {
		return "One person can have one: please enter 1."
	}
	return "Please enter a whole number from 1 to " + groupDigits(strconv.Itoa(most)) + "."
}

// alertForProblems returns the alert above a form with problems, in the order of its fields.
func alertForProblems(f *form) *formAlert {
	alert := &formAlert{Title: "Not sent yet: please correct the marked fields", Problems: slices.Clone(f.problems)}
	position := func(p fieldProblem) int {
		if p.Field == "country" {
			return len(personFields())
		}
		// -1: the quantity, which comes first, and anything without a visible field.
		return slices.IndexFunc(personFields(), func(field personField) bool { return field.Name == p.Field })
	}
	slices.SortStableFunc(alert.Problems, func(a, b fieldProblem) int { return position(a) - position(b) })
	if len(f.problems) == 1 {
		alert.Title = "Not sent yet: please correct one field"
	}
	return alert
}

// formTexts returns the heading of a kind of form, and the text of the button that sends it.
func formTexts(kind string) (heading, button string) {
	switch kind {
	case formEntry:
		return "Enter the ballot", "Enter the ballot"
	case formInterest:
		return "Register your interest", "Register my interest"
	case formWaiting:
		return "Join the waiting list", "Join the waiting list"
	}
	return "Order", "Place the order"
}

func (s *Shop) renderOrder(state *pageState, sale *productSale, content *formContent) ([]byte, error) {
	f := content.form
	data := s.newTemplateData(state)
	data.Sale = sale
	data.CanonicalPath = sale.OrderPath
	heading, button := formTexts(content.kind)
	data.Form = &formData{
		Title:           heading + ": " + sale.Name,
		Link:            content.link,
		Kind:            content.kind,
		Alert:           content.alert,
		Country:         f.get("country"),
		CountryProblem:  f.problemWith("country"),
		Quantity:        f.get("quantity"),
		QuantityProblem: f.problemWith("quantity"),
		OfferInAddition: content.inAddition == inAdditionOffered,
		Button:          button,
	}
	if content.link != nil {
		data.Form.Title = "Is this from you?"
	}
	data.Title = data.Form.Title
	if content.alert != nil && len(content.alert.Problems) > 0 {
		data.Title = "Not sent yet · " + data.Title
	}
	s.addTotals(data.Form, sale)
	data.Form.TotalsInList = content.alert != nil && data.Form.Total == nil
	for _, field := range personFields() {
		value := f.get(field.Name)
		data.Form.Fields = append(data.Form.Fields, filledField{personField: field, Value: value, Problem: f.problemWith(field.Name)})
		if content.kind == "" && value != "" {
			data.Form.Typed = append(data.Form.Typed, formValue{field.Label, value})
		}
	}
	if to := data.Form.Total; to != nil && len(data.Form.Typed) > 0 {
		data.Form.Typed = append(data.Form.Typed, formValue{"Country", to.Name})
	}
	switch {
	case content.kind != "":
		data.Form.addHiddenValues(sale, content)
	case content.again:
		data.Form.Again = content.againValues()
	}
	if content.alert == nil && sale.Hold != "" && sale.Hold != holdRefused {
		data.RefreshSeconds = int(refreshInterval / time.Second)
	}
	return s.executeTemplate("order", data)
}

// addTotals adds the totals that are known, and the quantities to choose from.
func (s *Shop) addTotals(data *formData, sale *productSale) {
	quantity, ok := readQuantity(data.Quantity, sale.PerPerson)
	if !ok {
		quantity = 1
	}
	if data.Quantity == "" {
		data.Quantity = "1"
	}
	if total, ok := s.totalFor(sale, data.Country, quantity); ok {
		data.Total = &total
	}
	data.NotDelivered = data.Country == otherCountry
	data.AskQuantity = sale.PerPerson > 1 || data.QuantityProblem != ""
	if sale.PerPerson == 1 || sale.PerPerson > maxChoices {
		return
	}
	for n := range sale.PerPerson {
		if data.QuantityProblem == "" { // otherwise it is an input with the typed value
			data.Quantities = append(data.Quantities, n+1)
		}
		if total, ok := s.totalFor(sale, data.Country, n+1); ok {
			data.TotalsByQuantity = append(data.TotalsByQuantity, total)
		}
	}
}

// refreshInterval is the interval at which a browser loads an order page again that has no form
// because orders are paused. With 10,000 browsers that is 500 hits per second, and a page
// without a form has nothing that a reload could lose.
const refreshInterval = 20 * time.Second

// againValues returns everything that was posted, and whether its outcome is not known.
func (c *formContent) againValues() []formValue {
	var list []formValue
	for _, name := range slices.Sorted(maps.Keys(c.form.values)) {
		if value := c.form.values[name]; value != "" && name != "unsure" && name != "sure" {
			list = append(list, formValue{name, value})
		}
	}
	if c.unsure {
		list = append(list, formValue{"unsure", "yes"})
	}
	return list
}

// maxChoices limits the quantities that a page lists with their totals; a larger one is typed.
const maxChoices = 10

// addHiddenValues adds the form's hidden fields: the kind of form, and the totals that the
// person has seen (see personHasSeen).
func (data *formData) addHiddenValues(sale *productSale, content *formContent) {
	data.Hidden = []formValue{{"kind", content.kind}, {"prices", sale.pricesHash()}, {"token", content.form.get("token")}}
	if data.Total != nil {
		data.Hidden = append(data.Hidden, formValue{"agreed", data.Total.formText()})
	}
	if len(data.TotalsByQuantity) > 0 {
		data.Hidden = append(data.Hidden, formValue{"shown", data.Country})
	}
	if content.unsure {
		data.Hidden = append(data.Hidden, formValue{"unsure", "yes"})
	}
	if content.inAddition == inAdditionConfirmed {
		data.Hidden = append(data.Hidden, formValue{"more", "yes"})
	}
}

// formText returns a total as the form's hidden field "agreed" holds it.
func (t *orderTotal) formText() string {
	return fmt.Sprint(t.Country, " ", t.Quantity, " ", t.Total.Minor)
}

// personHasSeen reports whether the form's page has shown this total: as its own total, among
// those of the country, or as the one for one unit in the list of countries. The person
// confirms a total that was not shown before owing it.
func (f *form) personHasSeen(sale *productSale, total *orderTotal) bool {
	if f.get("agreed") == total.formText() {
		return true
	}
	return f.get("prices") == sale.pricesHash() &&
		(total.Quantity == 1 || f.get("shown") == total.Country && total.Quantity <= maxChoices)
}

// readQuantity parses a quantity strictly: a whole number from 1 to most, in plain digits.
func readQuantity(text string, most int) (n int, ok bool) {
	if text == "" || len(text) > 4 || !allDigits(text) {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= most
}

// formFieldLimits returns the fields of the order page's form with their limits in bytes.
func formFieldLimits() map[string]int {
	limits := map[string]int{"country": maxHiddenValue, "quantity": maxHiddenValue, "kind": maxHiddenValue, "prices": maxHiddenValue,
		"shown": maxHiddenValue, "agreed": maxHiddenValue, "more": maxHiddenValue, "token": maxHiddenValue, "unsure": maxHiddenValue, "sure": maxHiddenValue}
	for _, field := range personFields() {
		limits[field.Name] = field.MaxBytes
	}
	return limits
}

// parseOrder returns the order of a form, and adds the problems of its fields.
func (f *form) parseOrder(s *Shop, sale *productSale) (order orders.PlaceOrder) {
	order.Product = sale.Slug
	var ok bool
	var err error
	if order.Kind, err = orders.ParseKind(f.get("kind")); err != nil {
		f.addProblem("kind", "This form does not say what it is for. The one below does: please send it.")
	}
	if f.get("quantity") == "" {
		f.values["quantity"] = "1" // the form has no such field if only one is possible
	}
	if order.Quantity, ok = readQuantity(f.get("quantity"), sale.PerPerson); !ok {
		f.addProblem("quantity", quantityProblem(sale.PerPerson))
	}
	f.values["country"] = strings.ToUpper(f.get("country"))
	f.checkPerson()
	order.Person = f.personFromForm()
	if _, ok := s.totalFor(sale, f.get("country"), 1); !ok {
		f.addProblem("country", countryProblem)
	}
	order.InAddition = f.get("more") != ""
	return order
}

// tokenDigits is the length of a form's token: 128 random bits in hexadecimal digits.
const tokenDigits = 32

// ensureToken reports whether the form has a token, and gives it a new one if not. The order page is the
// same for everybody, because caches store it, so a script on it draws the token in the browser.
func (f *form) ensureToken() bool {
	token := f.get("token")
	if len(token) == tokenDigits && strings.Trim(token, "0123456789abcdef") == "" {
		return true
	}
	f.values["token"] = newToken()
	return false
}

func newToken() string {
	var b [tokenDigits / 2]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// describeProblems returns the status code and the alert for a form with problems.
func (f *form) describeProblems() (int, *formAlert) {
	alert := alertForProblems(f)
	switch f.statusCode() {
	case http.StatusRequestEntityTooLarge:
		alert.Title = "Not sent yet: that was too much text"
		alert.Lines = []string{fmt.Sprintf("The whole form can have %d KB. The part that fits is below: please check it and send it again.", maxFormBytes>>10)}
	case http.StatusBadRequest:
		if f.err != nil {
			alert.Title = "Not sent yet: the form did not arrive in one piece"
			alert.Lines = []string{"The part that arrived is below: please check it and send it again."}
		}
	}
	return f.statusCode(), alert
}
