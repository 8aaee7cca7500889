package orderservice

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"bramble/node/orders"
)

// withKeys returns a service of the same book whose board has other rack keys.
func (s *Service) withKeys(keys ...string) *Service {
	cfg := s.cfg
	cfg.Keys = nil
	for _, k := range keys {
		cfg.Keys = append(cfg.Keys, []byte(k))
	}
	return New(cfg)
}

// Links from before the ledger had a secret, and those from after, stay valid when the rack's key changes. With
// the rack's key alone nobody can make a link.
func TestLinksDoNotDependOnTheRackKey(t *testing.T) {
	s, l := newTestService(t)
	s.offerCatalogue(t.Context())
	if _, err := s.PlaceOrder(t.Context(), testOrder(7)); err != nil {
		t.Fatal(err)
	}
	legacy, before := signer{s.deriveRackKeys(receiptPurpose)[0]}.signID(7, ""), s.Sign(7, false)
	l.set(func() { l.leading = true })
	s.submitFirstSecret(t.Context())
	s.submitFirstSecret(t.Context()) // again, as a new leader may
	after, rotated := s.Sign(7, false), s.withKeys("a third key")
	if keys := s.cfg.Book.ReceiptKeys(); len(keys) != 3 || before == after {
		t.Fatalf("%d keys", len(keys))
	}
	for _, token := range []string{before, after, legacy} {
		if !s.Verify(7, token) || !rotated.Verify(7, token) || rotated.Verify(8, token) {
			t.Errorf("%q is not valid on both sides of a new rack key", token)
		}
	}
	if stolen := s.withKeys("another rack's").deriveRackKeys(receiptPurpose); s.Verify(7, signer{stolen[0]}.signID(7, "")) {
		t.Error("a key of another rack opens the receipt")
	}
}

// Without an order no link was signed, so a new ledger never accepts one that was made with the rack's key.
func TestANewLedgerAcceptsNothingOfTheRackKey(t *testing.T) {
	s, _ := newTestService(t)
	forged := signer{s.deriveRackKeys(receiptPurpose)[0]}.signID(7, "")
	if !s.Verify(7, forged) {
		t.Fatal("the test's token is wrong")
	}
	s.submitFirstSecret(t.Context())
	if s.Verify(7, forged) || !s.Verify(7, s.Sign(7, false)) {
		t.Error("the rack's key opens receipts")
	}
}

// A link that a board of this rack signed with a secret that is lost proves that an earlier ledger took an order.
func TestALinkOfALostSecretIsNoticed(t *testing.T) {
	old, _ := newTestService(t)
	old.submitFirstSecret(t.Context())
	lost := old.Sign(7, false)
	for name, tt := range map[string]struct {
		token string
		key   string
		want  bool
	}{
		"a link of the lost secret":       {lost, "new key", true},
		"from before secrets":             {signer{old.deriveRackKeys(receiptPurpose)[0]}.signID(7, ""), "new key", true},
		"cut off":                         {lost[:macLetters], "new key", false},
		"of a stranger":                   {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "new key", false},
		"of a rack with another key":      {lost, "key of another rack", false},
		"too long":                        {lost + "a", "new key", false},
		"with a wrong letter in the mark": {lost[:len(lost)-1] + "1", "new key", false},
	} {
		s, l := newTestService(t)
		s = s.withKeys(tt.key)
		s.submitFirstSecret(t.Context())
		l.set(func() { l.leading = true })
		if s.Verify(7, tt.token) || (s.lostReceipt.Load() != nil) != tt.want {
			t.Errorf("%s: noticed %v", name, s.lostReceipt.Load())
		}
	}
}

