//go:build unix

package node_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"bramble/node/console"
	"bramble/node/orders/draw"
	"bramble/node/orderservice"
)

// TestHalfARackTakesNoOrders: two of five expected boards are a rack that serves
// pages and has no ledger; the other three found one by an operator's word, and the two
// join it.
func TestHalfARackTakesNoOrders(t *testing.T) {
	runBeside(t)
	r := newRack(t, 5, withShop(t, 10, ""))
	few, most := r.boards[:2], r.boards[2:]
	for _, b := range few {
		b.start()
	}
	for _, b := range few {
		b.waitReady()
		page := b.get(berryOrder)
		if strings.Contains(page.body, "Place the order") || !strings.Contains(page.body, "Not ready yet") {
			t.Errorf("%s, one of two boards of five, says %s", b.name, page.body)
		}
		form := newBuyer("early").fillForm(`<input type="hidden" name="kind" value="order">`)
		if how, _, seen := newBuyer("early").submitForm(b.http, form); how == placed {
			t.Errorf("%s, one of two boards of five, took an order: %d", b.name, seen.status)
		}
	}
	for _, b := range few {
		b.kill()
	}
	for _, b := range most {
		b.start()
	}
	most[0].allowFounding()
	got := &receipts{all: map[string]string{}}
	for _, b := range most {
		b.waitOrders()
	}
	startRush(t, most, 5, got, nil).Wait()
	for _, b := range few {
		b.start()
	}
	for _, b := range few {
		b.waitOrders()
		compareOrders(t, b, got, 10)
	}
}

// TestAnnouncementIsOnEveryPage of every board, soon.
func TestAnnouncementIsOnEveryPage(t *testing.T) {
	runBeside(t)
	r := startRack(t, 3, withShop(t, 10, ""))
	pages := []string{"/", berryPage, berryOrder, "/status", "/status.json"}
	for _, b := range r.boards {
		b.waitOrders()
		for _, path := range pages {
			b.get(path) // so that it is in memory
		}
	}
	if got := r.boards[1].sendCommand(orderservice.OperatorCommand{Action: "announce", Text: "The second batch is here"}); got.status != http.StatusOK {
		t.Fatalf("announcing: %d %s", got.status, got.body)
	}
	began := time.Now()
	for _, b := range r.boards {
		for _, path := range pages {
			eventually(t, b.name+path+" to have the announcement", func() (bool, string) {
				got := b.get(path)
				return strings.Contains(got.body, "The second batch is here"), got.body
			})
		}
	}
	t.Logf("on every page of every board %v after the command had ended", time.Since(began).Round(time.Millisecond))
}

