package fulfilment

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"bramble/node/orders"
)

// mailWriter writes the mails. They hold nothing that a stranger has typed but the name in
// To: a form that mails any text to any address would soon be used for that.
type mailWriter struct {
	shop    string
	receipt func(orders.Order) string
	title   func(string) string
	amount  func(int64, string) string
}

// timeForm is how a moment is written for people anywhere.
const timeForm = "2 January 2006, 15:04 UTC"

// writeMail writes one mail; ok is false if what it would say is no longer so.
func (w *mailWriter) writeMail(p orders.Order, what orders.JobKind, now time.Time) (subject, body string, ok bool) {
	var news, next string
	ref := p.ID.String()
	switch what {
	case orders.JobMailPlaced:
		subject, news, next, ok = w.placedText(p)
	case orders.JobMailInvited:
		ok = p.State == orders.StateInvited && now.Before(p.Until)
		until := p.Until.UTC().Format(timeForm)
		subject = "You can order now: " + ref
		news = fmt.Sprintf("It is your turn at %s: what you waited for is kept for you until %s.", w.shop, until)
		next = "To order it, or to say no, open this page before then:"
	case orders.JobMailWon:
		ok = p.State == orders.StateWon || p.State == orders.StateFulfilling || p.State == orders.StateFulfilled
		subject = "Your entry has won: " + ref
		news = fmt.Sprintf("Your entry in the draw at %s has won, and is now an order.", w.shop)
		next = "How it stands, and how the draw was made:"
	case orders.JobMailCancelled:
		ok = p.State == orders.StateCancelled || p.State == orders.StateLeft
		if p.State == orders.StateLeft {
			subject = "You are off the list: " + ref
			news = fmt.Sprintf("You are no longer on the list at %s.", w.shop)
		} else {
			subject = "Cancelled: " + ref
			news = fmt.Sprintf("What you had at %s under this reference is cancelled. Nothing will be sent.", w.shop)
		}
		next = "The page that says so:"
	}
	if !ok {
		return "", "", false
	}
	var b strings.Builder
	b.WriteString(news + "\n\n")
	fmt.Fprintf(&b, "Reference: %s\n", ref)
	fmt.Fprintf(&b, "Product:   %s\n", w.titleOf(p.Product))
	fmt.Fprintf(&b, "Quantity:  %d\n", p.Quantity)
	if w.amount != nil {
		fmt.Fprintf(&b, "Total:     %s (price, shipping and tax)\n", w.amount(p.Total, p.Currency))
	}
	if w.receipt != nil {
		if url := w.receipt(p); url != "" {
			b.WriteString("\n" + next + "\n" + oneLine(url) + "\n")
		}
	}
	fmt.Fprintf(&b, "\nThis mail was sent because somebody gave this address at %s. If that was not\nyou, you need not do anything.\n", w.shop)
	return subject, b.String(), true
}

// placedText is the mail about a paper that was just made, by what it is.
func (w *mailWriter) placedText(p orders.Order) (subject, news, next string, ok bool) {
	ref := p.ID.String()
	switch p.State {
	case orders.StateOpen, orders.StateFulfilling, orders.StateFulfilled:
	default:
		return "", "", "", false
	}
	switch p.Kind {
	case orders.KindOrder:
		return "Your order is in: " + ref, fmt.Sprintf("Your order at %s is in.", w.shop),
			"Your receipt. You can cancel there until the order is handed over:", true
	case orders.KindEntry:
		return "Your entry is in: " + ref, fmt.Sprintf("Your entry in the draw at %s is in. When it came does not change its chance.", w.shop),
			"How it stands. You can take it back there until the draw closes:", true
	case orders.KindInterest:
		return "You are on the list: " + ref, fmt.Sprintf("Your interest is registered at %s. This is not an order.", w.shop),
			"How it stands. You can leave the list there:", true
	case orders.KindWaiting:
		return "You are on the waiting list: " + ref, fmt.Sprintf("You are on the waiting list at %s. This is not an order.", w.shop),
			"Your place on the list. You can leave it there:", true
	}
	return "", "", "", false
}

func (w *mailWriter) titleOf(product string) string {
	if w.title != nil {
		if t := oneLine(w.title(product)); t != "" {
			return t
		}
	}
	return product
}

// mailName names a mail in its Message-ID.
func mailName(what orders.JobKind) string {
	switch what {
	case orders.JobMailPlaced:
		return "placed"
	case orders.JobMailInvited:
		return "invited"
	case orders.JobMailWon:
		return "won"
	case orders.JobMailCancelled:
		return "cancelled"
	}
	return "mail"
}

// messageID is a mail's own, without its brackets.
func messageID(id orders.ID, what orders.JobKind, domain string) string {
	return id.String() + "." + mailName(what) + "@" + domain
}

// oneLine makes of any text what can stand in a line: control characters and line ends
// become blanks, and what turns the direction of writing is left out, because it shows
// another text than the one that is there.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// replaceNonASCII stands a letter for each rune beyond ASCII.
func replaceNonASCII(r rune) rune {
	if r >= utf8.RuneSelf && r != utf8.RuneError && !unicode.IsControl(r) && !unicode.IsSpace(r) {
		return 'x'
	}
	return r
}

// isPrintableASCII reports whether a text is printable ASCII, and not empty.
func isPrintableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// isASCII reports whether a text has no byte beyond ASCII.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
