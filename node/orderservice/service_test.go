package orderservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/fulfilment"
	"bramble/node/orders"
)

// fakeLedger is a ledger of one board without a disk: it applies a command at once. Each
// Submit first removes an error from fail; then the command is applied only if the error
// is ErrUncertain.
type fakeLedger struct {
	t    *testing.T
	book *orders.Book

	mu       sync.Mutex // protects the rest
	index    uint64
	now      time.Time
	fail     []error
	leading  bool
	status   *ledger.Status // what Status returns, if not nil
	compact  int
	through  uint64
	logSince time.Time
	agreed   *float64 // what the boards agree on, ahead of the ledger
}

func (f *fakeLedger) Submit(ctx context.Context, command []byte) ([]byte, uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	if len(f.fail) > 0 {
		err, f.fail = f.fail[0], f.fail[1:]
	}
	if err != nil && !errors.Is(err, ledger.ErrUncertain) {
		return nil, 0, err
	}
	f.index++
	replies, broken := f.book.Apply(f.index, f.now, orders.MaxRules, [][]byte{command})
	if broken != nil {
		f.t.Error(broken)
		return nil, 0, ledger.ErrHalted
	}
	return replies[0], f.index, err
}

func (f *fakeLedger) Wait(context.Context, uint64) error { return nil }

func (f *fakeLedger) Barrier(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.fail) > 0 {
		return f.fail[0]
	}
	return nil
}

func (f *fakeLedger) Now() (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, true
}

func (f *fakeLedger) Status() ledger.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status != nil {
		return *f.status
	}
	return ledger.Status{Founded: true, Rules: orders.MaxRules, Leading: f.leading, Leader: "b1", Compacted: f.through, Applied: f.index, Clock: ledger.ClockStatus{Trusted: true}}
}

func (f *fakeLedger) Clock(context.Context) (ledger.ClockReport, error) {
	return ledger.ClockReport{ClockStatus: f.Status().Clock, Leader: "b1", Agreed: f.agreed}, nil
}

func (f *fakeLedger) SetClock(context.Context, time.Time, []byte) ([]byte, uint64, error) {
	return nil, 0, ledger.ErrUncertain
}

func (f *fakeLedger) LogSince() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logSince
}

func (f *fakeLedger) CompactThrough(_ context.Context, through uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.compact++
	f.through = through
	f.logSince = time.Time{}
	return nil
}

func (f *fakeLedger) ReadLog(ledger.StateMachine) (ledger.Recovery, error) {
	return ledger.Recovery{}, errors.New("this ledger has no log")
}

func (f *fakeLedger) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// berry returns an offer of two units.
func berry() orders.Offer {
	return orders.Offer{
		Operation: orders.Operation{Operator: "test", OpID: 1},
		Product:   "berry", Mode: orders.FirstCome, Stock: 2, Limit: 1, WaitingList: true,
		Price: 1000, Currency: "GBP", Countries: []orders.Country{{Code: "GB", Shipping: 200}},
		Webhook: true,
	}
}

func testOrder(n int) orders.PlaceOrder {
	return orders.PlaceOrder{
		ID: orders.ID(n), Product: "berry", Kind: orders.KindOrder, Quantity: 1, Total: 1200, Currency: "GBP",
		Person: orders.Person{Name: "Ada", Email: fmt.Sprintf("ada%d@buyer.example", n), Line1: fmt.Sprintf("%d Road", n), City: "Town", Country: "GB"},
	}
}

// newTestService returns a service with its ledger; its catalogue offers the berry.
func newTestService(t *testing.T) (*Service, *fakeLedger) {
	t.Helper()
	book, err := orders.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	})
	l := &fakeLedger{t: t, book: book, now: time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)}
	d := New(Config{
		Ledger: l, Book: book, Offers: []orders.Offer{berry()}, Keys: [][]byte{[]byte("new key"), []byte("old key")},
		Logger: slog.New(slog.DiscardHandler), Clock: time.Now,
	})
	return d, l
}