// TestBallotCanBeRedone from what is published, by code of this test's own
// that shares nothing with the program's.
func TestBallotCanBeRedone(t *testing.T) {
	runBeside(t)
	const units, entrants = 3, 12
	hour := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	r := startRack(t, 3, withShop(t, units, fmt.Sprintf("mode = \"ballot\"\nopens = %s\ncloses = %s\ndraw = \"dice\"",
		hour(time.Now().Add(-time.Hour)), hour(time.Now().Add(time.Hour)))))
	for _, b := range r.boards {
		b.waitOrders()
	}
	got := &receipts{all: map[string]string{}}
	startRush(t, r.boards, entrants, got, nil).Wait()
	if len(got.all) != entrants {
		t.Fatalf("%d of %d entered", len(got.all), entrants)
	}
	if got := r.boards[0].sendCommand(orderservice.OperatorCommand{Action: "close", Product: "berry"}); got.status != http.StatusOK {
		t.Fatalf("closing: %d %s", got.status, got.body)
	}
	const rolled = "36115246613611524661"
	eventually(t, "the board to know the ledger's clock, and to draw", func() (bool, string) {
		got := r.boards[1].sendCommand(orderservice.OperatorCommand{Action: "draw", Product: "berry", Kind: "dice", Text: rolled})
		return got.status == http.StatusOK, got.body
	})
	var f draw.File
	for _, b := range r.boards {
		eventually(t, b.name+" to publish the draw", func() (bool, string) {
			page := b.get("/p/berry/draw.json")
			f = draw.File{}
			return page.status == http.StatusOK && json.Unmarshal([]byte(page.body), &f) == nil && len(f.Winners) > 0, page.body
		})
	}
	sum := func(text string) string {
		h := sha256.Sum256([]byte(text))
		return hex.EncodeToString(h[:])
	}
	var list, tickets []string
	for _, path := range got.all {
		list = append(list, reference(path)+" 1")
	}
	slices.Sort(list)
	promise := sum(fmt.Sprintf("bramble draw promise\n3\nberry\n%s\n%s\ndice 20\n%s\n", f.Opens.Format(time.RFC3339Nano), f.Closes.Format(time.RFC3339Nano), f.Commitment))
	hash := sum(fmt.Sprintf("%s\n%s\n%s\n%d\n%s\n", promise, f.Listed.Format(time.RFC3339Nano), f.Boards.Format(time.RFC3339Nano), units, strings.Join(list, "\n")))
	if hash != f.List || f.Boards.IsZero() {
		t.Errorf("by hand the list's hash is %s: %+v", hash, f)
	}
	for _, b := range r.boards { // so a false page of one board is seen
		eventually(t, b.name+" to show the same hashes", func() (bool, string) {
			page := b.get("/p/berry/draw")
			return strings.Contains(page.body, ">"+promise+"<") && strings.Contains(page.body, ">"+hash+"<"), page.body
		})
	}
	seed := sum("bramble draw 3\n" + f.Secret + "\n" + hash + "\n" + rolled + "\n")
	for _, line := range list {
		ref := strings.TrimSuffix(line, " 1")
		tickets = append(tickets, sum(seed+" "+ref)+" "+ref)
	}
	slices.Sort(tickets)
	for i := range units {
		if _, ref, _ := strings.Cut(tickets[i], " "); f.Winners[i] != ref {
			t.Errorf("winner %d is %s and not %s", i+1, f.Winners[i], ref)
		}
	}
	if sum("bramble draw secret\n"+f.Secret) != f.Commitment || len(f.Winners) != units || len(f.Losers) != entrants-units {
		t.Errorf("%d winners, %d losers, commitment %s", len(f.Winners), len(f.Losers), f.Commitment)
	}
	for _, path := range got.all {
		want := "lost"
		if slices.Contains(f.Winners, reference(path)) {
			want = "won"
		}
		// The file may come from a board that is ahead of this one.
		eventually(t, "the receipt to show "+want, func() (bool, string) {
			receipt, err := r.boards[2].receipt(path)
			return err == nil && receipt.State == want, fmt.Sprintf("%+v, %v", receipt, err)
		})
	}
}

