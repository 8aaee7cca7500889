package fulfilment

import (
	"fmt"
	"slices"
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
	receipt func(orders.Order, orders.JobKind) string
	title   func(string) string
	amount  func(int64, string) string
}

// confirmLinkAge is the age of a form at which a mail with the link to confirm it comes too late, after an outage.
const confirmLinkAge = 24 * time.Hour

const timeForm = "2 January 2006, 15:04 UTC"

// mailText is the part of a mail that depends on what has happened.
type mailText struct{ subject, news, next string }

// chooseText returns the text of a mail; the zero value if it would no longer be true.
func (m *mailWriter) chooseText(o orders.Order, kind orders.JobKind, now time.Time) mailText {
	const shownBy = "The page that shows this:"
	isOrdered := o.State == orders.StateFulfilling || o.State == orders.StateFulfilled
	switch {
	case kind == orders.JobMailPlaced && (o.State == orders.StateOpen || isOrdered):
		return map[orders.Kind]mailText{
			orders.KindOrder: {"Your order is placed", "Your order at " + m.shop + " is placed.",
				"Your receipt. You can cancel there until the order is being sent:"},
			orders.KindEntry: {"You are in the draw", "Your entry in the draw at " + m.shop + " is recorded. Its time does not change its chance.",
				"Its status. You can withdraw it there until the draw closes:"},
			orders.KindInterest: {"You are on the list", "Your interest is registered at " + m.shop + ". This is not an order.",
				"Its status. You can leave the list there:"},
			orders.KindWaiting: {"You are on the waiting list", "You are on the waiting list at " + m.shop + ". This is not an order.",
				"Your position on the list. You can leave the list there:"},
		}[o.Kind]
	case kind == orders.JobMailInvited && o.State == orders.StateInvited && now.Before(o.Until):
		return mailText{"You can order now",
			"It is your turn at " + m.shop + ": what you waited for is reserved for you until " + o.Until.UTC().Format(timeForm) + ".",
			"To order it, or to decline, open this page before then:"}
	case kind == orders.JobMailWon && (o.State == orders.StateWon || isOrdered):
		return mailText{"Your entry has won", "Your entry in the draw at " + m.shop + " has won. It is now an order.", "Its status, and how the draw was made:"}
	case kind == orders.JobMailCancelled && o.State == orders.StateLeft:
		return mailText{"You have left the list", "You are no longer on the list at " + m.shop + ".", shownBy}
	case kind == orders.JobMailCancelled && o.State == orders.StateCancelled:
		return mailText{"Cancelled", "Your order or entry at " + m.shop + " with this reference is cancelled. Nothing will be sent.", shownBy}
	case kind == orders.JobMailSent && o.State == orders.StateFulfilled:
		text := mailText{"Sent", "Your order at " + m.shop + " was sent.", "Your receipt:"}
		if note := oneLine(o.Note); note != "" {
			text.news += " The shop's note: " + note
		}
		return text
	case kind == orders.JobMailReturned && o.State == orders.StateReturned:
		return mailText{"Returned", "Your order came back to " + m.shop + ".", shownBy}
	case kind == orders.JobMailConfirm && now.Before(o.Made.Add(confirmLinkAge)) && // whatever became of this form, the link is good
		slices.Contains([]orders.OrderState{orders.StateUnconfirmed, orders.StateExpired, orders.StateCancelled, orders.StateLeft}, o.State):
		return mailText{"Please confirm", "Somebody sent a form at " + m.shop + " with this e-mail address. It counts only if you confirm it.",
			"If it was you, open this page soon and press the button there. It shows all that was sent with your address and waits for you, and it has a form of your own:"}
	case kind == orders.JobMailExists && o.Cancellable() && o.State != orders.StateUnconfirmed || kind == orders.JobMailExists && isOrdered:
		return mailText{"You are here already", "Somebody filled in the form at " + m.shop + " again with this e-mail address. Nothing new was taken; what was there stays as it is.", shownBy}
	case kind == orders.JobMailLink && (o.State == orders.StateOpen || o.State == orders.StateInvited || o.State == orders.StateWon || isOrdered):
		return mailText{"Your new link", "The shop " + m.shop + " has replaced the links of all receipts. The one that you had has ended. Nothing else has changed.", "The new one:"}
	}
	return mailText{}
}

// writeMail writes one mail; ok is false if the mail would no longer be true.
func (m *mailWriter) writeMail(o orders.Order, kind orders.JobKind, now time.Time) (subject, body string, ok bool) {
	text, ref := m.chooseText(o, kind, now), o.ID.String()
	if text == (mailText{}) {
		return "", "", false
	}
	var b strings.Builder
	b.WriteString(text.news + "\n\n")
	fmt.Fprintf(&b, "Reference: %s\n", ref)
	fmt.Fprintf(&b, "Product:   %s\n", m.titleOf(o.Product))
	fmt.Fprintf(&b, "Quantity:  %d\n", o.Quantity)
	if m.amount != nil {
		fmt.Fprintf(&b, "Total:     %s (price, shipping and tax)\n", m.amount(o.Total, o.Currency))
	}
	if m.receipt != nil {
		if url := m.receipt(o, kind); url != "" {
			b.WriteString("\n" + text.next + "\n" + oneLine(url) + "\n")
		}
	}
	fmt.Fprintf(&b, "\nThis mail was sent because somebody entered this address at %s. If that was not you, you need not do anything.\n", m.shop)
	return text.subject + ": " + ref, b.String(), true
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
