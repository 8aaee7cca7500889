//go:build unix

package node_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"bramble/node/orderservice"
	"bramble/node/shop"
	"bramble/node/shop/shoptest"
)

// The product of these tests' shop.
const (
	berryPage  = "/p/berry"
	berryOrder = "/p/berry/order"
	berryPlace = "/p/berry/place"
)

// withShop returns the configuration of a shop with one product; more is TOML for the product.
func withShop(t testing.TB, stock int, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.toml")
	text := shoptest.Catalogue(fmt.Sprintf(`stock = %d
limit_per_person = 1
limit_by_address = false
%s
`, stock, more))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("[shop]\ncatalogue = %q\n", path)
}

// waitOrders waits until a board takes orders.
func (p *process) waitOrders() {
	p.rack.t.Helper()
	eventually(p.rack.t, p.name+" to take orders", func() (bool, string) {
		got, err := fetch(client(), p.http+berryOrder)
		if err != nil {
			return false, err.Error()
		}
		return strings.Contains(got.body, `action="`+berryPlace+`"`), got.body
	})
}

// buyer is a person with a browser without JavaScript that does not follow redirects
// by itself.
type buyer struct {
	name  string
	http  *http.Client
	token string // of the forms that this buyer fills in
}

func newBuyer(name string) *buyer {
	c := client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &buyer{name, c, newToken()}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// newToken returns a token, as the order page's script draws it.
func newToken() string { return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()) }

