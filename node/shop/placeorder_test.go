package shop

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"bramble/node/orders"
)

func TestAnOrderLeadsToItsReceiptAndTwiceToTheSame(t *testing.T) {
	x := openSale(t, nil)
	path := x.mustPlaceOrder(t)
	if again := x.mustPlaceOrder(t); again != path {
		t.Errorf("pressed twice: %s and %s", path, again)
	}
	if n := len(x.book.orders); n != 1 || x.sale.Free != 9 {
		t.Errorf("%d orders, %d left", n, x.sale.Free)
	}
	got := x.book.submitted[0]
	want := orders.PlaceOrder{ID: got.ID, Product: slug, Kind: orders.KindOrder, Quantity: 1, Total: 4300, Currency: "USD",
		Person: orders.Person{Name: "Ada Lovelace", Email: "ada@example.org", Line1: "12 St James's Square", City: "Berlin", Postcode: "10115", Country: "DE"}}
	if got != want || !got.ID.Valid() || x.book.submitted[1].ID != got.ID {
		t.Errorf("asked %+v %+v", got, got.Person.Name)
	}
	w := request(x.Shop, "GET", path)
	if w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Robots-Tag") != "noindex" {
		t.Errorf("the receipt: %d %v", w.Code, w.Header())
	}
	for _, want := range []string{"Your order is placed", got.ID.String(), "Ada Lovelace", "US$43.00", "Delivery to Germany", "07:00 UTC"} {
		if !strings.Contains(textOf(w.Body.String()), want) {
			t.Errorf("the receipt does not say %q", want)
		}
	}
}

// Whatever is wrong, the status is 4xx or 503, the page shows what was typed, and the fields
// with problems are marked.
func TestProblemsLoseNothing(t *testing.T) {
	x := openSale(t, nil)
	for _, c := range []struct {
		name, field, value string
		code               int
		says               string
	}{
		{"no name", "name", "", 422, "Please enter your name."},
		{"only joiners", "name", "\u200d\u200d", 422, "This contains nothing readable."},
		{"a typing error in the e-mail", "email", "ada@example,org", 422, "only the address"},
		{"no country", "country", "", 422, countryProblem},
		{"elsewhere", "country", "ZZ", 422, countryProblem},
		{"negative", "quantity", "-5", 422, quantityProblem(1)},
		{"two of one", "quantity", "2", 422, quantityProblem(1)},
		{"huge", "quantity", "99999999999999999999999", 422, quantityProblem(1)},
		{"not a number", "quantity", "1e0", 422, quantityProblem(1)},
		{"no kind", "kind", "", 422, "does not say what it is for"},
		{"a kind that there is not", "kind", "gift", 422, "does not say what it is for"},
		{"NUL", "city", "Ber\x00lin", 400, "not text"},
		{"invalid UTF-8", "city", "Ber\xfflin", 400, "not text"},
		{"too long", "city", strings.Repeat("x", 200), 422, "only its first 100 characters"},
		{"a megabyte", "line1", strings.Repeat("x", 1<<20), 413, "64 KB"},
	} {
		w := x.postOrder(c.field, c.value)
		html := w.Body.String()
		if w.Code != c.code || w.Header().Get("Cache-Control") != "no-store" || !strings.Contains(html, c.says) {
			t.Errorf("%s: %d, %s", c.name, w.Code, textOf(html))
		}
		for name, typed := range map[string]string{"name": "Ada Lovelace", "email": "ada@example.org", "postcode": "10115"} {
			if name != c.field && !strings.Contains(html, fmt.Sprintf(`name="%s" value="%s"`, name, typed)) {
				t.Errorf("%s: lost %s", c.name, name)
			}
		}
		if x.input(html, c.field) && !regexp.MustCompile(`id="`+c.field+`"[^>]* aria-invalid="true" aria-describedby="`+c.field+`-bad"`).MatchString(html) {
			t.Errorf("%s: the field is not marked", c.name)
		}
	}
	if len(x.book.submitted) != 0 {
		t.Errorf("the order book was asked %d times", len(x.book.submitted))
	}
}

func (s shopTest) input(html, name string) bool { return strings.Contains(html, ` id="`+name+`"`) }

