package shop

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"bramble/node/orders"
)

// While orders are paused, every page with a form says so and offers none; /status.json says it
// for programs; and all of them change back.
func TestPausedPages(t *testing.T) {
	for _, c := range []struct {
		pause  orders.Pause
		state  string // on every page
		order  string // on the order page
		reason string
	}{
		{orders.PausedRack, "Orders are paused", "Nothing is lost: every order that has a receipt is stored", "paused"},
		{orders.PausedBoard, "No orders on this server now", "open the shop again in a few minutes", "this_board"},
		{orders.PausedStart, "Not ready yet", "Orders cannot be taken here at the moment", "not_ready"},
	} {
		x := openSale(t, nil)
		tags := map[string]string{}
		for _, path := range []string{"/", boardPath, boardPath + "/order", "/status"} {
			tags[path] = request(x.Shop, "GET", path).Header().Get("ETag")
		}
		x.book.pause = c.pause
		for path, tag := range tags {
			w := request(x.Shop, "GET", path, "If-None-Match", tag)
			if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "public, max-age=1, must-revalidate" {
				t.Errorf("%s %s: %d %s", c.pause, path, w.Code, w.Header().Get("Cache-Control"))
			}
			html := w.Body.String()
			if !strings.Contains(html, c.state) || strings.Contains(html, "In stock") || strings.Contains(html, `method="post"`) {
				t.Errorf("%s %s: %s", c.pause, path, textOf(html))
			}
			if refreshes := strings.Contains(html, `http-equiv="refresh" content="20"`); refreshes != (path == boardPath+"/order") {
				t.Errorf("%s %s: it loads itself again: %t", c.pause, path, refreshes)
			}
		}
		if html := request(x.Shop, "GET", boardPath+"/order?country=DE").Body.String(); !strings.Contains(textOf(html), c.order) || !strings.Contains(html, "US$43.00") {
			t.Errorf("%s: the order page: %s", c.pause, textOf(html))
		}
		if x.SharesPage(&url.URL{Path: boardPath}) {
			t.Errorf("%s: other boards may show these pages", c.pause)
		}
		var st Status
		if err := json.Unmarshal(request(x.Shop, "GET", "/status.json").Body.Bytes(), &st); err != nil || st.TakesOrders || st.Reason == nil || *st.Reason != c.reason || st.Products[0].Form != nil {
			t.Errorf("%s: /status.json: %+v, %v", c.pause, st, err)
		}
		x.book.pause = orders.NotPaused
		for path, tag := range tags {
			if w := request(x.Shop, "GET", path, "If-None-Match", tag); w.Code != http.StatusNotModified {
				t.Errorf("%s %s does not change back: %d %s", c.pause, path, w.Code, textOf(w.Body.String()))
			}
		}
		if st := x.buildStatus(x.readPageState(opening)); !st.TakesOrders || st.Reason != nil || !x.SharesPage(&url.URL{Path: boardPath}) {
			t.Errorf("%s: /status.json after it: %+v", c.pause, st)
		}
	}
}

// A sale without a form says what it said before: a pause takes nothing from it.
func TestAPauseChangesOnlyWhatHasAForm(t *testing.T) {
	x := openSale(t, nil)
	x.book.pause, x.book.now = orders.PausedRack, opening.Add(-1)
	if html := request(x.Shop, "GET", boardPath).Body.String(); !strings.Contains(html, "Opens at") || strings.Contains(html, "paused") {
		t.Error(textOf(html))
	}
	x.book.now = x.sale.Closes
	if html := request(x.Shop, "GET", boardPath).Body.String(); !strings.Contains(html, ">Closed") {
		t.Error(textOf(html))
	}
}

