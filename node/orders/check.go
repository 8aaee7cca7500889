package orders

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"bramble/node/orders/draw"
)

// FieldError names a field of a command that is wrong, and the reason, without its content.
type FieldError struct {
	Field  string // as in the struct, such as "Postcode"
	Reason string
}

// Error returns a sentence without personal data.
func (f *FieldError) Error() string { return f.Field + " " + f.Reason }

// requireField returns a FieldError unless ok. The reason is formatted only then.
func requireField(ok bool, field, reason string, args ...any) error {
	if ok {
		return nil
	}
	return &FieldError{Field: field, Reason: fmt.Sprintf(reason, args...)}
}

// checkText requires valid, NFC-normalised, trimmed UTF-8 of min to max bytes without
// characters that control a terminal or a page: controls, line separators, and overrides of
// the writing direction, which can make a list of names display misleading text.
func checkText(field, s string, min, max int) error {
	switch {
	case len(s) < min:
		return &FieldError{field, "is missing"}
	case len(s) > max:
		return &FieldError{field, fmt.Sprintf("is longer than %d bytes", max)}
	case isPrintableASCII(s):
		return requireField(s == "" || s[0] != ' ' && s[len(s)-1] != ' ', field, "has blanks at its beginning or end")
	case !utf8.ValidString(s):
		return &FieldError{field, "is not valid UTF-8"}
	case !norm.NFC.IsNormalString(s):
		return &FieldError{field, "is not in Unicode's normal form C"}
	case strings.ContainsFunc(s, isControlRune):
		return &FieldError{field, "contains a control character"}
	case strings.TrimSpace(s) != s:
		return &FieldError{field, "has blanks at its beginning or end"}
	}
	return nil
}

// isPrintableASCII reports whether s is printable ASCII, which most fields are.
func isPrintableASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}

func isControlRune(c rune) bool {
	return unicode.Is(unicode.Cc, c) || strings.ContainsRune("\u2028\u2029\ufffd\ufeff", c) ||
		c >= '\u202a' && c <= '\u202e' || c >= '\u2066' && c <= '\u2069'
}

// Check returns the first problem of a command's fields, a *FieldError.
func Check(c Command) error { return c.checkFields() }

// Check returns a *FieldError for a field that is wrong.
func (p Person) Check() error {
	return cmp.Or(
		checkText("Name", p.Name, 1, MaxName),
		checkEmail("Email", p.Email),
		checkText("Line1", p.Line1, 1, MaxLine),
		checkText("Line2", p.Line2, 0, MaxLine),
		checkText("City", p.City, 1, MaxCity),
		checkText("Postcode", p.Postcode, 0, MaxPostcode),
		checkCode("Country", p.Country, 2),
	)
}

// checkEmail requires one address as people type it into a form. Quoted local parts and
// address literals are legal in mail and refused here: only attackers type them.
func checkEmail(field, s string) error {
	if err := checkText(field, s, 3, MaxEmail); err != nil {
		return err
	}
	local, domain, found := strings.Cut(s, "@")
	ok := found && local != "" && len(local) <= 64 && strings.Contains(domain, ".") &&
		!strings.ContainsAny(s, " \"(),:;<>[\\]\u00a0\u3000") && !strings.Contains(domain, "@") &&
		!strings.HasPrefix(domain, ".") && !strings.HasSuffix(domain, ".") && !strings.Contains(domain, "..")
	return requireField(ok, field, "is not an e-mail address such as name@example.org")
}

// checkCode requires n capital letters.
func checkCode(field, s string, n int) error {
	ok := len(s) == n && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
	return requireField(ok, field, "is not a code of %d capital letters", n)
}

// checkProduct requires a slug that needs no escaping in a URL.
func checkProduct(s string) error {
	ok := s != "" && len(s) <= MaxProduct && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
	return requireField(ok, "Product", "is not a slug of small letters, digits and dashes")
}

// Moments outside these years are mistakes, and timers would sort them wrongly.
const (
	firstYear = 2000
	lastYear  = 2199
)

func checkTime(field string, t time.Time, required bool) error {
	if t.IsZero() {
		return requireField(!required, field, "is missing")
	}
	ok := t.UTC().Year() >= firstYear && t.UTC().Year() <= lastYear && t.Nanosecond()%int(time.Millisecond) == 0
	return requireField(ok, field, "is not a moment between the years 2000 and 2200 in whole milliseconds")
}

