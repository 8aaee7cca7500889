package orderservice

import (
	"bytes"
	"encoding/csv"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"unicode/utf8"
)

// A spreadsheet runs a cell that begins like a formula, and it may begin a cell at any
// separator.
func TestGuardCell(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "Ada": "Ada", "'t Hooft": "'t Hooft", "1-2": "1-2", "ada@buyer.example": "ada@buyer.example",
		"O'Neil; Flat 2": "O'Neil; Flat 2", "1 High Street, Flat 3": "1 High Street, Flat 3",
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\tx": "'\tx", "\rx": "'\rx",
		"＝1": "'＝1", "＋1": "'＋1", "－1": "'－1", "＠x": "'＠x",
		"Ada;=1+1": "Ada;'=1+1", "Ada; =1": "Ada; '=1", `Ada;"=1`: `Ada;"'=1`, "Ada|=1": "Ada|'=1", "Ada,＝1": "Ada,'＝1", "a\n=1": "a\n'=1",
		" =1": " '=1", `"=1`: `"'=1`, "'=1": "''=1", "\t=1": "'\t'=1", ";=;=": ";'=;'=",
	} {
		if got := GuardCell(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if back := ParseCell(GuardCell(text)); back != text {
			t.Errorf("%q comes back as %q", text, back)
		}
	}
}

// Whatever a buyer writes comes back exactly, and begins no formula at any separator.
func FuzzGuardCell(f *testing.F) {
	f.Add("Ada")
	formula := regexp.MustCompile("(?:^|[,;|\t\r\n])[ \u00a0\u3000\"]*[=+\\-@＝＋－＠]")
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			t.Skip("the order book holds valid UTF-8 only")
		}
		cell := GuardCell(text)
		if back := ParseCell(cell); back != text {
			t.Errorf("%q comes back as %q", text, back)
		}
		if found := formula.FindString(cell); found != "" {
			t.Errorf("%q: the cell %q begins a formula with %q", text, cell, found)
		}
	})
}

// A row that was written as CSV is read back exactly as the guide says: by RFC 4180, then
// ParseCell.
func TestRowsComeBack(t *testing.T) {
	amount := func(minor int64, currency string) string { return currency + strconv.FormatInt(minor, 10) }
	o := OrderJSON{Name: `=HYPERLINK("http://evil.example")`, City: "+1", Line1: "a;=2", Line2: `say "no", please`, Note: "plain", Total: 5, Currency: "GBP"}
	if len(o.Row(amount)) != len(Columns()) {
		t.Fatal("a column without a name, or a name without a column")
	}
	var file bytes.Buffer
	w := csv.NewWriter(&file)
	w.UseCRLF = true
	if err := w.Write(o.Row(amount)); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	row, err := csv.NewReader(&file).Read()
	if err != nil {
		t.Fatal(err)
	}
	for i := range row {
		row[i] = ParseCell(row[i])
	}
	if want := o.Cells(amount); !slices.Equal(row, want) {
		t.Errorf("%q comes back as %q", want, row)
	}
}
