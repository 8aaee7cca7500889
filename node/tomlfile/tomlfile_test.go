package tomlfile

import (
	"errors"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

const document = `name = "a"
seller = { name = "b", address = [
  "c",
  "d",
] }
[[product]]
Price = "1.00"
[[product]]
price = "2.00"
[[product.row]]
name = "e"
[cards.1a2b.network]
address = "f"
`

func TestIndex(t *testing.T) {
	lines := Index([]byte(document))
	for path, want := range map[string]int{
		"name": 1, "seller": 2, "seller.name": 2, "seller.address": 2, "seller.address.1": 4,
		"product": 6, "product.0": 6, "product.0.Price": 7, "product.0.price": 7,
		"product.1": 8, "product.1.price": 9, "product.1.row": 10, "product.1.row.0": 10, "product.1.row.0.name": 11,
		"cards": 12, "cards.1a2b": 12, "cards.1a2b.network": 12, "cards.1a2b.network.address": 13,
		"nothing": 0, "product.0.name": 0,
	} {
		if got := lines.At(path); got != want {
			t.Errorf("%s is on line %d, want %d", path, got, want)
		}
	}
	for path, want := range map[string]int{"product.1.price": 9, "product.1.slug": 8, "product.7": 6, "nothing": 1, "": 1} {
		if got := lines.Nearest(path); got != want {
			t.Errorf("the line nearest to %q is %d, want %d", path, got, want)
		}
	}
}

func TestIndexOfABrokenDocumentHasWhatComesBefore(t *testing.T) {
	if lines := Index([]byte("[a]\nb = 1\nc = = 2\n")); lines.At("a.b") != 2 {
		t.Errorf("lines are %v", lines)
	}
}

func TestExplain(t *testing.T) {
	for text, want := range map[string]SyntaxError{
		"[a]\nb =\n":                {Line: 2, Key: "b", Remedy: "its value is missing"},
		"b = yes\n":                 {Line: 1, Key: "b", Remedy: "write true or false"},
		"b = 007\n":                 {Line: 1, Key: "b", Remedy: "write the number without a leading zero"},
		"b = \"x\n":                 {Line: 1, Key: "b", Remedy: `the text's closing quote is missing; write "…" on one line`},
		"[a\n":                      {Line: 1, Remedy: "a table's name needs both brackets, such as [name]"},
		"a = 1\na = 2\n":            {Line: 2, Key: "a", Remedy: "it is there twice; remove one of the lines"},
		"b = 1\r\nc = “quoted”\r\n": {Line: 2, Key: "c", Remedy: `write straight quotes, "…"`},
	} {
		var tree map[string]any
		err := toml.Unmarshal([]byte(text), &tree)
		if err == nil {
			t.Errorf("%q is valid", text)
			continue
		}
		got := Explain([]byte(text), err)
		if got.Message == "" {
			t.Errorf("%q: no message", text)
		}
		got.Message, got.Column = "", 0
		if got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
	if got := Explain(nil, errors.New("other")); got != (SyntaxError{Message: "other"}) {
		t.Errorf("an error without a position: %+v", got)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(document))
	f.Fuzz(func(t *testing.T, text []byte) {
		for path, line := range Index(text) {
			if line < 1 {
				t.Errorf("%q is on line %d", path, line)
			}
		}
	})
}