func TestOutcomesAndFailures(t *testing.T) {
	x := openSale(t, func(p *Product) { p.PerPerson = 3 })
	for _, c := range []struct {
		name   string
		answer orders.Answer
		err    error
		code   int
		says   []string
		kind   string // of the form that is shown; "" = none
	}{
		{"differs", orders.Answer{Outcome: orders.Differs}, nil, 409, []string{"in addition to what you have?", `name="more" value="yes"`}, formOrder},
		{"over the limit", orders.Answer{Outcome: orders.OverLimit, Remaining: 1}, nil, 409, []string{"the limit: 3 per person or postal address", `name="more" value="yes"`}, formOrder},
		{"the same by another form", orders.Answer{Outcome: orders.AlreadyDone, Order: 7}, nil, 409, []string{"in addition to what you have?", `name="more" value="yes"`}, formOrder},
		{"sold out", orders.Answer{Outcome: orders.SoldOut, State: orders.SaleSoldOut}, nil, 409, []string{"Sold out: join the waiting list", "Join the waiting list</button>"}, formWaiting},
		{"sold out, and this board has not heard", orders.Answer{Outcome: orders.SoldOut}, nil, 409, []string{"Sold out", "Join the waiting list</button>"}, formWaiting},
		{"few left", orders.Answer{Outcome: orders.SoldOut, Remaining: 2, State: orders.SaleInStock}, nil, 409, []string{"Only 2 left"}, formOrder},
		{"not open", orders.Answer{Outcome: orders.NotOpen, Opens: opening.Add(time.Hour), State: orders.SaleUpcoming}, nil, 409, []string{"opens at 07:00 UTC on 29 February 2012"}, formOrder},
		{"closed", orders.Answer{Outcome: orders.Closed, State: orders.SaleClosed}, nil, 409, []string{"it is closed", "<pre>Ada Lovelace</pre>"}, ""},
		{"price changed", orders.Answer{Outcome: orders.PriceChanged, Total: 4400, State: orders.SaleInStock}, nil, 409, []string{"The total is now US$44.00"}, formOrder},
		{"wrong kind", orders.Answer{Outcome: orders.WrongKind, State: orders.SaleSoldOut}, nil, 409, []string{"has another form now"}, formWaiting},
		{"no shipping", orders.Answer{Outcome: orders.NoShipping}, nil, 422, []string{countryProblem}, formOrder},
		{"no such sale", orders.Answer{Outcome: orders.NoSuchSale}, nil, 503, []string{"not on sale yet"}, formOrder},
		{"malformed", orders.Answer{Outcome: orders.Malformed}, nil, 422, []string{"cannot read this"}, formOrder},
		{"no free reference", orders.Answer{Outcome: orders.IDInUse}, nil, 409, []string{"please press the button again"}, formOrder},
		{"an outcome of another version", orders.Answer{Outcome: 99}, nil, 422, []string{"cannot read this"}, formOrder},
		{"not taken", orders.Answer{}, fmt.Errorf("no majority: %w", orders.ErrNotCommitted), 503, []string{"Nothing was submitted: please try again"}, formOrder},
		{"not sure", orders.Answer{}, orders.ErrUncertain, 503, []string{"cannot tell whether this went through", "never accepted twice"}, formOrder},
		{"any other error", orders.Answer{}, context.DeadlineExceeded, 503, []string{"cannot tell whether this went through"}, formOrder},
		{"unavailable on this board", orders.Answer{}, fmt.Errorf("%w: its card cannot be used", orders.ErrBoardUnfit), 503, []string{"its other servers can accept it", "<pre>Ada Lovelace</pre>"}, ""},
		{"unavailable", orders.Answer{}, fmt.Errorf("%w: it waits for 2 more boards", orders.ErrUnavailable), 503, []string{"not ready", "Send it again"}, formOrder},
		{"paused meanwhile", orders.Answer{}, orders.ErrPaused, 503, []string{"Orders are paused: nothing was taken", "Send it again"}, formOrder},
	} {
		x.book.forced, x.book.fail = &c.answer, c.err
		w := x.postOrder()
		html := w.Body.String()
		if w.Code != c.code || (w.Header().Get("Retry-After") != "") != (c.code == 503) || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", c.name, w.Code, w.Header())
		}
		for _, want := range c.says {
			if !strings.Contains(html, want) {
				t.Errorf("%s: does not say %q: %s", c.name, want, textOf(html))
			}
		}
		if got := hidden(html)["kind"]; got != c.kind {
			t.Errorf("%s: the form is for %q, want %q", c.name, got, c.kind)
		}
		if c.kind != "" && !strings.Contains(html, `value="Ada Lovelace"`) {
			t.Errorf("%s: the form is empty", c.name)
		}
	}
}