// A form that comes while orders are paused is answered at once: nothing reaches the order
// book, the page says so, has no form, and keeps what was typed behind one button, which
// places the order once orders go on.
func TestAFormDuringAPauseLosesNothing(t *testing.T) {
	for _, c := range []struct {
		pause  orders.Pause
		pairs  []string
		says   string
		unsure bool
	}{
		{orders.PausedRack, nil, "Orders are paused: nothing was taken", false},
		{orders.PausedBoard, nil, "Nothing was taken: this server of the shop", false},
		{orders.PausedStart, nil, "Nothing was taken: the shop is not ready yet", false},
		{orders.PausedRack, []string{"unsure", "yes"}, "We still cannot tell whether this went through", true},
		{orders.PausedRack, []string{"name", "", "email", "wrong"}, "Orders are paused: nothing was taken", false},
	} {
		x := openSale(t, func(p *Product) { p.PerPerson = 3 })
		x.book.pause = c.pause
		w := x.postOrder(append([]string{"quantity", "2", "shown", "DE"}, c.pairs...)...)
		html := w.Body.String()
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "20" || len(x.book.submitted) != 0 {
			t.Errorf("%s: %d %v, %d submitted", c.says, w.Code, w.Header(), len(x.book.submitted))
		}
		if !strings.Contains(html, c.says) || strings.Contains(html, "in a few seconds") || strings.Contains(html, `id="email"`) || strings.Contains(html, "refresh") {
			t.Errorf("%s: %s", c.says, textOf(html))
		}
		if strings.Contains(strings.ToLower(html), "nothing was taken") == c.unsure {
			t.Errorf("%s: the outcome of the first try: %s", c.says, textOf(html))
		}
		if !strings.Contains(html, "<pre>Berlin</pre>") {
			t.Errorf("%s: lost the city: %s", c.says, textOf(html))
		}
		if c.pause == orders.PausedBoard {
			if len(hidden(html)) > 0 {
				t.Errorf("%s: it has a button", c.says)
			}
			continue
		}
		again := url.Values{}
		for name, value := range hidden(html) {
			again.Set(name, strings.ReplaceAll(value, "&#39;", "'"))
		}
		x.book.pause = orders.NotPaused
		w = x.post(boardPath+"/place", again.Encode())
		if good := again.Get("email") == "ada@example.org"; (w.Code == http.StatusSeeOther) != good || !good && w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: sent again: %d %s", c.says, w.Code, textOf(w.Body.String()))
		}
		if len(x.book.submitted) > 0 && (x.book.submitted[0].Quantity != 2 || x.book.submitted[0].Person.Line1 != "12 St James's Square") {
			t.Errorf("%s: %+v", c.says, x.book.submitted[0].Quantity)
		}
	}
}

// An outcome that is not known stays that through a pause: the form remembers it.
func TestAnUncertainOrderStaysUncertainThroughAPause(t *testing.T) {
	x := openSale(t, nil)
	x.book.fail = orders.ErrUncertain
	first := hidden(x.postOrder().Body.String())
	if first["unsure"] != "yes" {
		t.Fatalf("the form after an uncertain outcome has %v", first)
	}
	x.book.fail = fmt.Errorf("%w: no leader", orders.ErrPaused)
	second := x.postOrder("unsure", "yes").Body.String()
	if !strings.Contains(second, "We still cannot tell") || hidden(second)["unsure"] != "yes" {
		t.Errorf("it is forgotten: %s", textOf(second))
	}
	x.book.fail = fmt.Errorf("%w: too slow", orders.ErrNotCommitted)
	if third := x.postOrder("unsure", "yes").Body.String(); strings.Contains(third, "Nothing was submitted") {
		t.Errorf("a later failure says that nothing was submitted: %s", textOf(third))
	}
	// The pause began while the buyer waited.
	x.book.fail, x.book.pause, x.book.submitted = orders.ErrUncertain, orders.PausedRack, nil
	x.Shop.orderService = acceptsOnce{x.book}
	if html := x.postOrder().Body.String(); !strings.Contains(html, "We still cannot tell") || strings.Contains(html, "nothing was taken") {
		t.Errorf("uncertain, and paused since: %s", textOf(html))
	}
}

// acceptsOnce is an order book whose pause begins during PlaceOrder.
type acceptsOnce struct{ *fakeOrderBook }

func (b acceptsOnce) Pause() orders.Pause {
	if len(b.submitted) == 0 {
		return orders.NotPaused
	}
	return b.pause
}