func TestKeysForOnePurpose(t *testing.T) {
	s, _ := newTestService(t)
	if keys := s.KeysFor("forms"); len(keys) != 2 || len(keys[0]) != 32 { // of the rack's two keys
		t.Fatalf("%d keys", len(keys))
	}
	s.submitFirstSecret(t.Context())
	first := s.KeysFor("forms")
	if other := s.KeysFor("others"); len(first) != 1 || bytes.Equal(first[0], other[0]) || !bytes.Equal(first[0], s.KeysFor("forms")[0]) {
		t.Errorf("%x and %x", first, other)
	}
	c := newReceiptSecret(orders.Operation{Operator: "me", OpID: 5})
	s.submitTask(t.Context(), c)
	if keys := s.KeysFor("forms"); len(keys) != 2 || !bytes.Equal(keys[1], first[0]) {
		t.Errorf("after a rotation: %x", keys)
	}
	c = newReceiptSecret(orders.Operation{Operator: "me", OpID: 6})
	c.Revoke = true
	s.submitTask(t.Context(), c)
	if keys := s.KeysFor("forms"); len(keys) != 1 || bytes.Equal(keys[0], first[0]) {
		t.Errorf("after all ended: %x", keys)
	}
}

// An operator's new secret keeps the links from before, or ends them, and says how many.
func TestRelink(t *testing.T) {
	s, l := newTestService(t)
	s.cfg.Offers[0].Mail = true
	s.offerCatalogue(t.Context())
	for n := 7; n < 9; n++ {
		if _, err := s.PlaceOrder(t.Context(), testOrder(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CancelOrder(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	former := s.Sign(7, false)
	s.submitFirstSecret(t.Context())
	second := s.Sign(7, false)
	relink := func(c OperatorCommand) OperatorResult {
		t.Helper()
		c.Action, c.Operator, c.OpID = "relink", "me", NewOpID()
		result, err := s.Operate(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	if r := relink(OperatorCommand{}); r.Links != 0 || r.Mails != 0 || !strings.Contains(r.Text, "stay valid") {
		t.Errorf("%+v", r)
	}
	third := s.Sign(7, false)
	for _, dry := range []bool{true, false} {
		for _, token := range []string{former, second, third} {
			if !s.Verify(7, token) || s.HasEnded(7, token) {
				t.Errorf("%q is not valid before the end", token)
			}
		}
		if r := relink(OperatorCommand{Revoke: true, DryRun: dry}); r.Links != 2 || r.Mails != 1 || !strings.Contains(r.Text, "that end: 2. Mails with the new link: 1") {
			t.Errorf("%+v", r)
		}
	}
	for _, token := range []string{former, second, third} {
		if s.Verify(7, token) || !s.HasEnded(7, token) || s.HasEnded(8, token) || s.withKeys("a new key").Verify(7, token) {
			t.Errorf("%q has not ended", token)
		}
	}
	if last := s.Sign(7, false); !s.Verify(7, last) || s.HasEnded(7, last) {
		t.Error("the new link is not valid")
	}
	s.runDueTicks(t.Context())
	jobs, err := s.Jobs().Outbox(orders.QueueMail, l.now.Add(time.Minute), orders.Job{}, 10)
	if err != nil || len(jobs) == 0 || jobs[0].Order.ID != 7 {
		t.Errorf("%+v, %v", jobs, err)
	}
	for n := s.cfg.Book.ReceiptKeys(); len(n) < orders.MaxReceiptKeys; n = s.cfg.Book.ReceiptKeys() {
		relink(OperatorCommand{})
	}
	for range orders.MaxReceiptKeys - 2 { // in place of the ended ones
		if _, err = s.Operate(t.Context(), OperatorCommand{Action: "relink", Operator: "me", OpID: NewOpID()}); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "--revoke") {
		t.Errorf("one secret too many: %v", err)
	}
}

// However often an operator has made new secrets, a link that ended says so, also when the book has dropped its secret.
func TestALinkOfADroppedSecretHasEnded(t *testing.T) {
	s, _ := newTestService(t)
	s.offerCatalogue(t.Context())
	if _, err := s.PlaceOrder(t.Context(), testOrder(7)); err != nil {
		t.Fatal(err)
	}
	s.submitFirstSecret(t.Context())
	first, op := s.Sign(7, false), uint64(100)
	for n := range 2*orders.MaxReceiptKeys + 2 {
		c := newReceiptSecret(orders.Operation{Operator: "me", OpID: op})
		c.Revoke = n >= orders.MaxReceiptKeys-1 // the book is full of secrets that have not ended, and then of those that have
		before := s.Sign(7, false)
		s.submitTask(t.Context(), c)
		op++
		if ended := s.HasEnded(7, before) && !s.Verify(7, before); ended != c.Revoke || s.HasEnded(7, first) != c.Revoke {
			t.Fatalf("after %d secrets the link before the last has ended: %v", n+1, ended)
		}
	}
	now := s.Sign(7, false)
	if s.Verify(7, first) || !s.HasEnded(7, first) {
		t.Error("the first link does not say that it has ended")
	}
	if !s.Verify(7, now) || s.HasEnded(7, now) {
		t.Error("the newest link is not valid")
	}
	for _, wrong := range []string{"", first[:macLetters], first[:len(first)-1] + "1", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"} {
		if s.HasEnded(7, wrong) {
			t.Errorf("%q counts as a link that ended", wrong)
		}
	}
}

// The operator gets the current link of a receipt, for a buyer whose link ended and who gets no mail.
func TestShowLink(t *testing.T) {
	s, _ := newTestService(t)
	s.cfg.Link = func(id orders.ID, token string) string { return "https://shop.example/r/" + id.String() + "/" + token }
	s.offerCatalogue(t.Context())
	if _, err := s.PlaceOrder(t.Context(), testOrder(7)); err != nil {
		t.Fatal(err)
	}
	get := func(reference string) (int, string) {
		w := httptest.NewRecorder()
		s.Handler("/shop/").ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/shop/orders/"+reference+"/link", nil))
		return w.Code, w.Body.String()
	}
	want := s.cfg.Link(7, s.Sign(7, false))
	if code, body := get(orders.ID(7).String()); code != http.StatusOK || !strings.Contains(body, want) {
		t.Errorf("%d %s, want %s", code, body, want)
	}
	if code, body := get(orders.ID(8).String()); code != http.StatusNotFound || strings.Contains(body, "/r/") {
		t.Errorf("of no order: %d %s", code, body)
	}
}

// A link to confirm still works after a rotation, and ends with --revoke. It opens no receipt, and a receipt's
// link confirms nothing.
func TestALinkToConfirmEnds(t *testing.T) {
	s, _ := newTestService(t)
	s.offerCatalogue(t.Context())
	s.submitFirstSecret(t.Context())
	if _, err := s.PlaceOrder(t.Context(), testOrder(7)); err != nil {
		t.Fatal(err)
	}
	first := s.SignConfirmation(7)
	for _, c := range []struct {
		what                        string
		rotates, revokes            bool
		isValid, hasEnded, isNewest bool
	}{
		{what: "at once", isValid: true, isNewest: true},
		{what: "after a rotation", rotates: true, isValid: true},
		{what: "after --revoke", rotates: true, revokes: true, hasEnded: true},
		{what: "after another rotation", rotates: true, hasEnded: true},
	} {
		if c.rotates {
			if _, err := s.Operate(t.Context(), OperatorCommand{Action: "relink", Operator: "me", OpID: NewOpID(), Revoke: c.revokes}); err != nil {
				t.Fatal(err)
			}
		}
		if s.VerifyConfirmation(7, first) != c.isValid || s.HasEnded(7, first) != c.hasEnded || s.HasEnded(8, first) {
			t.Errorf("%s: valid %t, ended %t", c.what, s.VerifyConfirmation(7, first), s.HasEnded(7, first))
		}
		newest := s.SignConfirmation(7)
		if !s.VerifyConfirmation(7, newest) || s.HasEnded(7, newest) || s.VerifyConfirmation(8, newest) || (newest == first) != c.isNewest {
			t.Errorf("%s: the newest link is not valid, or is another order's", c.what)
		}
		if s.Verify(7, newest) || s.VerifyConfirmation(7, s.Sign(7, false)) || s.VerifyConfirmation(7, s.Sign(7, true)) {
			t.Errorf("%s: a link to confirm and a receipt's are one", c.what)
		}
	}
}