func TestPlaceOrderIsDecidedOrUncertain(t *testing.T) {
	down := fmt.Errorf("%w: test", ledger.ErrNoMajority)
	lost := fmt.Errorf("%w: test", ledger.ErrUncertain)
	for _, tt := range []struct {
		name   string
		fail   []error
		want   error // nil: placed
		placed bool
	}{
		{"at once", nil, nil, true},
		{"waits for a new leader", []error{down, down}, nil, true},
		{"waits for a full queue", []error{ledger.ErrBusy}, nil, true},
		{"submits again after a lost answer", []error{lost}, nil, true},
		{"never a leader", []error{down, down, down, down, down, down, down, down}, orders.ErrNotCommitted, false},
		{"lost, and then no leader", []error{lost, down, down, down, down, down, down, down}, orders.ErrUncertain, true},
		{"not founded", []error{ledger.ErrNotFounded}, orders.ErrUnavailable, false},
		{"two ledgers", []error{ledger.ErrTwoLedgers}, orders.ErrUnavailable, false},
		{"halted", []error{ledger.ErrHalted}, orders.ErrUnavailable, false},
		{"lost, and then halted", []error{lost, ledger.ErrHalted}, orders.ErrUncertain, true},
		{"an unknown error", []error{errors.New("odd"), ledger.ErrStopped}, orders.ErrUncertain, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, l := newTestService(t)
				if !d.offerCatalogue(t.Context()) {
					t.Fatal("no offer")
				}
				l.set(func() { l.fail = tt.fail })
				ctx, cancel := context.WithTimeout(t.Context(), 6*retryInterval)
				defer cancel()
				a, err := d.PlaceOrder(ctx, testOrder(7))
				if !errors.Is(err, tt.want) || tt.want == nil && (err != nil || a.Order != 7) {
					t.Errorf("%+v, %v; want %v", a, err, tt.want)
				}
				l.set(func() { l.fail = nil })
				if _, _, err := d.Order(t.Context(), 7); (err == nil) != tt.placed {
					t.Errorf("the order: %v", err)
				}
			})
		})
	}
}

func TestLeaderOffersAndTicksOnce(t *testing.T) {
	d, l := newTestService(t)
	if d.updateLeading(t.Context()) || d.Leading() {
		t.Error("it leads without the ledger leading")
	}
	l.set(func() { l.leading, l.fail = true, []error{ledger.ErrNoMajority} })
	if d.updateLeading(t.Context()) || d.Leading() {
		t.Error("it leads before it has caught up")
	}
	l.set(func() { l.fail = nil })
	if !d.updateLeading(t.Context()) || !d.Leading() {
		t.Fatal("it does not lead")
	}
	for range 2 {
		if !d.offerCatalogue(t.Context()) {
			t.Fatal("no offer")
		}
	}
	if l.index != 1 {
		t.Errorf("%d commands for one offer", l.index)
	}
	d.runDueTicks(t.Context())
	if l.index != 1 {
		t.Error("a tick although nothing is due")
	}
	later := l.now.Add(time.Hour)
	if _, err := d.Operate(t.Context(), OperatorCommand{Action: "times", Operator: "me", OpID: 5, Product: "berry", Closes: &later}); err != nil {
		t.Fatal(err)
	}
	l.set(func() { l.now = later })
	d.runDueTicks(t.Context())
	if sale, _ := d.Sale("berry"); sale.State != orders.SaleClosed {
		t.Errorf("after its closing time it is %v", sale.State)
	}
}

func TestErasedPeopleLeaveTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, l := newTestService(t)
		d.offerCatalogue(t.Context())
		if _, err := d.PlaceOrder(t.Context(), testOrder(3)); err != nil {
			t.Fatal(err)
		}
		out, err := d.Operate(t.Context(), OperatorCommand{Action: "erase", Operator: "me", OpID: 9, Email: "ada3@Buyer.example"})
		if err != nil || out.Count != 1 {
			t.Fatalf("%+v, %v", out, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.Run(ctx); close(done) }()
		time.Sleep(2 * minCompactInterval)
		cancel()
		<-done
		if l.compact != 1 {
			t.Errorf("the log was compacted %d times for one erasure", l.compact)
		}
	})
}

