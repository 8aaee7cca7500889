package shop

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"bramble/node/orders"
)

// personField is a field that a person fills in.
type personField struct {
	Name         string // in the form
	Label        string
	Hint         string // after the label
	Autocomplete string // the autocomplete attribute: browsers fill in what they know
	InputMode    string // the inputmode attribute: phones show the keyboard for it
	MaxBytes     int    // bytes in UTF-8, as the order book counts
	Optional     bool
	IfEmpty      string // what to say if it is
}

// personFields are the fields of a person, in the order of the form. Every kind of form has
// them all: the order book tells people apart by them, and who waits or wins need not be
// asked again. There is no type="email": browsers then rewrite an internationalised
// domain, and refuse an internationalised mailbox.
func personFields() []personField {
	return []personField{
		{Name: "name", Label: "Your name", Autocomplete: "name", MaxBytes: orders.MaxName, IfEmpty: "Please write your name."},
		{Name: "email", Label: "E-mail", Autocomplete: "email", InputMode: "email", MaxBytes: orders.MaxEmail, IfEmpty: "Please write your e-mail address."},
		{Name: "line1", Label: "Address", Hint: "street and number", Autocomplete: "address-line1", MaxBytes: orders.MaxLine, IfEmpty: "Please write your street and number."},
		{Name: "line2", Label: "Second line", Hint: "if you need it", Autocomplete: "address-line2", MaxBytes: orders.MaxLine, Optional: true},
		{Name: "postcode", Label: "Postcode", Hint: "if your country has them", Autocomplete: "postal-code", MaxBytes: orders.MaxPostcode, Optional: true},
		{Name: "city", Label: "Town", Autocomplete: "address-level2", MaxBytes: orders.MaxCity, IfEmpty: "Please write the town."},
	}
}

// personFromForm is what the form says, for the order book.
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

// checkPerson blames the fields of a person that cannot be right.
func (f *form) checkPerson() {
	for _, e := range personFields() {
		switch value := f.get(e.Name); {
		case value == "" && !e.Optional:
			f.addProblem(e.Name, e.IfEmpty)
		case value != "" && !strings.ContainsFunc(value, isVisible):
			f.addProblem(e.Name, "There is nothing to read in this.")
		case e.Name == "email" && strings.ContainsFunc(value, isInvisible):
			// It cannot be found by looking, so it is not left for the person to find.
			f.values[e.Name] = strings.Map(dropInvisible, value)
			f.addProblem(e.Name, "There was an invisible character in this e-mail address. It was left out: please look it over.")
		case e.Name == "email" && value != "":
			f.values[e.Name] = domainToUnicode(value)
			if wrong := checkEmail(value); wrong != "" {
				f.addProblem(e.Name, wrong)
			}
		}
	}
	// The order book has the last word, should it ever be stricter than this page.
	if wrong, ok := errors.AsType[*orders.FieldError](f.personFromForm().Check()); ok && wrong.Field != "Country" && len(f.problems) == 0 {
		f.addProblem(strings.ToLower(wrong.Field), "The order book does not take this: it "+wrong.Reason+".")
	}
}

// maxMailbox is the most bytes before the @ of an e-mail address (RFC 5321, section
// 4.5.3.1.1).
const maxMailbox = 64

// isVisible reports whether a character leaves ink, so that a name is not all joiners.
func isVisible(r rune) bool { return !unicode.IsSpace(r) && !unicode.Is(unicode.Cf, r) }

// isInvisible reports whether a character leaves nothing to be seen where it stands: joiners,
// marks of direction, soft hyphens, variation selectors and their kin.
func isInvisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// domainToUnicode writes an e-mail address's domain in its own script if it was typed in its
// ASCII form (xn--), because the order book would take the two for two people. What does
// not turn back into the same ASCII stays as it is: mail must still arrive.
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

// dropInvisible drops what unseen finds.
func dropInvisible(r rune) rune {
	if isInvisible(r) {
		return -1
	}
	return r
}

// checkEmail says what is wrong with an e-mail address, "" if nothing is. It looks for
// slips of the finger and for nothing else: whether mail arrives no rule can say, and
// rules that try to refuse addresses that work.
func checkEmail(s string) string {
	name, domain, ok := strings.Cut(s, "@")
	switch {
	case !ok:
		return "There is no @ in this e-mail address."
	case strings.Contains(domain, "@"):
		return "There is more than one @ in this e-mail address. Please write one address."
	case strings.ContainsFunc(s, unicode.IsSpace):
		return "There is a blank in this e-mail address."
	case strings.ContainsAny(s, "<>()[]\",;:\\"):
		return "There is a sign in this that an e-mail address does not have: please write only the address, such as ada@example.org."
	case name == "":
		return "There is nothing before the @ of this e-mail address."
	case domain == "":
		return "There is nothing after the @ of this e-mail address."
	case !strings.Contains(strings.Trim(domain, "."), "."):
		return "There is no dot after the @ of this e-mail address: did the end of it get lost?"
	case strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(s, ".."):
		return "There is a dot too many in this e-mail address."
	case strings.ContainsFunc(domain, isNotDomainRune):
		return "There is a sign after the @ of this e-mail address that no domain has."
	case len(s) > orders.MaxEmail || len(name) > maxMailbox:
		return "This is longer than an e-mail address can be."
	}
	return ""
}

// isNotDomainRune finds what no domain has, internationalised or not: of ASCII, anything but
// letters, digits, dashes and dots.
func isNotDomainRune(r rune) bool {
	return r < utf8.RuneSelf && r != '-' && r != '.' &&
		!(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
}
