package fulfilment

import (
	"bufio"
	"bytes"
	"context"
	"net/textproto"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"bramble/node/orders"
)

// Each mail says what is true, and none is sent about what is no longer true.
func TestTexts(t *testing.T) {
	w := &mailWriter{shop: "Shop"}
	until := launch.Add(24 * time.Hour)
	all := []orders.OrderState{
		orders.StateOpen, orders.StateInvited, orders.StateWon, orders.StateLost, orders.StateFulfilling, orders.StateFulfilled,
		orders.StateCancelled, orders.StateLeft, orders.StateExpired, orders.StateErased, orders.StateReturned, orders.StateUnconfirmed,
	}
	for _, c := range []struct {
		what orders.JobKind
		kind orders.Kind
		true map[orders.OrderState]string
	}{
		{orders.JobMailPlaced, orders.KindOrder, map[orders.OrderState]string{
			orders.StateOpen: "Your order is placed", orders.StateFulfilling: "Your order is placed", orders.StateFulfilled: "Your order is placed"}},
		{orders.JobMailPlaced, orders.KindEntry, map[orders.OrderState]string{
			orders.StateOpen: "You are in the draw", orders.StateFulfilling: "You are in the draw", orders.StateFulfilled: "You are in the draw"}},
		{orders.JobMailPlaced, orders.KindInterest, map[orders.OrderState]string{
			orders.StateOpen: "You are on the list", orders.StateFulfilling: "You are on the list", orders.StateFulfilled: "You are on the list"}},
		{orders.JobMailPlaced, orders.KindWaiting, map[orders.OrderState]string{
			orders.StateOpen: "You are on the waiting list", orders.StateFulfilling: "You are on the waiting list", orders.StateFulfilled: "You are on the waiting list"}},
		{orders.JobMailInvited, orders.KindWaiting, map[orders.OrderState]string{orders.StateInvited: "You can order now"}},
		{orders.JobMailWon, orders.KindEntry, map[orders.OrderState]string{
			orders.StateWon: "Your entry has won", orders.StateFulfilling: "Your entry has won", orders.StateFulfilled: "Your entry has won"}},
		{orders.JobMailCancelled, orders.KindOrder, map[orders.OrderState]string{
			orders.StateCancelled: "Cancelled", orders.StateLeft: "You have left the list"}},
		{orders.JobMailConfirm, orders.KindOrder, map[orders.OrderState]string{
			orders.StateUnconfirmed: "Please confirm", orders.StateExpired: "Please confirm", orders.StateCancelled: "Please confirm", orders.StateLeft: "Please confirm"}},
		{orders.JobMailExists, orders.KindOrder, map[orders.OrderState]string{
			orders.StateOpen: "You are here already", orders.StateInvited: "You are here already", orders.StateWon: "You are here already",
			orders.StateFulfilling: "You are here already", orders.StateFulfilled: "You are here already"}},
		{orders.JobWebhook, orders.KindOrder, nil},
	} {
		for _, state := range all {
			p := testOrder(0)
			p.Kind, p.State, p.Until = c.kind, state, until
			subject, body, ok := w.writeMail(p, c.what, launch)
			want, isTrue := c.true[state]
			if ok != isTrue || ok && subject != want+": "+p.ID.String() {
				t.Errorf("mail %d, kind %d, state %d: %q, %v; want %q", c.what, c.kind, state, subject, ok, want)
			}
			if ok && (strings.Contains(body, "Total") || strings.Contains(body, "page") || !strings.HasSuffix(body, "\n")) {
				t.Errorf("without receipt and amounts:\n%s", body)
			}
		}
	}
	p := testOrder(0)
	p.State = orders.StateUnconfirmed
	if _, _, ok := w.writeMail(p, orders.JobMailConfirm, p.Made.Add(confirmLinkAge)); ok {
		t.Error("a link to confirm a form of yesterday")
	}
	p.Kind, p.State, p.Until = orders.KindWaiting, orders.StateInvited, until
	if _, body, _ := w.writeMail(p, orders.JobMailInvited, launch); !strings.Contains(body, "1 March 2012, 06:00 UTC") {
		t.Errorf("the invitation's end is missing in:\n%s", body)
	}
	if _, _, ok := w.writeMail(p, orders.JobMailInvited, until); ok {
		t.Error("an invitation that is over")
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"Zoë":                         "Zoë",
		" a\r\nBcc: x@y.example\r\n ": "a Bcc: x@y.example",
		"a\x00b\tc\u0085d\u2028e":     "a b c d e",
		"\u202egnp.exe":               "gnp.exe",
		"می\u200cخواهم":               "می\u200cخواهم", // the joiner belongs to the word
		"\xff\xfe":                    "\uFFFD",
		"":                            "",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// No name and no address, of buyer, shop or product, adds a field, a recipient or a line
// to the dialogue.
func FuzzMailCannotBeInjected(f *testing.F) {
	for _, evil := range []string{
		"Zoë", "a\r\nBcc: x@y.example", "a\nSubject: x", "\r\n\r\nbody", "a\rb", "=?utf-8?q?=0D=0ABcc:_x?=", "\"<x@y.example>,", "\x00",
		"\u2028Bcc: x", strings.Repeat("ж", 300), strings.Repeat("a b", 500), "a\r\n.\r\nMAIL FROM:<x@y.example>", "\xc4",
	} {
		f.Add(evil, "zoe@home.example", evil)
		f.Add("Zoë", "zoe@home.example"+evil, "Shop")
		f.Add("Zoë", evil, "Shop")
		f.Add("Zoë", evil+"@home.example", "Shop")
	}
	f.Fuzz(func(t *testing.T, name, email, shop string) {
		to, err := recipientOf(orders.Person{Name: name, Email: email})
		if err != nil {
			return
		}
		if strings.ContainsAny(to.Address, "\r\n\x00<> ") || !utf8.ValidString(to.Address) {
			t.Fatalf("address %q", to.Address)
		}
		cfg := mailConfig(MailConfig{Server: "mail.example:25", TLS: NoTLS})
		cfg.ShopName = shop
		m, err := newMailer(cfg, func() time.Time { return launch })
		if err != nil {
			return // it has no name
		}
		m.text.title = func(string) string { return name }
		p := testOrder(0)
		p.Person = orders.Person{Name: name, Email: email}
		msg, ok := m.composeMail(p, orders.JobMailPlaced, to)
		if !ok {
			t.Fatal("no mail")
		}
		var wire bytes.Buffer
		if _, err := msg.WriteTo(&wire); err != nil {
			t.Fatal(err)
		}
		head, err := textproto.NewReader(bufio.NewReader(&wire)).ReadMIMEHeader()
		if err != nil {
			t.Fatalf("%v", err)
		}
		want := []string{"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}
		for _, field := range want {
			if len(head[field]) != 1 {
				t.Errorf("%d fields %s", len(head[field]), field)
			}
		}
		if len(head) != len(want) {
			t.Errorf("fields %v, want %v", head, want)
		}
		if got, err := msg.GetRecipients(); err != nil || len(got) != 1 || got[0] != "<"+to.Address+">" {
			t.Errorf("recipients %q, %v", got, err)
		}
	})
}

func TestSupersededMailIsNotSent(t *testing.T) {
	office := &postOffice{}
	m := testMailer(t, mailConfig(MailConfig{TLS: NoTLS, Server: office.open(t, nil, false)}))
	p := testOrder(0)
	p.State = orders.StateCancelled
	if v := m.deliverMail(context.Background(), p, orders.JobMailPlaced, launch); v.resolution != Superseded {
		t.Errorf("%+v", v)
	}
	p.Person = orders.Person{}
	if v := m.deliverMail(context.Background(), p, orders.JobMailCancelled, launch); v.resolution != Undeliverable {
		t.Errorf("without an address: %+v", v)
	}
	if len(office.mails()) != 0 {
		t.Error("mail was sent")
	}
}

// A mail passes through the whole Sender, and is not sent again once FinishJob is committed.
func TestMailThroughTheSender(t *testing.T) {
	office, logged := &postOffice{}, &logs{}
	cfg := mailConfig(MailConfig{TLS: NoTLS, Server: office.open(t, nil, false)})
	book := newFakeJobStore()
	cfg.Jobs, cfg.Logger, cfg.Now = book, logged.logger(), func() time.Time { return launch.Add(time.Minute) }
	bad := testOrder(1)
	bad.Person.Email = "zoe@home.example\r\nBcc: x@y.example"
	book.add(orders.QueueMail, orders.JobMailPlaced, launch, testOrder(0), bad)
	s, stop := start(t, cfg)
	eventually(t, "both are done", func() bool { return book.left(orders.QueueMail) == 0 })
	eventually(t, "both are counted", func() bool { return s.Stats().Mail.Delivered == 2 })
	stop()
	if book.end(testOrder(0).ID) != ByMail || book.end(bad.ID) != Undeliverable {
		t.Errorf("ends %v", book.ends)
	}
	if got := s.Stats().Mail; got.Undeliverable != 1 || len(got.UndeliverableJobs) != 1 || got.UndeliverableJobs[0].Reference != bad.ID.String() {
		t.Errorf("stats %+v", got)
	}
	if got := office.mails(); len(got) != 1 || got[0].to != "zoe@home.example" {
		t.Errorf("mails %+v", got)
	}
	if count(book.noted(), "begin "+testOrder(0).ID.String()) != 0 {
		t.Error("a mail began the fulfilment of an order")
	}
	noPersonalData(t, logged)
}