func TestReceiptTokens(t *testing.T) {
	d, _ := newTestService(t)
	token := d.Sign(7, false)
	if !d.Verify(7, token) || d.Verify(8, token) || d.Verify(7, token[1:]) || d.Verify(7, token[:len(token)-1]+"1") || d.Verify(7, token[:macLetters]) || d.Verify(7, "") {
		t.Errorf("%q is accepted for the wrong order", token)
	}
	if old := (signer{d.deriveKey([]byte("old key"), receiptPurpose)}).signID(7, ""); !d.Verify(7, old) {
		t.Error("a receipt signed with the old key is not accepted")
	}
	if len(token) < 26 || strings.Trim(token, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		t.Errorf("%q", token)
	}
}

func TestJobs(t *testing.T) {
	d, l := newTestService(t)
	d.offerCatalogue(t.Context())
	if _, err := d.PlaceOrder(t.Context(), testOrder(3)); err != nil {
		t.Fatal(err)
	}
	box := d.Jobs()
	jobs, err := box.Outbox(orders.QueueWebhook, l.now, orders.Job{}, 10)
	if err != nil || len(jobs) != 1 || jobs[0].Order.ID != 3 {
		t.Fatalf("%+v, %v", jobs, err)
	}
	if err := box.BeginFulfilment(t.Context(), 4); !errors.Is(err, fulfilment.ErrGone) {
		t.Errorf("beginning the fulfilment of an order that does not exist: %v", err)
	}
	if err := box.BeginFulfilment(t.Context(), 3); err != nil {
		t.Error(err)
	}
	if err := d.CancelOrder(t.Context(), 3); !errors.Is(err, orders.ErrTooLate) {
		t.Errorf("cancelling what is on its way: %v", err)
	}
	for range 2 { // a second time is no error
		if err := box.FinishJob(t.Context(), 3, orders.JobWebhook, fulfilment.ByWebhook); err != nil {
			t.Error(err)
		}
	}
	if p, err := box.Order(3); err != nil || p.State != orders.StateFulfilled {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestHandler(t *testing.T) {
	d, l := newTestService(t)
	d.offerCatalogue(t.Context())
	for n := range 2 {
		if _, err := d.PlaceOrder(t.Context(), testOrder(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	first := orders.ID(1).String()
	h := d.Handler("/api/")
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "orders", "", 200, `"reference":"` + first + `"`},
		{"GET", "orders?limit=1", "", 200, `"next":1`},
		{"GET", "orders?limit=1&after=1", "", 200, `"number":2`},
		{"GET", "orders?state=cancelled", "", 200, `"orders":[]`},
		{"GET", "orders?kind=order&product=berry", "", 200, `"number":1`},
		{"GET", "orders?kind=parcel", "", 400, `none of order, entry, interest, waiting`},
		{"GET", "orders?limit=9999", "", 400, "limit is a number from 1 to 200"},
		{"GET", "orders?after=x", "", 400, "after is a number"},
		{"GET", "orders/" + first, "", 200, `"email":"ada1@buyer.example"`},
		{"GET", "orders/" + orders.ID(99).String(), "", 404, "no such order"},
		{"GET", "orders/nonsense", "", 400, "not a reference"},
		{"GET", "sales", "", 200, `"state":"sold_out"`},
		{"GET", "draw/berry", "", 409, "nothing has been drawn: berry is not a ballot; it is sold as first-come"},
		{"GET", "draw/plum", "", 404, "no such sale"},
		{"GET", "sales/berry", "", 200, `"product":"berry"`},
		{"GET", "sales/plum", "", 404, "no such sale"},
		{"GET", "ledger", "", 200, `"founded":true`},
		{"POST", "commands", `{"action":"stock","operator":"me","op_id":"7","product":"berry","count":3}`, 200, "Done. Free units of berry: 3."},
		{"POST", "commands", `{"action":"stock","operator":"me","op_id":"7","product":"berry","count":3}`, 200, ""},
		{"POST", "commands", `{"action":"stock","operator":"me","op_id":"8","product":"berry","count":-9}`, 409, "only 3 units are free"},
		{"POST", "commands", `{"action":"stock","operator":"me","op_id":"9","product":"plum","count":3}`, 404, "no such sale"},
		{"POST", "commands", `{"action":"stock","op_id":"10","product":"berry","count":3}`, 400, ""},
		{"POST", "commands", `{"action":"times","operator":"me","op_id":"14","product":"berry","opens":"2030-01-02T00:00:00Z","closes":"2030-01-01T00:00:00Z"}`, 400, "closes is not after the opening time"},
		{"POST", "commands", `{"action":"dance","operator":"me","op_id":"11"}`, 400, "action is one of"},
		{"POST", "commands", `{"action":"stock","colour":1}`, 400, "colour"},
		{"POST", "commands", `{"action":"cancel","operator":"me","op_id":"12","reference":"` + first + `","text":"by hand"}`, 200, "Done."},
		{"POST", "commands", `{"action":"announce","operator":"me","op_id":"13","text":"Hear, hear"}`, 200, "Done."},
		{"GET", "audit", "", 200, "Hear, hear"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, "/api/"+tt.path, strings.NewReader(tt.body)))
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %s %s: %d %s; want %d with %q", tt.method, tt.path, tt.body, w.Code, w.Body, tt.status, tt.want)
		}
	}
	if sale, _ := d.Sale("berry"); sale.Stock != 5 || sale.Sold != 1 {
		t.Errorf("the same operation twice: stock %d, sold %d", sale.Stock, sale.Sold)
	}
	if news := d.News(); len(news) != 1 || news[0].Text != "Hear, hear" {
		t.Errorf("news %+v", news)
	}
	// A board that is cut off lists nothing unless the client accepts a stale list.
	l.set(func() { l.fail = []error{ledger.ErrNoMajority} })
	for path, want := range map[string]int{"orders": http.StatusServiceUnavailable, "orders?stale=1": http.StatusOK} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/api/"+path, nil))
		if w.Code != want {
			t.Errorf("cut off, %s: %d", path, w.Code)
		}
	}
}