// TestWaitingListIsInvited: the waiting list is on the same page, and an
// invitation becomes an order.
func TestWaitingListIsInvited(t *testing.T) {
	runBeside(t)
	r := startRack(t, 3, withShop(t, 1, "waiting_list = true"))
	for _, b := range r.boards {
		b.waitOrders()
	}
	r.boards[0].mustOrder("first", "berry")
	second := newBuyer("second")
	var waits string
	eventually(t, "the second to be on the waiting list", func() (bool, string) {
		form, err := fetch(second.http, r.boards[1].http+berryOrder)
		if err != nil || !strings.Contains(form.body, "Join the waiting list") {
			return false, form.body
		}
		how, path, seen := second.submitForm(r.boards[1].http, second.fillForm(form.body))
		waits = path
		return how == placed, seen.body
	})
	if receipt, err := r.boards[2].receipt(waits); err != nil || receipt.Kind != "waiting" || receipt.State != "open" {
		t.Fatalf("waiting: %+v, %v", receipt, err)
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for _, o := range []orderservice.OperatorCommand{
		{Action: "stock", Product: "berry", Count: 1},
		{Action: "invite", Product: "berry", Count: 5, Until: &until},
	} {
		if got := r.boards[0].sendCommand(o); got.status != http.StatusOK {
			t.Fatalf("%s: %d %s", o.Action, got.status, got.body)
		}
	}
	if receipt, err := r.boards[0].receipt(waits); err != nil || receipt.State != "invited" {
		t.Fatalf("invited: %+v, %v", receipt, err)
	}
	// The receipt has the form, filled in, with one button.
	form := url.Values{}
	eventually(t, "another board to show the invitation", func() (bool, string) {
		page := r.boards[2].get(waits)
		for _, field := range hidden.FindAllStringSubmatch(page.body, -1) {
			form.Set(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
		}
		return form.Has("agreed"), page.body
	})
	if how, seen := second.submitTo(r.boards[2].http, waits+"/order", form); how != placed || seen.header.Get("Location") != waits {
		t.Fatalf("accepting: %s, %d %s", how, seen.status, seen.body)
	}
	if receipt, err := r.boards[2].receipt(waits); err != nil || receipt.Kind != "order" {
		t.Errorf("after accepting: %+v, %v", receipt, err)
	}
	if sale := r.boards[2].sale(); sale.Sold != 2 || sale.Held != 0 || sale.Free != 0 {
		t.Errorf("sold %d, held %d, free %d", sale.Sold, sale.Held, sale.Free)
	}
}

// mailbox is the backend of a mail server: the mail that it received, by recipient.
type mailbox struct {
	mu  sync.Mutex
	got map[string]string
}

// NewSession is go-smtp's.
func (m *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &mailSession{of: m}, nil }

type mailSession struct {
	of *mailbox
	to string
}

func (*mailSession) Mail(string, *smtp.MailOptions) error        { return nil }
func (m *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error { m.to = to; return nil }
func (*mailSession) Reset()                                      {}
func (*mailSession) Logout() error                               { return nil }

func (m *mailSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	m.of.got[m.to] += string(text)
	return err
}

// TestBuyersConfirmByMail the whole way: with [mail], a form makes nothing that counts; a real mail server brings the link, its
// page on any board shows the form and makes it count, and the mail after that has the receipt.
func TestBuyersConfirmByMail(t *testing.T) {
	runBeside(t)
	box := &mailbox{got: map[string]string{}}
	office := smtp.NewServer(box)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go office.Serve(l) // ends with Close
	defer office.Close()
	r := startRack(t, 3, withShop(t, 10, "")+fmt.Sprintf("[mail]\nserver = %q\ntls = \"none\"\n", l.Addr()))
	for _, b := range r.boards {
		b.waitOrders()
	}
	got := &receipts{all: map[string]string{}}
	startRush(t, r.boards, 5, got, nil).Wait()
	if sale := r.boards[0].sale(); sale.Sold != 0 || sale.Confirm != "30m0s" {
		t.Errorf("%d sold, confirmation within %q", sale.Sold, sale.Confirm)
	}
	link := regexp.MustCompile(`https://shop\.example(/r/\S+/confirm)`)
	at := 0
	for name, path := range got.all {
		mailed := func(what string, find func(text string) bool) {
			eventually(t, name+" to get the mail with the "+what, func() (bool, string) {
				box.mu.Lock()
				defer box.mu.Unlock()
				text := box.got[name+"@buyer.example"]
				return find(text), text
			})
		}
		var confirm, moved string
		mailed("link", func(text string) bool {
			if m := link.FindStringSubmatch(text); m != nil {
				confirm = m[1]
			}
			return confirm != ""
		})
		at++
		board := r.boards[at%3]
		eventually(t, "the page behind the link", func() (bool, string) {
			page := board.get(confirm)
			return page.status == http.StatusOK && strings.Contains(page.body, reference(path)) && strings.Contains(page.body, "This one is mine"), page.body
		})
		eventually(t, "the confirmation", func() (bool, string) {
			how, seen := newBuyer(name).submitTo(board.http, confirm, url.Values{"sure": {"yes"}})
			moved = seen.header.Get("Location")
			return how == placed && reference(moved) == reference(path) && moved != path, seen.body
		})
		if page := board.get(path); page.status != http.StatusGone || strings.Contains(page.body, name) {
			t.Errorf("%s: the form's receipt after the confirmation: %d %s", name, page.status, page.body)
		}
		if receipt, err := board.receipt(moved); err != nil || receipt.State != "open" {
			t.Errorf("%s: %+v, %v", name, receipt, err)
		}
		mailed("receipt", func(text string) bool { return strings.Contains(text, "https://shop.example"+moved+"\r\n") })
	}
	if sale := r.boards[0].sale(); sale.Sold != 5 || sale.Held != 0 {
		t.Errorf("%d sold, %d held", sale.Sold, sale.Held)
	}
}

// TestOrdersAreFulfilled to a receiver that checks signatures with the
// standard's own library, each at least once, although the leader is killed.
func TestOrdersAreFulfilled(t *testing.T) {
	runBeside(t)
	const buyers = 30
	const secret = "whsec_c2VjcmV0IG9mIHRoaXMgdGVzdCBhbG9uZQ=="
	check, err := webhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	posted := map[string]int{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || check.Verify(body, r.Header) != nil {
			t.Errorf("a post that is not signed: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		posted[r.Header.Get("webhook-id")]++
	}))
	defer receiver.Close()
	r := startRack(t, 3, withShop(t, 100, `fulfilment_delay = "1s"`)+fmt.Sprintf("[webhook]\nurl = %q\nsecret = %q\n", receiver.URL, secret))
	for _, b := range r.boards {
		b.waitOrders()
	}
	got := &receipts{all: map[string]string{}}
	buying := startRush(t, r.boards, buyers, got, nil)
	leader := r.leader()
	leader.kill()
	buying.Wait()
	leader.start()
	for _, path := range got.all {
		eventually(t, "the order to be posted", func() (bool, string) {
			mu.Lock()
			defer mu.Unlock()
			return posted[reference(path)] > 0, fmt.Sprint(posted)
		})
	}
	eventually(t, "the ledger to record it", func() (bool, string) {
		over := 0
		for _, p := range r.boards[0].listOrders() {
			if p.State == "fulfilled" {
				over++
			}
		}
		return over == buyers, fmt.Sprint(over)
	})
}

// TestPanelShowsLeaderAndSale: every console shows what every board's lamps show.
func TestPanelShowsLeaderAndSale(t *testing.T) {
	runBeside(t)
	r := startRack(t, 3, withShop(t, 1, ""))
	for _, b := range r.boards {
		b.waitOrders()
	}
	says := func(b *process, what string) {
		t.Helper()
		for _, observer := range r.boards {
			observer.waitFor("the lamps of "+b.name+" say "+what, func(s console.RackView) bool {
				for _, board := range s.Boards {
					if board.Name == b.name {
						return strings.Contains(board.Panel.Summary, what)
					}
				}
				return false
			})
		}
	}
	leader := r.leader()
	says(leader, "leader of the ledger")
	other := r.boards[(slices.Index(r.boards, leader)+1)%3]
	if got := other.post("/api/v1/locate", fmt.Sprintf(`{"board":%q}`, leader.name)); got.status != http.StatusNoContent {
		t.Fatalf("locate: %d %s", got.status, got.body)
	}
	says(leader, "locate")
	if got := other.post("/api/v1/locate", fmt.Sprintf(`{"board":%q,"undo":true}`, leader.name)); got.status != http.StatusNoContent {
		t.Fatalf("locate off: %d %s", got.status, got.body)
	}
	other.mustOrder("last", "berry")
	says(other, "sold out")
}

// breakCard makes a board start without an order book.
func breakCard(t *testing.T, b *process) {
	t.Helper()
	if err := os.WriteFile(b.orders(), []byte("no folder"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestBoardWithAFailingCard: it serves pages and shows that it takes no orders; the
// other boards take orders.
func TestBoardWithAFailingCard(t *testing.T) {
	runBeside(t)
	r := newRack(t, 3, withShop(t, 5, ""))
	broken := r.boards[0]
	breakCard(t, broken)
	for _, b := range r.boards {
		b.start()
	}
	r.boards[1].allowFounding()
	for _, b := range r.boards[1:] {
		b.waitOrders()
		if how, _, seen := newBuyer("of-" + b.name).placeOrder(b.http); how == unexpected {
			t.Errorf("%s: %d", b.name, seen.status)
		}
	}
	broken.waitReady()
	form := newBuyer("unlucky").fillForm(r.boards[1].get(berryOrder).body)
	eventually(t, "the broken board to know that the others accept orders", func() (bool, string) {
		how, _, seen := newBuyer("unlucky").submitForm(broken.http, form)
		return how == notPlaced && strings.Contains(seen.body, "its other servers can accept it"), seen.body
	})
	if page := broken.get(berryPage); page.status != http.StatusOK {
		t.Errorf("the product at the broken board: %d", page.status)
	}
	r.boards[1].waitFor("that a card fails", func(s console.RackView) bool {
		for _, b := range s.Boards {
			if b.Name == broken.name {
				return slices.Contains(b.Faults, "card-failing")
			}
		}
		return false
	})
}