func checkDuration(field string, d time.Duration) error {
	const most = 10 * 366 * 24 * time.Hour
	return requireField(d >= 0 && d <= most && d%time.Millisecond == 0, field, "is not a duration of up to ten years in whole milliseconds")
}

func (o Operation) checkFields() error {
	return cmp.Or(checkText("Operator", o.Operator, 1, MaxOperator), requireField(o.OpID != 0, "OpID", "is missing"))
}

// checkAboutSale checks what every operator's command about a sale has.
func checkAboutSale(by Operation, product string) error {
	return cmp.Or(by.checkFields(), checkProduct(product))
}

func (o OpenSale) checkFields() error   { return checkAboutSale(o.Operation, o.Product) }
func (c CloseSale) checkFields() error  { return checkAboutSale(c.Operation, c.Product) }
func (r RetireSale) checkFields() error { return checkAboutSale(r.Operation, r.Product) }
func (h HandOver) checkFields() error   { return checkAboutSale(h.Operation, h.Product) }

func checkID(id ID) error { return requireField(id.Valid(), "ID", "is not an order's") }

func (p PlaceOrder) checkFields() error {
	return cmp.Or(
		checkID(p.ID),
		checkProduct(p.Product),
		requireField(p.Kind >= KindOrder && p.Kind <= KindWaiting, "Kind", "is not a kind of order"),
		requireField(p.Quantity >= 1 && p.Quantity <= MaxLimit, "Quantity", "is not 1 to %d", MaxLimit),
		requireField(p.Total >= 0, "Total", "is negative"),
		checkCode("Currency", p.Currency, 3),
		p.Person.Check(),
	)
}

func (c Confirm) checkFields() error { return checkID(c.ID) }

func (c Cancel) checkFields() error {
	var by error
	if c.By != (Operation{}) {
		by = c.By.checkFields()
	}
	return cmp.Or(checkID(c.ID), by, checkText("Reason", c.Reason, 0, MaxText))
}

func (o Offer) checkFields() error {
	ballot := o.Mode == Ballot
	return cmp.Or(
		checkAboutSale(o.Operation, o.Product),
		requireField(o.Mode >= FirstCome && o.Mode <= Interest, "Mode", "is not a mode of sale"),
		requireField(o.Stock >= 0 && o.Stock <= MaxStock, "Stock", "is not 0 to %d", MaxStock),
		checkLimit(o.Limit),
		checkTimes(o.Opens, o.Closes, ballot),
		checkPrice(o.Price),
		checkCode("Currency", o.Currency, 3),
		checkCountries(o.Countries),
		checkDuration("FulfilmentDelay", o.FulfilmentDelay),
		checkDuration("Retain", o.Retain),
		checkInvitations(o.Invitations),
		checkDuration("Confirm", o.Confirm),
		requireField(o.Confirm == 0 || o.Mail, "Confirm", "needs mail"),
		requireField(ballot == (o.Secret != [32]byte{}), "Secret", "goes with a ballot, and only with one"),
		requireField(ballot || o.PublicKind == draw.None, "PublicKind", "goes with a ballot only"),
		requireField(o.PublicKind.Known(), "PublicKind", "is not a kind of public randomness"),
		requireField(o.Dice == 0 || o.PublicKind == draw.Dice && o.Dice >= draw.LeastDice && o.Dice <= draw.MostDice,
			"Dice", "is not %d to %d, or goes with another kind of draw", draw.LeastDice, draw.MostDice),
	)
}

func checkLimit(units int) error {
	return requireField(units >= 1 && units <= MaxLimit, "Limit", "is not 1 to %d", MaxLimit)
}

func checkPrice(minor int64) error {
	return requireField(minor >= 0 && minor <= MaxAmount, "Price", "is negative or too large")
}

func checkInvitations(d time.Duration) error {
	if d == InviteByHand {
		return nil
	}
	return checkDuration("Invitations", d)
}

