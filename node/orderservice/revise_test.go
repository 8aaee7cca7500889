package orderservice

import (
	"errors"
	"strings"
	"testing"
	"time"

	"bramble/node/orders"
)

// operate carries out a command that must be done.
func operate(t *testing.T, s *Service, o OperatorCommand) OperatorResult {
	t.Helper()
	o.Operator, o.OpID = "me", NewOpID()
	result, err := s.Operate(t.Context(), o)
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	return result
}

// A time that a command does not have stays; one is removed only by name.
func TestTimesChangeOnlyWhatIsGiven(t *testing.T) {
	d, l := newTestService(t)
	d.offerCatalogue(t.Context())
	opens, closes := l.now.Add(time.Hour), l.now.Add(24*time.Hour)
	hours := func() (opens, closes time.Time) {
		sale, _ := d.Sale("berry")
		return sale.Opens, sale.Closes
	}
	operate(t, d, OperatorCommand{Action: "times", Product: "berry", Opens: &opens})
	result := operate(t, d, OperatorCommand{Action: "times", Product: "berry", Closes: &closes})
	if o, c := hours(); !o.Equal(opens) || !c.Equal(closes) {
		t.Errorf("opens %v, closes %v", o, c)
	}
	if result.Before == nil || result.After == nil || result.Before.Closes != nil || !result.After.Closes.Equal(closes) || !result.After.Opens.Equal(opens) {
		t.Errorf("before %+v, after %+v", result.Before, result.After)
	}
	operate(t, d, OperatorCommand{Action: "times", Product: "berry", Clear: []string{"opens"}})
	if o, c := hours(); !o.IsZero() || !c.Equal(closes) {
		t.Errorf("after removing one: opens %v, closes %v", o, c)
	}
	for _, o := range []OperatorCommand{{}, {Clear: []string{"stock"}}, {Clear: []string{"opens"}, Opens: &opens}} {
		o.Action, o.Operator, o.OpID, o.Product = "times", "me", NewOpID(), "berry"
		if _, err := d.Operate(t.Context(), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

// What the catalogue changes after the first offer is reported, and taken over on an
// operator's word only.
func TestCatalogueChange(t *testing.T) {
	d, _ := newTestService(t)
	d.offerCatalogue(t.Context())
	if list := d.catalogueNotices(); len(list) != 0 {
		t.Errorf("nothing has changed: %q", list)
	}
	first, err := d.PlaceOrder(t.Context(), testOrder(1))
	if err != nil || first.Outcome != orders.Placed {
		t.Fatal(first.Outcome, err)
	}
	d.cfg.Offers[0].Price = 1100
	d.cfg.Offers[0].Countries = []orders.Country{{Code: "GB", Shipping: 200, Tax: 2000}, {Code: "DE", Shipping: 900}}
	d.cfg.Offers[0].Stock, d.cfg.Offers[0].LimitByAddress = 7, true
	notices := strings.Join(d.catalogueNotices(), "\n")
	if !strings.Contains(notices, "price") || !strings.Contains(notices, "shipping GB") || !strings.Contains(notices, "sale revise berry --dry-run") || strings.Contains(notices, "stock") {
		t.Errorf("notices: %s", notices)
	}
	dry := operate(t, d, OperatorCommand{Action: "revise", Product: "berry", DryRun: true})
	want := map[string]DifferenceJSON{
		"price":       {"price", "1000 GBP", "1100 GBP", remedyRevise},
		"shipping GB": {"shipping GB", "200 GBP, tax 0 %", "200 GBP, tax 20 %", remedyRevise},
		"shipping DE": {"shipping DE", "none", "900 GBP, tax 0 %", remedyRevise},
		"stock":       {"stock", "2", "7", remedyStock},
	}
	fixed := 0
	for _, difference := range dry.Differences {
		if difference.Remedy == remedyFixed {
			fixed++
		} else if want[difference.Field] != difference {
			t.Errorf("%+v, want %+v", difference, want[difference.Field])
		}
	}
	if len(dry.Differences) != len(want)+1 || fixed != 1 {
		t.Errorf("differences: %+v", dry.Differences)
	}
	if sale, _ := d.Sale("berry"); sale.Price != 1000 {
		t.Error("a dry run has changed the price")
	}
	operate(t, d, OperatorCommand{Action: "revise", Product: "berry"})
	sale, _ := d.Sale("berry")
	if split, ok := sale.Total("GB", 1); !ok || split.Total != 1560 || len(sale.Countries) != 2 || sale.Stock != 2 {
		t.Errorf("after revising: %+v", sale)
	}
	if o, _, err := d.Order(t.Context(), 1); err != nil || o.Total != 1200 || o.Split.Tax != 0 || o.Split.Price != 1000 {
		t.Errorf("the order from before: %+v, %v", o, err)
	}
	if again := operate(t, d, OperatorCommand{Action: "revise", Product: "berry"}); !strings.HasPrefix(again.Text, "Nothing changed") {
		t.Error(again.Text)
	}
}

// A webhook that is configured later is turned on for what comes, and never off by itself.
func TestWebhookFollowsTheConfiguration(t *testing.T) {
	d, l := newTestService(t)
	d.cfg.Offers[0].Webhook = false
	d.offerCatalogue(t.Context())
	if _, err := d.PlaceOrder(t.Context(), testOrder(1)); err != nil {
		t.Fatal(err)
	}
	posts := func() (posts int) {
		d.runDueTicks(t.Context())
		jobs, err := d.Jobs().Outbox(orders.QueueWebhook, l.now, orders.Job{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(jobs)
	}
	if _, err := d.Operate(t.Context(), OperatorCommand{Action: "fulfil", Operator: "me", OpID: NewOpID(), Product: "berry"}); err == nil || !strings.Contains(err.Error(), "has no webhook") {
		t.Errorf("posting without a webhook: %v", err)
	}
	d.cfg.Offers[0].Webhook = true
	if !d.followConfig(t.Context()) {
		t.Fatal("it does not follow")
	}
	d.updateUnposted()
	if notices := strings.Join(d.catalogueNotices(), "\n"); !strings.Contains(notices, "neither sent nor posted: 1.") {
		t.Errorf("the orders from before are not mentioned: %q", notices)
	}
	if _, err := d.PlaceOrder(t.Context(), testOrder(2)); err != nil {
		t.Fatal(err)
	}
	if n := posts(); n != 1 {
		t.Errorf("%d posts, want that of the new order", n)
	}
	restarted := New(d.cfg) // another board, or this one after a restart
	restarted.updateUnposted()
	if list := restarted.Unposted(); len(list) != 1 || list[0] != (UnpostedJSON{"berry", 1}) {
		t.Errorf("after a restart: %v", list)
	}
	if sale, _ := restarted.Sale("berry"); restarted.newSaleJSON(d.cfg.Book, sale).Unposted != 1 {
		t.Error("the list of sales does not have it")
	}
	operate(t, d, OperatorCommand{Action: "fulfil", Product: "berry"})
	restarted.updateUnposted()
	if list := restarted.Unposted(); len(list) != 0 {
		t.Errorf("after fulfil: %v", list)
	}
	if notices := strings.Join(d.catalogueNotices(), "\n"); strings.Contains(notices, "nor posted") {
		t.Errorf("after fulfil: %q", notices)
	}
	if n := posts(); n != 2 {
		t.Errorf("%d posts after fulfil, want both", n)
	}
	d.cfg.Offers[0].Webhook = false
	if index := l.index; !d.followConfig(t.Context()) || l.index != index {
		t.Error("a board without a webhook has turned it off")
	}
	if sale, _ := d.Sale("berry"); !sale.Webhook {
		t.Error("the webhook is off")
	}
	operate(t, d, OperatorCommand{Action: "revise", Product: "berry"})
	if sale, _ := d.Sale("berry"); sale.Webhook {
		t.Error("the operator has not turned it off")
	}
}

// An order is sent and comes back by hand; a retired sale is hidden.
func TestOrdersAreSentByHand(t *testing.T) {
	d, _ := newTestService(t)
	d.offerCatalogue(t.Context())
	if _, err := d.PlaceOrder(t.Context(), testOrder(1)); err != nil {
		t.Fatal(err)
	}
	ref := orders.ID(1).String()
	operate(t, d, OperatorCommand{Action: "sent", Reference: ref, Text: "DHL 1"})
	if o, _, err := d.Order(t.Context(), 1); err != nil || o.State != orders.StateFulfilled || o.Note != "DHL 1" {
		t.Errorf("sent: %+v, %v", o, err)
	}
	result := operate(t, d, OperatorCommand{Action: "return", Reference: ref, Restock: true, Text: "too blue"})
	if result.Before == nil || result.Before.Free != 1 || result.After.Free != 2 || result.After.Stock != 2 {
		t.Errorf("return: before %+v, after %+v", result.Before, result.After)
	}
	if _, err := d.Operate(t.Context(), OperatorCommand{Action: "retire", Operator: "me", OpID: NewOpID(), Product: "berry"}); err == nil || !strings.Contains(err.Error(), "not closed") {
		t.Errorf("retiring an open sale: %v", err)
	}
	operate(t, d, OperatorCommand{Action: "close", Product: "berry"})
	operate(t, d, OperatorCommand{Action: "retire", Product: "berry"})
	if list := d.Sales(); len(list) != 0 {
		t.Errorf("a retired sale is listed: %+v", list)
	}
	operate(t, d, OperatorCommand{Action: "retire", Product: "berry", Undo: true})
	if sale, known := d.Sale("berry"); !known || sale.State != orders.SaleClosed {
		t.Errorf("brought back: %+v", sale)
	}
}

// An invitation names whom it passed over, and why.
func TestInviteNamesTheSkipped(t *testing.T) {
	d, _ := newTestService(t)
	d.cfg.Offers[0].Limit, d.cfg.Offers[0].Stock, d.cfg.Offers[0].Invitations = 5, 1, orders.InviteByHand
	d.offerCatalogue(t.Context())
	if _, err := d.PlaceOrder(t.Context(), testOrder(1)); err != nil {
		t.Fatal(err)
	}
	for n, wants := range map[int]int{2: 3} {
		o := testOrder(n)
		o.Kind, o.Quantity, o.Total = orders.KindWaiting, wants, 1000*int64(wants)+200
		if a, err := d.PlaceOrder(t.Context(), o); err != nil || a.Outcome != orders.Placed {
			t.Fatal(a.Outcome, err)
		}
	}
	small := testOrder(3)
	small.Kind = orders.KindWaiting
	if a, err := d.PlaceOrder(t.Context(), small); err != nil || a.Outcome != orders.Placed {
		t.Fatal(a.Outcome, err)
	}
	operate(t, d, OperatorCommand{Action: "stock", Product: "berry", Count: 2})
	sale, _ := d.Sale("berry")
	if j := d.newSaleJSON(d.cfg.Book, sale); j.Stuck != "by_hand" || j.FirstWants != 3 {
		t.Errorf("stuck %q, first wants %d", j.Stuck, j.FirstWants)
	}
	until := d.Now().Add(time.Hour)
	result := operate(t, d, OperatorCommand{Action: "invite", Product: "berry", Count: 5, Until: &until})
	big := orders.ID(2).String()
	if result.Count != 1 || len(result.Skipped) != 1 || result.Skipped[0] != (SkippedJSON{big, 3}) ||
		!strings.Contains(result.Text, big+" wants 3") || !strings.Contains(result.Text, "Free now: 1.") {
		t.Errorf("%+v", result)
	}
}

// Times that a sale cannot have are refused with the reason, and a sale that an operator has closed
// says that no time opens it.
func TestTimesSayWhatIsWrong(t *testing.T) {
	d, l := newTestService(t)
	d.offerCatalogue(t.Context())
	at := func(hours int) *time.Time { m := l.now.Add(time.Duration(hours) * time.Hour); return &m }
	operate(t, d, OperatorCommand{Action: "times", Product: "berry", Opens: at(5)})
	_, err := d.Operate(t.Context(), OperatorCommand{Action: "times", Operator: "me", OpID: NewOpID(), Product: "berry", Closes: at(4)})
	if !errors.Is(err, errMalformed) || !strings.Contains(err.Error(), "and open only at") || strings.Contains(err.Error(), "ballot") {
		t.Errorf("closes before it opens: %v", err)
	}
	operate(t, d, OperatorCommand{Action: "close", Product: "berry"})
	done := operate(t, d, OperatorCommand{Action: "times", Product: "berry", Opens: at(1)})
	if !strings.Contains(done.Text, "bramble sale open berry") || !done.After.ClosedByOperator {
		t.Errorf("the times of a sale that is closed by an operator: %q", done.Text)
	}
}