// A receipt is shown during a pause, without the buttons that would fail.
func TestReceiptDuringAPause(t *testing.T) {
	x := openSale(t, nil)
	path := x.mustPlaceOrder(t)
	x.book.pause, x.book.fail = orders.PausedRack, orders.ErrStale
	for _, p := range []string{path, path + "/cancel"} {
		w := request(x.Shop, "GET", p)
		if text := textOf(w.Body.String()); w.Code != 200 || !strings.Contains(text, "Orders are paused") || !strings.Contains(text, "may be out of date") || strings.Contains(w.Body.String(), "<form") {
			t.Errorf("%s: %d %s", p, w.Code, text)
		}
	}
	x.book.failCancel = orders.ErrPaused
	if w := x.post(path+"/cancel", "sure=yes"); w.Code != 503 || !strings.Contains(w.Body.String(), "Nothing was changed: orders are paused") || strings.Contains(w.Body.String(), "<form") {
		t.Errorf("a cancellation: %d %s", w.Code, textOf(w.Body.String()))
	}
	x.book.pause, x.book.fail, x.book.failCancel = orders.NotPaused, nil, nil
	if html := request(x.Shop, "GET", path).Body.String(); !strings.Contains(html, "Cancel this order") || strings.Contains(html, "paused") {
		t.Errorf("after it: %s", textOf(html))
	}
}

// A board without an order book does not call a receipt's address wrong.
func TestABoardWithoutABookShowsNoReceipts(t *testing.T) {
	x := openSale(t, nil)
	path := x.mustPlaceOrder(t)
	x.book.fail = fmt.Errorf("%w: its card cannot be used", orders.ErrBoardUnfit)
	for _, p := range []string{path, path + ".json", path + "/cancel"} {
		if w := request(x.Shop, "GET", p); w.Code != 503 || !strings.Contains(w.Body.String(), "shows no receipts now") || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", p, w.Code, textOf(w.Body.String()))
		}
	}
	if !errors.Is(orders.ErrPaused, orders.ErrNotCommitted) {
		t.Error("a refused order counts as uncertain")
	}
}

// A board that lacks part of the ledger may also lack the key of a link, so it does not call the address wrong.
func TestAnUnknownTokenDuringAPause(t *testing.T) {
	x := openSale(t, nil)
	path := x.mustPlaceOrder(t) + "X"
	for _, c := range []struct {
		pause orders.Pause
		code  int
		text  string
	}{
		{orders.NotPaused, 404, "There is no receipt at this address"},
		{orders.PausedStart, 503, "cannot be shown yet"},
		{orders.PausedRack, 503, "cannot be shown yet"},
		{orders.PausedBoard, 503, "shows no receipts now"},
	} {
		x.book.pause = c.pause
		for _, p := range []string{path, path + ".json", path + "/cancel"} {
			if w := request(x.Shop, "GET", p); w.Code != c.code || !strings.Contains(w.Body.String(), c.text) {
				t.Errorf("%s %s: %d %s", c.pause, p, w.Code, textOf(w.Body.String()))
			}
		}
	}
}

// A product that the order book refuses is not "getting ready" for ever.
func TestARefusedProductIsNotOnSale(t *testing.T) {
	x := openSale(t, nil)
	delete(x.book.sales, slug)
	request(x.Shop, "GET", boardPath+"/order")
	x.book.refused = true
	for _, path := range []string{"/", boardPath, boardPath + "/order"} {
		w := request(x.Shop, "GET", path)
		if html := w.Body.String(); !strings.Contains(html, "Not on sale here") || strings.Contains(html, "ready") || strings.Contains(html, "refresh") {
			t.Errorf("%s: %s", path, textOf(html))
		}
		if got := w.Header().Get("Cache-Control"); !strings.Contains(got, "max-age=10") {
			t.Errorf("%s: %s", path, got)
		}
	}
	if w := x.postOrder(); w.Code != 503 || strings.Contains(w.Body.String(), "Send it again") {
		t.Errorf("a form: %d %s", w.Code, textOf(w.Body.String()))
	}
}