// A board that is cut off advises --stale only where a command of that request has it.
func TestStaleIsAdvisedWhereItExists(t *testing.T) {
	for request, hasStale := range map[string]bool{
		"GET orders": true, "GET orders/{ref}": true, "GET orders/{ref}/link": true, "GET audit": true, "GET backup": true,
		"GET sales/berry": false, "GET draw/berry": false, `POST commands {"action":"relink","operator":"me","op_id":"7","revoke":true}`: false,
	} {
		d, l := newTestService(t)
		d.cfg.Link = func(orders.ID, string) string { return "" }
		l.set(func() { l.fail = []error{ledger.ErrNoMajority} })
		parts := strings.SplitN(strings.ReplaceAll(request, "{ref}", orders.ID(1).String())+" ", " ", 3)
		w := httptest.NewRecorder()
		d.Handler("/api/").ServeHTTP(w, httptest.NewRequest(parts[0], "/api/"+parts[1], strings.NewReader(parts[2])))
		if got := w.Body.String(); w.Code != http.StatusServiceUnavailable || !strings.Contains(got, "Use another board") || strings.Contains(got, "--stale") != hasStale {
			t.Errorf("%s: %d %s", request, w.Code, got)
		}
	}
}

// recountBook compares every counter and index of a book with its orders, as a restored copy does.
func recountBook(t testing.TB, book *orders.Book) error {
	t.Helper()
	s, err := book.Snapshot()
	if err != nil {
		return err
	}
	defer s.Close()
	var written bytes.Buffer
	if _, err := s.WriteTo(&written); err != nil {
		return err
	}
	restored, err := orders.Open(t.TempDir())
	if err != nil {
		return err
	}
	return errors.Join(restored.Restore(&written), restored.Close())
}
