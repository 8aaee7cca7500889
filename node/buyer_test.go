//go:build unix

package node_test

import (
	"encoding/json"
	"fmt"
	"html"
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
)

// The product of these tests' shop.
const (
	berryPage  = "/p/berry"
	berryOrder = "/p/berry/order"
	berryPlace = "/p/berry/place"
)

// withShop gives a rack a shop with one product; more is TOML for it.
func withShop(t testing.TB, stock int, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.toml")
	text := fmt.Sprintf(`name = "The test shop"
tagline = "Berries"
currency = "GBP"
tax_note = "Tax is in the price."
[seller]
name = "A hedge"
address = ["1 Lane"]
email = "hedge@shop.example"
[[shipping]]
country = "GB"
name = "United Kingdom"
price = "2.00"
[[product]]
slug = "berry"
name = "Berry"
tagline = "One"
description = ["A berry."]
price = "10.00"
stock = %d
limit_per_person = 1
limit_by_address = false
%s
`, stock, more)
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

// buyer is a person at a browser without JavaScript, who follows no redirect
// unseen.
type buyer struct {
	name string
	http *http.Client
}

func newBuyer(name string) *buyer {
	c := client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &buyer{name, c}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// fill fills in the form of the order page as the page has it.
func (b *buyer) fill(page string) url.Values {
	form := url.Values{
		"name": {b.name}, "email": {b.name + "@buyer.example"}, "line1": {"1 Road of " + b.name},
		"city": {"Town"}, "postcode": {"AB1 2CD"}, "country": {"GB"},
	}
	for _, field := range hidden.FindAllStringSubmatch(page, -1) {
		form.Set(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
	}
	return form
}

// outcome is what a press of the button came to.
type outcome string

const (
	taken   outcome = "taken"
	soldOut outcome = "sold out"
	sure    outcome = "not taken"
	unsure  outcome = "not sure"
	odd     outcome = "something else"
)

// press loads the order page of a board, fills in the form and sends it. receipt
// is the path of the receipt if it was taken. Connections may break.
func (b *buyer) press(board string) (how outcome, receipt string, seen page) {
	form, err := fetch(b.http, board+berryOrder)
	if err != nil {
		return sure, "", page{body: err.Error()}
	}
	switch {
	case strings.Contains(form.body, `name="kind"`):
	case strings.Contains(form.body, `class="state sold_out"`):
		return soldOut, "", form
	default:
		return sure, "", form // there is no form now
	}
	return b.send(board, b.fill(form.body))
}

func (b *buyer) send(board string, form url.Values) (how outcome, receipt string, seen page) {
	r, err := http.NewRequest(http.MethodPost, board+berryPlace, strings.NewReader(form.Encode()))
	if err != nil {
		return odd, "", page{body: err.Error()}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := send(b.http, r)
	switch {
	case err != nil:
		return unsure, "", page{body: err.Error()}
	case got.status == http.StatusSeeOther:
		return taken, got.header.Get("Location"), got
	case got.status == http.StatusConflict && strings.Contains(got.body, "The last one has just gone"):
		return soldOut, "", got
	case got.status == http.StatusServiceUnavailable && strings.Contains(got.body, "Nothing was submitted"):
		return sure, "", got
	case got.status == http.StatusServiceUnavailable:
		return unsure, "", got
	}
	return odd, "", got
}

// cancel takes an order back and says yes to the question.
func (b *buyer) cancel(board, receipt string) (outcome, page) {
	r, err := http.NewRequest(http.MethodPost, board+receipt+"/cancel", strings.NewReader("sure=yes"))
	if err != nil {
		return odd, page{body: err.Error()}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := send(b.http, r)
	switch {
	case err != nil:
		return unsure, page{body: err.Error()}
	case got.status == http.StatusSeeOther:
		return taken, got
	case got.status == http.StatusServiceUnavailable:
		return unsure, got
	}
	return odd, got
}

// reference is the short one in a receipt's path.
func reference(receipt string) string {
	return strings.Split(strings.TrimPrefix(receipt, "/r/"), "/")[0]
}

// receipt reads the JSON of one.
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

// papers lists all that the ledger has, as an operator sees it.
func (p *process) papers() []orderservice.OrderJSON {
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

// sale is the one product's, as an operator sees it.
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

// operate gives an operator's order by way of this board.
func (p *process) operate(o orderservice.OperatorCommand) page {
	p.rack.t.Helper()
	o.Operator, o.OpID = "the test", uint64(time.Now().UnixNano())
	body, err := json.Marshal(o)
	if err != nil {
		p.rack.t.Fatal(err)
	}
	return p.post("/api/v1/shop/commands", string(body))
}