// hidden returns the hidden fields of a page's form.
func hidden(html string) map[string]string {
	list := map[string]string{}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`).FindAllStringSubmatch(html, -1) {
		list[m[1]] = m[2]
	}
	return list
}

// A confirmation of "in addition" that is sent twice, or through an outage, is one more order.
func TestInAddition(t *testing.T) {
	x := openSale(t, func(p *Product) { p.PerPerson = 3 })
	x.mustPlaceOrder(t)
	token := newToken()
	again := hidden(x.postOrder("city", "Potsdam", "token", token).Body.String())
	if again["token"] != token || again["more"] != "" {
		t.Fatalf("the question has %v", again)
	}
	yes := []string{"city", "Potsdam", "more", "yes", "token", token}
	x.book.fail = orders.ErrUncertain
	kept := hidden(x.postOrder(yes...).Body.String())
	if kept["token"] != token || kept["more"] != "yes" {
		t.Errorf("after an outage the form has %v", kept)
	}
	x.book.fail = nil
	first := x.mustPlaceOrder(t, yes...)
	if second := x.mustPlaceOrder(t, yes...); second != first || len(x.book.orders) != 2 {
		t.Errorf("%s and %s, %d orders", first, second, len(x.book.orders))
	}
}

// A total that no page has shown must be shown before it is owed.
func TestATotalIsShownFirst(t *testing.T) {
	x := openSale(t, func(p *Product) { p.PerPerson = 12 })
	x.sale.Limit = 3
	for _, c := range []struct {
		name  string
		pairs []string
		sent  bool
	}{
		{"the list of countries says what one is", nil, true},
		{"three, to a country whose page says so", []string{"quantity", "3", "shown", "DE"}, true},
		{"three, to another country", []string{"quantity", "3", "shown", "FR"}, false},
		{"three, unseen", []string{"quantity", "3"}, false},
		{"three, agreed", []string{"quantity", "3", "agreed", "DE 3 11300"}, true},
		{"another total agreed", []string{"quantity", "3", "agreed", "DE 3 11200"}, false},
		{"another price list", []string{"prices", "old"}, false},
		{"no price list", []string{"prices", ""}, false},
	} {
		x.book.orders, x.sale.Free = map[orders.ID]orders.Order{}, 10
		w := x.postOrder(c.pairs...)
		if c.sent != (w.Code == http.StatusSeeOther) {
			t.Errorf("%s: %d", c.name, w.Code)
		}
		if c.sent {
			continue
		}
		html := w.Body.String()
		if w.Code != 409 || !strings.Contains(html, "check the total") {
			t.Errorf("%s: %d %s", c.name, w.Code, textOf(html))
		}
		form := x.fields(c.pairs...)
		for name, value := range hidden(html) {
			form.Set(name, value)
		}
		if w := x.post(boardPath+"/place", form.Encode()); w.Code != http.StatusSeeOther {
			t.Errorf("%s: pressed again: %d", c.name, w.Code)
		}
	}
}

func TestOtherRequestsThanForms(t *testing.T) {
	x := openSale(t, nil)
	good := x.fields().Encode()
	for _, c := range []struct {
		name, method, path string
		fields             []string
		code               int
	}{
		{"cross-site", "POST", "/place", []string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site"}, 403},
		{"another origin", "POST", "/place", []string{"Content-Type", "application/x-www-form-urlencoded", "Origin", "http://evil.example"}, 403},
		{"an origin hidden", "POST", "/place", []string{"Content-Type", "application/x-www-form-urlencoded", "Origin", "null"}, 403},
		{"multipart", "POST", "/place", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415},
		{"no type", "POST", "/place", nil, 415},
		{"DELETE", "DELETE", "/place", nil, 405},
		{"GET", "GET", "/place", nil, 302},
		{"the same origin, an old browser", "POST", "/place", []string{"Content-Type", "application/x-www-form-urlencoded", "Origin", "http://example.com"}, 303},
		{"to the page's own URL", "POST", "/order", []string{"Content-Type", "application/x-www-form-urlencoded"}, 303},
	} {
		r := httptest.NewRequest(c.method, boardPath+c.path, strings.NewReader(good))
		for i := 0; i+1 < len(c.fields); i += 2 {
			r.Header.Set(c.fields[i], c.fields[i+1])
		}
		w := httptest.NewRecorder()
		x.ServeHTTP(w, r)
		if w.Code != c.code || w.Header().Get("Cache-Control") != "no-store" || c.code > 400 && strings.Contains(w.Body.String(), "Ada") {
			t.Errorf("%s: %d %v", c.name, w.Code, w.Header())
		}
		if c.code == 302 && w.Header().Get("Location") != boardPath+"/order" {
			t.Errorf("%s: to %s", c.name, w.Header().Get("Location"))
		}
	}
	if w := x.post("/p/none/place", good); w.Code != 404 {
		t.Errorf("no such product: %d", w.Code)
	}
	for path, direct := range map[string]bool{"POST " + boardPath + "/place": true, "GET /r/a/b": true, "GET " + boardPath + "/order": false, "HEAD /": false} {
		method, target, _ := strings.Cut(path, " ")
		if x.BypassesCache(httptest.NewRequest(method, target, nil)) != direct {
			t.Errorf("%s: direct is %t", path, !direct)
		}
	}
}

// The names of the world arrive as they were typed.
func TestNamesInAnyScript(t *testing.T) {
	for _, name := range []string{"张三", "علی" + "\u200c" + "رضا محمدی", "Zoë O'Brien-Smith", "Ελένη", "ओंकार", "สมชาย", "Љубица", "X Æ A-12", "ᐱᓇᓱᐊᖅ", "Null", "<b>Ada</b>"} {
		x := openSale(t, nil)
		path := x.mustPlaceOrder(t, "name", name, "email", "用户@例子.广告")
		if got := x.book.submitted[0].Person.Name; got != name {
			t.Errorf("%q became %q", name, got)
		}
		if html := request(x.Shop, "GET", path).Body.String(); strings.Contains(html, "<b>Ada") {
			t.Error("a name is markup")
		}
	}
}

// In every state the page has the form that its sale accepts.
func TestEachStateHasItsForm(t *testing.T) {
	for _, c := range []struct {
		mode   orders.Mode
		change func(*orders.Sale)
		now    time.Duration // after the opening
		state  orders.SaleState
		kind   string
	}{
		{orders.FirstCome, nil, -time.Second, orders.SaleUpcoming, ""},
		{orders.FirstCome, nil, 0, orders.SaleInStock, formOrder},
		{orders.FirstCome, func(s *orders.Sale) { s.Free = 0 }, 0, orders.SaleSoldOut, formWaiting},
		{orders.FirstCome, func(s *orders.Sale) { s.Free, s.WaitingList = 0, false }, 0, orders.SaleSoldOut, ""},
		{orders.FirstCome, func(s *orders.Sale) { s.Waiting = 1 }, 0, orders.SaleSoldOut, formWaiting},
		{orders.FirstCome, nil, 8 * 24 * time.Hour, orders.SaleClosed, ""},
		{orders.Ballot, nil, -time.Second, orders.SaleUpcoming, ""},
		{orders.Ballot, nil, 0, orders.SaleOpen, formEntry},
		{orders.Ballot, nil, 8 * 24 * time.Hour, orders.SaleDrawing, ""},
		{orders.Ballot, func(s *orders.Sale) { s.Draw.At = s.Closes }, 8 * 24 * time.Hour, orders.SaleDrawn, formWaiting},
		{orders.Interest, nil, 0, orders.SaleOpen, formInterest},
	} {
		x := openSale(t, func(p *Product) { p.Mode, p.WaitingList = c.mode, c.mode != orders.Interest })
		if c.change != nil {
			c.change(x.sale)
		}
		x.book.now = opening.Add(c.now)
		name := fmt.Sprintf("%s %s", c.mode, c.state)
		w := request(x.Shop, "GET", boardPath+"/order")
		if got := hidden(w.Body.String())["kind"]; got != c.kind || w.Code != 200 {
			t.Errorf("%s: %d, the form is for %q", name, w.Code, got)
		}
		st := x.buildStatus(x.readPageState(x.book.now)).Products[0]
		if form := st.Form; st.State != c.state.String() || (form == nil) != (c.kind == "") || form != nil && *form != c.kind {
			t.Errorf("%s: status.json says %+v", name, st)
		}
		if c.kind == "" {
			continue
		}
		form := x.fields()
		for field, value := range hidden(w.Body.String()) {
			form.Set(field, value)
		}
		form.Set("token", someToken) // a browser's script fills it in
		if w := x.post(boardPath+"/place", form.Encode()); w.Code != http.StatusSeeOther || x.book.submitted[0].Kind.String() != c.kind {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// A change in the order book reaches every page at once: no cached page is older.
func TestPagesFollowTheBook(t *testing.T) {
	x := openSale(t, nil)
	says := func(path, want string) {
		t.Helper()
		if w := request(x.Shop, "GET", path); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s does not say %q", path, want)
		}
	}
	for _, path := range []string{"/", boardPath, boardPath + "/order", "/status"} {
		says(path, "In stock: 10")
		if got := request(x.Shop, "GET", path).Header().Get("Cache-Control"); got != "public, max-age=1, must-revalidate" {
			t.Errorf("%s: %s", path, got)
		}
	}
	x.sale.Free, x.sale.Sold, x.sale.Version = 0, 10, 2
	x.book.news = []orders.News{{At: opening.Add(time.Minute), Text: "The second batch comes on Friday."}}
	for _, path := range []string{"/", boardPath, boardPath + "/order", "/status"} {
		says(path, "Sold out")
		says(path, "The second batch comes on Friday.")
	}
	says("/status.json", `"state": "sold_out"`)
	says("/status.json", `"stock": 0`)
	says("/status.json", `"takes_orders": true`)
	x.book.news = append([]orders.News{{At: opening.Add(2 * time.Minute)}}, x.book.news...)
	if html := request(x.Shop, "GET", "/").Body.String(); strings.Contains(html, `class="news"`) {
		t.Error("announcements that were taken off are shown")
	}
	delete(x.book.sales, slug)
	says(boardPath+"/order", "Not ready yet")
	says("/status.json", `"state": "unknown"`)
	says("/status.json", `"takes_orders": false`)
	if w := x.postOrder(); w.Code != 503 || !strings.Contains(w.Body.String(), `value="Ada Lovelace"`) {
		t.Errorf("a form before there is a sale: %d", w.Code)
	}
}

// No URL and no header contains anything that a person typed.
func TestNoPersonInHeaders(t *testing.T) {
	x := openSale(t, nil)
	w := x.postOrder()
	all := fmt.Sprint(w.Header())
	for _, pair := range []string{"Ada", "example.org", "James", "10115"} {
		if strings.Contains(all, pair) || strings.Contains(all, url.QueryEscape(pair)) {
			t.Errorf("%q is in %s", pair, all)
		}
	}
}

// Invisible characters are removed from an e-mail address: a person could not find them.
func TestInvisibleCharactersInAnAddress(t *testing.T) {
	f := &form{values: map[string]string{"email": "ada\u200b@buyer.example\ufe0f"}}
	f.checkPerson()
	if !strings.HasPrefix(f.problemWith("email"), "This e-mail address contained an invisible character") || f.get("email") != "ada@buyer.example" {
		t.Errorf("%q, %q", f.problemWith("email"), f.get("email"))
	}
}

// One mailbox has one spelling in the order book, in whichever form its domain was typed.
func TestDomainsAreInTheirOwnScript(t *testing.T) {
	for typed, want := range map[string]string{
		"ada@xn--bcher-kva.example": "ada@b\u00fccher.example",
		"Ada@XN--Bcher-KVA.example": "Ada@b\u00fccher.example",
		"ada@b\u00fccher.example":   "ada@b\u00fccher.example",
		"ada@xn--.example":          "ada@xn--.example",
		"xn--ada@buyer.example":     "xn--ada@buyer.example",
	} {
		if got := domainToUnicode(typed); got != want {
			t.Errorf("%s: %s, not %s", typed, got, want)
		}
	}
}