// fillForm fills in the form of an order page.
func (b *buyer) fillForm(page string) url.Values {
	form := url.Values{
		"name": {b.name}, "email": {b.name + "@buyer.example"}, "line1": {"1 Road of " + b.name},
		"city": {"Town"}, "postcode": {"AB1 2CD"}, "country": {"GB"},
	}
	for _, field := range hidden.FindAllStringSubmatch(page, -1) {
		form.Set(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
	}
	if form.Get("token") == "" {
		form.Set("token", cmp.Or(b.token, newToken()))
	}
	return form
}

// buyerReply is the result of submitting a form, as the buyer sees it.
type buyerReply string

const (
	placed     buyerReply = "placed"
	known      buyerReply = "something was placed before"
	soldOut    buyerReply = "sold out"
	notPlaced  buyerReply = "not placed"
	refused    buyerReply = "refused: orders are paused"
	uncertain  buyerReply = "uncertain"
	unexpected buyerReply = "unexpected"
)

// placeOrder loads the order page of a board, fills in the form and submits it. receipt
// is the path of the receipt if it was placed. Connections may break.
func (b *buyer) placeOrder(board string) (how buyerReply, receipt string, seen page) {
	how, form, seen := b.openForm(board)
	if form == nil {
		return how, "", seen
	}
	return b.submitForm(board, form)
}

// openForm loads the order page of a board and fills in the form. Without a form, how says
// why.
func (b *buyer) openForm(board string) (how buyerReply, form url.Values, seen page) {
	seen, err := fetch(b.http, board+berryOrder)
	switch {
	case err != nil:
		return notPlaced, nil, page{body: err.Error()}
	case strings.Contains(seen.body, `name="kind"`):
		return "", b.fillForm(seen.body), seen
	case strings.Contains(seen.body, `class="state sold_out"`):
		return soldOut, nil, seen
	}
	return notPlaced, nil, seen // there is no form now
}

func (b *buyer) submitForm(board string, form url.Values) (how buyerReply, receipt string, seen page) {
	r, err := http.NewRequest(http.MethodPost, board+berryPlace, strings.NewReader(form.Encode()))
	if err != nil {
		return unexpected, "", page{body: err.Error()}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := send(b.http, r)
	switch {
	case err != nil:
		return uncertain, "", page{body: err.Error()}
	case got.status == http.StatusSeeOther:
		return placed, got.header.Get("Location"), got
	case got.status == http.StatusConflict && strings.Contains(got.body, "something was placed here before"):
		return known, "", got
	case got.status == http.StatusConflict && strings.Contains(got.body, "The last one has just gone"):
		return soldOut, "", got
	case got.status == http.StatusServiceUnavailable && strings.Contains(got.body, "Orders are paused: nothing was taken"):
		return refused, "", got
	case got.status == http.StatusServiceUnavailable && (strings.Contains(got.body, "Nothing was submitted") || strings.Contains(got.body, "Nothing was taken")):
		return notPlaced, "", got
	case got.status == http.StatusServiceUnavailable:
		return uncertain, "", got
	}
	return unexpected, "", got
}

// mustSubmit submits a form until the order is placed: a board may pause orders for an
// election at any time.
func (b *buyer) mustSubmit(t testing.TB, board string, form url.Values) (receipt string) {
	t.Helper()
	receipt, err := b.submitUntilPlaced(board, form)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// submitUntilPlaced is mustSubmit for other goroutines than the test's.
func (b *buyer) submitUntilPlaced(board string, form url.Values) (receipt string, err error) {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		how, path, seen := b.submitForm(board, form)
		switch {
		case how == placed:
			return path, nil
		case how == soldOut, how == unexpected, time.Now().After(end):
			return "", fmt.Errorf("the order of %s: %s, %d %s", b.name, how, seen.status, seen.body)
		}
	}
}

// cancelOrder cancels an order and confirms it.
func (b *buyer) cancelOrder(board, receipt string) (buyerReply, page) {
	return b.submitTo(board, receipt+"/cancel", url.Values{"sure": {"yes"}})
}

// submitTo submits a form of a receipt.
func (b *buyer) submitTo(board, path string, form url.Values) (buyerReply, page) {
	r, err := http.NewRequest(http.MethodPost, board+path, strings.NewReader(form.Encode()))
	if err != nil {
		return unexpected, page{body: err.Error()}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := send(b.http, r)
	switch {
	case err != nil:
		return uncertain, page{body: err.Error()}
	case got.status == http.StatusSeeOther:
		return placed, got
	case got.status == http.StatusServiceUnavailable && strings.Contains(got.body, "Nothing was changed: orders are paused"):
		return refused, got
	case got.status == http.StatusServiceUnavailable:
		return uncertain, got
	}
	return unexpected, got
}

// reference returns the reference in a receipt's path.
func reference(receipt string) string {
	return strings.Split(strings.TrimPrefix(receipt, "/r/"), "/")[0]
}

// receipt reads the JSON of a receipt.
func (p *process) receipt(path string) (shop.Receipt, error) {
	var r shop.Receipt
	got, err := fetch(client(), p.http+path+".json")
	if err != nil {
		return r, err
	}
	if got.status != http.StatusOK {
		return r, fmt.Errorf("status %d: %s", got.status, got.body)
	}
	return r, json.Unmarshal([]byte(got.body), &r)
}

// listOrders lists all orders of the ledger, as an operator sees them.
func (p *process) listOrders() []orderservice.OrderJSON {
	p.rack.t.Helper()
	var all []orderservice.OrderJSON
	for after := uint64(0); ; {
		var list orderservice.OrderPage
		eventually(p.rack.t, p.name+" to list the orders", func() (bool, string) {
			got, err := p.callConsole(http.MethodGet, fmt.Sprintf("/api/v1/shop/orders?after=%d", after), "")
			if err != nil {
				return false, err.Error()
			}
			return got.status == http.StatusOK && json.Unmarshal([]byte(got.body), &list) == nil, got.body
		})
		all = append(all, list.Orders...)
		if list.Next == 0 {
			return all
		}
		after = list.Next
	}
}

// sale returns the product's sale, as an operator sees it.
func (p *process) sale() orderservice.SaleJSON {
	p.rack.t.Helper()
	var list []orderservice.SaleJSON
	eventually(p.rack.t, p.name+" to know the sale", func() (bool, string) {
		got, err := p.callConsole(http.MethodGet, "/api/v1/shop/sales", "")
		if err != nil {
			return false, err.Error()
		}
		return json.Unmarshal([]byte(got.body), &list) == nil && len(list) == 1, got.body
	})
	return list[0]
}

// sendCommand sends an operator's command through this board.
func (p *process) sendCommand(o orderservice.OperatorCommand) page {
	p.rack.t.Helper()
	o.Operator, o.OpID = "the test", uint64(time.Now().UnixNano())
	body, err := json.Marshal(o)
	if err != nil {
		p.rack.t.Fatal(err)
	}
	return p.post("/api/v1/shop/commands", string(body))
}
