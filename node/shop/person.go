package shop

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/runes"

	"bramble/node/orders"
)

// personField is a field of the form about the person.
type personField struct {
	Name         string // name in the form
	Label        string
	Hint         string // after the label
	Autocomplete string // the autocomplete attribute: browsers fill in known values
	InputMode    string // the inputmode attribute: phones show a matching keyboard
	MaxBytes     int    // limit in bytes of UTF-8, as the order book counts
	Optional     bool
	IfEmpty      string // the problem if it is empty
}

// personFields returns the fields about the person, in the order of the form. Every kind of
// form has them all: the order book distinguishes people by them, and a person who waits or
// wins need not fill in another form. None has type="email": browsers would rewrite an
// internationalised domain and refuse an internationalised mailbox.
func personFields() []personField {
	return []personField{
		{Name: "name", Label: "Your name", Autocomplete: "name", MaxBytes: orders.MaxName, IfEmpty: "Please enter your name."},
		{Name: "email", Label: "E-mail", Autocomplete: "email", InputMode: "email", MaxBytes: orders.MaxEmail, IfEmpty: "Please enter your e-mail address."},
		{Name: "line1", Label: "Address", Hint: "street and number", Autocomplete: "address-line1", MaxBytes: orders.MaxLine, IfEmpty: "Please enter your street and number."},
		{Name: "line2", Label: "Second line", Hint: "if you need it", Autocomplete: "address-line2", MaxBytes: orders.MaxLine, Optional: true},
		{Name: "postcode", Label: "Postcode", Hint: "if you have one", Autocomplete: "postal-code", MaxBytes: orders.MaxPostcode, Optional: true},
		{Name: "city", Label: "Town", Autocomplete: "address-level2", MaxBytes: orders.MaxCity, IfEmpty: "Please enter your town."},
	}
}

func (f *form) personFromForm() orders.Person {
	return orders.Person{
		Name:     f.get("name"),
		Email:    f.get("email"),
		Line1:    f.get("line1"),
		Line2:    f.get("line2"),
		City:     f.get("city"),
		Postcode: f.get("postcode"),
		Country:  f.get("country"),
	}
}

func (f *form) checkPerson() {
	for _, field := range personFields() {
		switch value := f.get(field.Name); {
		case value == "" && !field.Optional:
			f.addProblem(field.Name, field.IfEmpty)
		case value != "" && !strings.ContainsFunc(value, isVisible):
			f.addProblem(field.Name, "This contains nothing readable.")
		case field.Name == "email" && strings.ContainsFunc(value, isInvisible):
			// The person cannot see it, so the shop removes it.
			f.values[field.Name] = runes.Remove(runes.Predicate(isInvisible)).String(value)
			f.addProblem(field.Name, "This e-mail address contained an invisible character. It was removed: please check the address.")
		case field.Name == "email" && value != "":
			f.values[field.Name] = domainToUnicode(value)
			if problem := checkEmail(value); problem != "" {
				f.addProblem(field.Name, problem)
			}
		}
	}
	// The order book may be stricter than this page.
	if fieldErr, ok := errors.AsType[*orders.FieldError](f.personFromForm().Check()); ok && fieldErr.Field != "Country" && len(f.problems) == 0 {
		f.addProblem(strings.ToLower(fieldErr.Field), "The shop does not accept this: it "+fieldErr.Reason+".")
	}
}

// maxMailbox limits the part before the @ of an e-mail address, in bytes (RFC 5321, section
// 4.5.3.1.1).
const maxMailbox = 64

// isVisible reports whether a character shows: a name must not consist of joiners.
func isVisible(r rune) bool { return !unicode.IsSpace(r) && !unicode.Is(unicode.Cf, r) }

// isInvisible reports whether a character shows nothing: joiners, direction marks, soft
// hyphens, variation selectors and the like.
func isInvisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// domainToUnicode converts an e-mail address's domain from its ASCII form (xn--) into its own
// script, because the order book would count the two forms as two people. A domain that does
// not convert back into the same ASCII stays as it is: mail must still arrive.
func domainToUnicode(email string) string {
	local, domain, _ := strings.Cut(email, "@")
	typed := strings.ToLower(domain)
	if !strings.Contains(typed, "xn--") {
		return email
	}
	own, err := idna.Punycode.ToUnicode(typed)
	if err != nil {
		return email
	}
	if back, err := idna.Lookup.ToASCII(own); err != nil || back != typed {
		return email
	}
	return local + "@" + own
}

// checkEmail returns the problem with an e-mail address; "" if there is none. It only
// finds typing errors: no rule can decide whether mail arrives, and rules that try reject
// addresses that work.
func checkEmail(s string) string {
	name, domain, ok := strings.Cut(s, "@")
	switch {
	case !ok:
		return "There is no @ in this e-mail address."
	case strings.Contains(domain, "@"):
		return "There is more than one @ in this e-mail address. Please enter one address."
	case strings.ContainsFunc(s, unicode.IsSpace):
		return "There is a space in this e-mail address."
	case strings.ContainsAny(s, "<>()[]\",;:\\"):
		return "There is a character here that e-mail addresses do not have: please enter only the address, such as ada@example.org."
	case name == "":
		return "There is nothing before the @ of this e-mail address."
	case domain == "":
		return "There is nothing after the @ of this e-mail address."
	case !strings.Contains(strings.Trim(domain, "."), "."):
		return "There is no dot after the @ of this e-mail address: is its end missing?"
	case strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(s, ".."):
		return "There is one dot too many in this e-mail address."
	case strings.ContainsFunc(domain, isNotDomainRune):
		return "There is a character after the @ of this e-mail address that no domain has."
	case len(s) > orders.MaxEmail || len(name) > maxMailbox:
		return "This is longer than an e-mail address can be."
	}
	return ""
}

// isNotDomainRune reports whether no domain, internationalised or not, has the character: in
// ASCII, every character but letters, digits, dashes and dots.
func isNotDomainRune(r rune) bool {
	return r < utf8.RuneSelf && r != '-' && r != '.' &&
		!(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
}
