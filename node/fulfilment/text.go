package fulfilment

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"bramble/node/orders"
)

// mailWriter writes the mails. They contain no text that a buyer has typed except the
// name in To: a form that mails any text to any address would soon be abused.
type mailWriter struct {
	shop    string
	receipt func(orders.Order) string
	title   func(string) string
	amount  func(int64, string) string
}

const timeForm = "2 January 2006, 15:04 UTC"

// writeMail writes one mail; ok is false if the mail would no longer be true.
func (m *mailWriter) writeMail(o orders.Order, kind orders.JobKind, now time.Time) (subject, body string, ok bool) {
	var news, next string
	ref := o.ID.String()
	switch kind {
	case orders.JobMailPlaced:
		subject, news, next, ok = m.placedText(o)
	case orders.JobMailInvited:
		ok = o.State == orders.StateInvited && now.Before(o.Until)
		until := o.Until.UTC().Format(timeForm)
		subject = "You can order now: " + ref
		news = fmt.Sprintf("It is your turn at %s: what you waited for is reserved for you until %s.", m.shop, until)
		next = "To order it, or to decline, open this page before then:"
	case orders.JobMailWon:
		ok = o.State == orders.StateWon || o.State == orders.StateFulfilling || o.State == orders.StateFulfilled
		subject = "Your entry has won: " + ref
		news = fmt.Sprintf("Your entry in the draw at %s has won. It is now an order.", m.shop)
		next = "Its status, and how the draw was made:"
	case orders.JobMailCancelled:
		ok = o.State == orders.StateCancelled || o.State == orders.StateLeft
		if o.State == orders.StateLeft {
			subject = "You have left the list: " + ref
			news = fmt.Sprintf("You are no longer on the list at %s.", m.shop)
		} else {
			subject = "Cancelled: " + ref
			news = fmt.Sprintf("Your order or entry at %s with this reference is cancelled. Nothing will be sent.", m.shop)
		}
		next = "The page that shows this:"
	case orders.JobMailSent:
		ok = o.State == orders.StateFulfilled
		subject = "Sent: " + ref
		news = fmt.Sprintf("Your order at %s was sent.", m.shop)
		if note := oneLine(o.Note); note != "" {
			news += " The shop's note: " + note
		}
		next = "Your receipt:"
	case orders.JobMailReturned:
		ok = o.State == orders.StateReturned
		subject = "Returned: " + ref
		news = fmt.Sprintf("Your order came back to %s.", m.shop)
		next = "The page that shows this:"
	}
	if !ok {
		return "", "", false
	}
	var b strings.Builder
	b.WriteString(news + "\n\n")
	fmt.Fprintf(&b, "Reference: %s\n", ref)
	fmt.Fprintf(&b, "Product:   %s\n", m.titleOf(o.Product))
	fmt.Fprintf(&b, "Quantity:  %d\n", o.Quantity)
	if m.amount != nil {
		fmt.Fprintf(&b, "Total:     %s (price, shipping and tax)\n", m.amount(o.Total, o.Currency))
	}
	if m.receipt != nil {
		if url := m.receipt(o); url != "" {
			b.WriteString("\n" + next + "\n" + oneLine(url) + "\n")
		}
	}
	fmt.Fprintf(&b, "\nThis mail was sent because somebody entered this address at %s. If that was not\nyou, you need not do anything.\n", m.shop)
	return subject, b.String(), true
}

func (m *mailWriter) placedText(o orders.Order) (subject, news, next string, ok bool) {
	ref := o.ID.String()
	switch o.State {
	case orders.StateOpen, orders.StateFulfilling, orders.StateFulfilled:
	default:
		return "", "", "", false
	}
	switch o.Kind {
	case orders.KindOrder:
		return "Your order is placed: " + ref, fmt.Sprintf("Your order at %s is placed.", m.shop),
			"Your receipt. You can cancel there until the order is being sent:", true
	case orders.KindEntry:
		return "You are in the draw: " + ref, fmt.Sprintf("Your entry in the draw at %s is recorded. Its time does not change its chance.", m.shop),
			"Its status. You can withdraw it there until the draw closes:", true
	case orders.KindInterest:
		return "You are on the list: " + ref, fmt.Sprintf("Your interest is registered at %s. This is not an order.", m.shop),
			"Its status. You can leave the list there:", true
	case orders.KindWaiting:
		return "You are on the waiting list: " + ref, fmt.Sprintf("You are on the waiting list at %s. This is not an order.", m.shop),
			"Your position on the list. You can leave the list there:", true
	}
	return "", "", "", false
}

func (m *mailWriter) titleOf(product string) string {
	if m.title != nil {
		if t := oneLine(m.title(product)); t != "" {
			return t
		}
	}
	return product
}

// messageID returns a mail's Message-ID, without the angle brackets.
func messageID(id orders.ID, kind orders.JobKind, domain string) string {
	return id.String() + "." + strings.TrimPrefix(kind.String(), "mail-") + "@" + domain
}

// oneLine makes any text fit a line: control characters and line ends become blanks, and
// characters that turn the direction of writing are dropped, because with them a text looks
// like another one.
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

// replaceNonASCII returns a letter for a rune beyond ASCII.
func replaceNonASCII(r rune) rune {
	if r >= utf8.RuneSelf && r != utf8.RuneError && !unicode.IsControl(r) && !unicode.IsSpace(r) {
		return 'x'
	}
	return r
}

// isPrintableASCII reports whether a text is printable ASCII and not empty.
func isPrintableASCII(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}
