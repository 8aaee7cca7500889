package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParseSentFile(t *testing.T) {
	for text, want := range map[string][]sentOrder{
		"K7QM-2XD9-5VB\nAAAA-BBBB-CCC\n":                         {{"K7QM-2XD9-5VB", "note"}, {"AAAA-BBBB-CCC", "note"}},
		"K7QM-2XD9-5VB,DHL 1\r\n":                                {{"K7QM-2XD9-5VB", "DHL 1"}},
		"\ufeffreference,number,tracking\r\nK7QM-2XD9-5VB,1,'=2": {{"K7QM-2XD9-5VB", "=2"}},
		"number,reference\n1, K7QM-2XD9-5VB \n":                  {{"K7QM-2XD9-5VB", "note"}},
		"\"K7QM-2XD9-5VB\",\"a \"\"b\"\", c\"":                   {{"K7QM-2XD9-5VB", `a "b", c`}},
	} {
		if got, err := parseSentFile(strings.NewReader(text), "note"); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"reference;tracking\na;\"DHL, 1\"\n", "reference\ttracking\na\tDHL, 1\n", "\ufeff\"reference\",tracking\na,\"DHL, 1\"\n", "a;DHL, 1"} {
		if got, err := parseSentFile(strings.NewReader(text), ""); err != nil || !slices.Equal(got, []sentOrder{{"a", "DHL, 1"}}) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":               "it names no order",
		"reference\n":    "it names no order",
		"a\n,b\n":        "line 2 has no reference",
		"\"a":            "not CSV",
		"x,reference\na": "line 2 has no reference",
	} {
		if _, err := parseSentFile(strings.NewReader(text), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Every file is read or refused: no order is named that has no reference.
func FuzzParseSentFile(f *testing.F) {
	f.Add("K7QM-2XD9-5VB,DHL 1\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseSentFile(strings.NewReader(text), "note")
		if err == nil && len(list) == 0 {
			t.Error("neither an order nor an error")
		}
		for _, sent := range list {
			if strings.TrimSpace(sent.reference) == "" {
				t.Errorf("an order without a reference in %q", text)
			}
		}
	})
}
