package orderservice

import (
	"strconv"
	"strings"
	"time"
)

// Columns returns the names of the cells of an order, in the order of Cells and Row.
func Columns() []string {
	return []string{
		"reference", "number", "kind", "product", "quantity", "total", "currency", "state", "made", "changed",
		"name", "email", "line1", "line2", "city", "postcode", "country", "note",
		"net", "tax", "tax_percent", "same_address",
	}
}

// Cells returns the order as text. amount writes minor units of a currency as a decimal.
func (o OrderJSON) Cells(amount func(minor int64, currency string) string) []string {
	cells := []string{
		o.Reference, strconv.FormatUint(o.Number, 10), o.Kind, o.Product, strconv.Itoa(o.Quantity),
		amount(o.Total, o.Currency), o.Currency, o.State, o.Made.Format(time.RFC3339), o.Changed.Format(time.RFC3339),
		o.Name, o.Email, o.Line1, o.Line2, o.City, o.Postcode, o.Country, o.Note,
	}
	if o.Tax == nil {
		return append(cells, "", "", "", o.SameAddress)
	}
	return append(cells, amount(o.Tax.Net, o.Currency), amount(o.Tax.Amount, o.Currency), o.Tax.Percent, o.SameAddress)
}

// Row returns Cells for a CSV file. Buyers wrote some of them: GuardCell makes them safe.
func (o OrderJSON) Row(amount func(minor int64, currency string) string) []string {
	cells := o.Cells(amount)
	for i, text := range cells {
		cells[i] = GuardCell(text)
	}
	return cells
}

// GuardCell returns a text as a cell of a CSV file that no spreadsheet runs as a formula. It
// puts an apostrophe before each sign that begins a formula, at the beginning of the text
// and after each separator in it, because a spreadsheet that is set to another separator
// (such as ";") begins a new cell there. Blanks, quotes and apostrophes in between do not
// count. ParseCell is its exact inverse.
func GuardCell(text string) string {
	var b strings.Builder
	atStart := true // a spreadsheet may see the beginning of a cell here
	for _, r := range text {
		if atStart && beginsFormula(r) {
			b.WriteByte('\'')
		}
		b.WriteRune(r)
		atStart = staysAtStart(atStart, r)
	}
	return b.String()
}

// ParseCell returns the text that GuardCell made a cell of: it removes each apostrophe
// that stands directly before a sign that would begin a formula there.
func ParseCell(cell string) string {
	var b strings.Builder
	atStart := true
	runes := []rune(cell)
	for i, r := range runes {
		if atStart && r == '\'' && i+1 < len(runes) && beginsFormula(runes[i+1]) {
			continue
		}
		b.WriteRune(r)
		atStart = staysAtStart(atStart, r)
	}
	return b.String()
}

// beginsFormula reports whether a spreadsheet may take a cell with this first character
// for a formula. The full-width signs count, because some spreadsheets convert them.
func beginsFormula(r rune) bool { return strings.ContainsRune("=+-@\t\r\n＝＋－＠", r) }

// staysAtStart reports whether a cell may begin after r; atStart is whether one may begin
// before it.
func staysAtStart(atStart bool, r rune) bool {
	return strings.ContainsRune(",;|\t\r\n", r) || atStart && strings.ContainsRune(" \u00a0\u3000'\"", r)
}