// Fields that are not revised do not count.
func (r ReviseOffer) checkFields() error {
	var price, countries, limit error
	reviseField(&r, RevisePrice, &price, checkPrice(r.Price))
	reviseField(&r, ReviseCountries, &countries, checkCountries(r.Countries))
	reviseField(&r, ReviseLimit, &limit, checkLimit(r.Limit))
	return cmp.Or(checkAboutSale(r.Operation, r.Product), requireField(r.Fields != 0 && r.Fields < reviseEnd, "Fields", "are none of an offer"),
		price, countries, limit, checkInvitations(r.Invitations), checkDuration("FulfilmentDelay", r.FulfilmentDelay), checkDuration("Retain", r.Retain))
}

func (m MarkSent) checkFields() error {
	return cmp.Or(m.Operation.checkFields(), checkID(m.ID), checkText("Note", m.Note, 0, MaxText))
}

func (r ReturnOrder) checkFields() error {
	return cmp.Or(r.Operation.checkFields(), checkID(r.ID), checkText("Reason", r.Reason, 0, MaxText))
}

func (f FinishWebhook) checkFields() error {
	return cmp.Or(checkID(f.ID), requireField(f.Kind == JobCancelled || f.Kind == JobReturned, "Kind", "is not such a webhook job"))
}

func checkTimes(opens, closes time.Time, required bool) error {
	return cmp.Or(
		checkTime("Opens", opens, required),
		checkTime("Closes", closes, required),
		requireField(closes.IsZero() || closes.After(opens), "Closes", "is not after the opening time"),
	)
}

func checkCountries(list []Country) error {
	if len(list) == 0 || len(list) > MaxCountries {
		return &FieldError{"Countries", fmt.Sprintf("are not 1 to %d", MaxCountries)}
	}
	for i, c := range list {
		err := cmp.Or(
			requireField(!slices.ContainsFunc(list[:i], func(other Country) bool { return other.Code == c.Code }), "Countries", "contain one twice"),
			checkCode("Countries", c.Code, 2),
			requireField(c.Shipping >= 0 && c.Shipping <= MaxAmount, "Shipping", "is negative or too large"),
			requireField(c.Tax >= 0 && c.Tax <= wholeTax, "Tax", "is not 0 to 10,000 hundredths of a percent"),
		)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s Stock) checkFields() error {
	return cmp.Or(
		checkAboutSale(s.Operation, s.Product),
		requireField(s.Delta != 0 && s.Delta >= -MaxStock && s.Delta <= MaxStock, "Delta", "is 0 or too large"),
	)
}

// Whether a ballot has both times is checked when the command is carried out.
func (s SetTimes) checkFields() error {
	return cmp.Or(checkAboutSale(s.Operation, s.Product), checkTimes(s.Opens, s.Closes, false),
		requireField(!(s.KeepOpens && s.KeepCloses), "KeepCloses", "would change nothing with KeepOpens"),
		requireField(!s.KeepOpens || s.Opens.IsZero(), "Opens", "is given and kept"),
		requireField(!s.KeepCloses || s.Closes.IsZero(), "Closes", "is given and kept"))
}

func (a Announce) checkFields() error {
	return cmp.Or(a.Operation.checkFields(), checkText("Text", a.Text, 0, MaxText))
}

func (i Invite) checkFields() error {
	return cmp.Or(
		checkAboutSale(i.Operation, i.Product),
		requireField(i.Count >= 1 && i.Count <= MaxPerCommand, "Count", "is not 1 to %d", MaxPerCommand),
		checkTime("Until", i.Until, true),
	)
}

// Whether it is what the ballot was promised is checked when the command is carried out.
func (m MakeDraw) checkFields() error {
	return cmp.Or(checkAboutSale(m.Operation, m.Product), requireField(m.Public.Check() == nil, "Public", "is not public randomness of its kind"))
}

func (b BeginFulfilment) checkFields() error { return checkID(b.ID) }

func (f FinishFulfilment) checkFields() error {
	return cmp.Or(checkID(f.ID), checkText("How", f.How, 0, MaxText))
}

func (f FinishMail) checkFields() error {
	return cmp.Or(checkID(f.ID), requireField(f.Kind.IsMail(), "Kind", "is not a mail job"))
}

func (e Erase) checkFields() error {
	if e.ID != 0 {
		return cmp.Or(e.Operation.checkFields(), checkID(e.ID), requireField(e.Email == "", "Email", "does not go with an ID"))
	}
	return cmp.Or(e.Operation.checkFields(), checkEmail("Email", e.Email))
}

func (Tick) checkFields() error { return nil }
