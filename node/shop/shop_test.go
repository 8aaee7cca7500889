package shop

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

var opening = time.Date(2012, 2, 29, 6, 0, 0, 0, time.UTC)

const boardPath = "/p/raspberry-pi-model-b"

// newShopAt returns a shop whose clock stands still.
func newShopAt(t *testing.T, cat *Catalogue, now time.Time) *Shop {
	t.Helper()
	s, err := New(cat, Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func launch(t testing.TB) *Catalogue {
	t.Helper()
	cat, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func request(h http.Handler, method, target string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestStates(t *testing.T) {
	before, after := opening.Add(-time.Nanosecond), opening
	for _, c := range []struct {
		name    string
		product Product
		now     time.Time
		want    orders.SaleState
		text    string
	}{
		{"before", Product{Stock: 5, Opens: opening}, before, orders.SaleUpcoming, "Opens at"},
		{"at the hour", Product{Stock: 5, Opens: opening}, after, orders.SaleInStock, "In stock: 5"},
		{"no hour", Product{Stock: 5}, before, orders.SaleInStock, "In stock: 5"},
		{"no stock before", Product{Opens: opening}, before, orders.SaleSoldOut, "Sold out"},
		{"no stock after", Product{Opens: opening}, after, orders.SaleSoldOut, "Sold out"},
		{"closed", Product{Stock: 5, Override: orders.SaleClosed}, after, orders.SaleClosed, "Closed"},
		{"said to be sold out", Product{Stock: 5, Override: orders.SaleSoldOut}, before, orders.SaleSoldOut, "Sold out"},
	} {
		if got := c.product.stateAt(c.now); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		cat := launch(t)
		p := &cat.Products[0]
		p.Stock, p.Opens, p.Override = c.product.Stock, c.product.Opens, c.product.Override
		s := newShopAt(t, cat, c.now)
		for _, path := range []string{"/", boardPath, boardPath + "/order", "/status"} {
			if body := request(s, "GET", path).Body.String(); !strings.Contains(body, ">"+c.text) {
				t.Errorf("%s: %s does not say %q", c.name, path, c.text)
			}
		}
		var st Status
		if err := json.Unmarshal(request(s, "GET", "/status.json").Body.Bytes(), &st); err != nil || st.Products[0].State != c.want.String() || st.TakesOrders {
			t.Errorf("%s: /status.json says %+v, %v", c.name, st, err)
		}
	}
}

func TestCachePolicyNearTheOpening(t *testing.T) {
	for _, c := range []struct {
		left time.Duration // to the opening
		page string
	}{
		{11 * time.Hour, "public, max-age=10, stale-while-revalidate=30, stale-if-error=300"},
		{60 * time.Second, "public, max-age=10, stale-while-revalidate=30, stale-if-error=50"},
		{15 * time.Second, "public, max-age=10, stale-while-revalidate=5, stale-if-error=5"},
		{9900 * time.Millisecond, "public, max-age=9, must-revalidate"},
		{time.Millisecond, "public, max-age=0, must-revalidate"},
		{0, "public, max-age=10, stale-while-revalidate=30, stale-if-error=300"},
	} {
		s := newShopAt(t, launch(t), opening.Add(-c.left))
		for _, path := range []string{"/", boardPath, boardPath + "/order?country=DE"} {
			if got := request(s, "GET", path).Header().Get("Cache-Control"); got != c.page {
				t.Errorf("%v before, %s: %s, want %s", c.left, path, got, c.page)
			}
		}
	}
	s := newShopAt(t, launch(t), opening)
	for _, path := range []string{"/status", "/status.json"} {
		if got, want := request(s, "GET", path).Header().Get("Cache-Control"), "public, max-age=2, stale-while-revalidate=5, stale-if-error=30"; got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// A cached page and its entity tag change at the opening, in the same way on two boards.
func TestPagesChangeTogether(t *testing.T) {
	now := opening.Add(-time.Second)
	s, err := New(launch(t), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	first := request(s, "GET", boardPath)
	now = opening
	second := request(s, "GET", boardPath)
	if first.Header().Get("ETag") == second.Header().Get("ETag") || !strings.Contains(second.Body.String(), "In stock: 10,000") {
		t.Error("the page did not turn at the opening")
	}
	other := request(newShopAt(t, launch(t), opening.Add(time.Hour)), "GET", boardPath)
	if other.Header().Get("ETag") != second.Header().Get("ETag") || other.Body.String() != second.Body.String() {
		t.Error("another board has other bytes")
	}
}

func TestConditionalAndHead(t *testing.T) {
	s := newShopAt(t, launch(t), opening)
	for _, path := range []string{"/", boardPath, boardPath + "/order", "/status", "/status.json", "/favicon.svg", "/robots.txt"} {
		get := request(s, "GET", path)
		head := request(s, "HEAD", path)
		if head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("ETag") != get.Header().Get("ETag") || head.Header().Get("Content-Length") == "" {
			t.Errorf("HEAD %s: %d, %d bytes, %v", path, head.Code, head.Body.Len(), head.Header())
		}
		again := request(s, "GET", path, "If-None-Match", get.Header().Get("ETag"))
		if again.Code != 304 || again.Body.Len() != 0 || again.Header().Get("Cache-Control") != get.Header().Get("Cache-Control") {
			t.Errorf("conditional GET %s: %d", path, again.Code)
		}
		if get.Header().Get("Last-Modified") != "" || get.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(get.Header().Get("Surrogate-Key"), "shop") {
			t.Errorf("%s: %v", path, get.Header())
		}
	}
}

func TestTotals(t *testing.T) {
	s := newShopAt(t, launch(t), opening)
	for query, want := range map[string]string{"DE": "US$43.00", "GB": "US$39.00", "other": "does not deliver to that country"} {
		if body := request(s, "GET", boardPath+"/order?country="+query).Body.String(); !strings.Contains(body, want) {
			t.Errorf("%s: no %q on the order page", query, want)
		}
	}
	product := request(s, "GET", boardPath).Body.String()
	for _, to := range s.cat.Shipping {
		total := Money{Minor: s.cat.Products[0].Price.Minor + to.Price.Minor, Currency: to.Price.Currency}.String()
		if !regexp.MustCompile(to.Name + `.*` + regexp.QuoteMeta(total)).MatchString(product) {
			t.Errorf("the product page does not say %s for %s", total, to.Name)
		}
	}
}

func TestOneURLForEachPage(t *testing.T) {
	s := newShopAt(t, launch(t), opening)
	for from, to := range map[string]string{
		"/?utm_source=x":                          "/",
		"/?":                                      "/",
		boardPath + "?a":                          boardPath,
		boardPath + "/":                           boardPath,
		"/p/raspberry%2Dpi-model-b":               boardPath,
		"/status?1":                               "/status",
		"/status.json?1":                          "/status.json",
		boardPath + "/order/":                     boardPath + "/order",
		boardPath + "/order?country=":             boardPath + "/order",
		boardPath + "/order?country=de":           boardPath + "/order?country=DE",
		boardPath + "/order?x=1&country=DE":       boardPath + "/order?country=DE",
		boardPath + "/order?country=DE&country=x": boardPath + "/order?country=DE",
		boardPath + "/order?country=ZZ":           boardPath + "/order?country=other",
		boardPath + "/order?country=%00;%zz":      boardPath + "/order",
		boardPath + "/order?country=%3Cscript%3E": boardPath + "/order?country=other",
	} {
		w := request(s, "GET", from)
		if w.Code != http.StatusFound || w.Header().Get("Location") != to || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d to %q, want %q", from, w.Code, w.Header().Get("Location"), to)
		}
	}
}

func TestNotFound(t *testing.T) {
	s := newShopAt(t, launch(t), opening)
	for _, path := range []string{"/nothing", "/p/", "/p/none", "/p/none/order", "/pictures/0000000000000000-model-b.svg", "/x/"} {
		if w := request(s, "GET", path); w.Code != 404 || w.Header().Get("Cache-Control") != "no-store" || !strings.Contains(w.Body.String(), `href="`+boardPath+`"`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Cache-Control"))
		}
	}
	for _, path := range []string{"/", boardPath, "/status", "/status.json", "/robots.txt", "/favicon.svg"} {
		if w := request(s, "DELETE", path); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("DELETE %s: %d", path, w.Code)
		}
	}
}

func TestAFormWithoutAnOrderBookLosesNothing(t *testing.T) {
	s := newShopAt(t, launch(t), opening)
	post := func(body, site string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", boardPath+"/order", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	const form = "name=Ada+%3Cb%3E&line1=12+St+James%27s+Square&city=London&bad=%ff"
	w := post(form, "same-origin")
	body := w.Body.String()
	if w.Code != 405 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Allow") != "GET, HEAD" || !strings.Contains(body, "Nothing was ordered") {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
	for _, want := range []string{"Ada &lt;b&gt;", "12 St James&#39;s Square", "London"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q was lost", want)
		}
	}
	if body := post(form, "cross-site").Body.String(); strings.Contains(body, "Ada") {
		t.Error("another site's words appear in ours")
	}
	if w := post("a="+strings.Repeat("x", maxFormBytes), "same-origin"); w.Code != 405 || !strings.Contains(w.Body.String(), "Back button") || w.Body.Len() > maxPageBytes {
		t.Errorf("a huge form: %d, %d bytes", w.Code, w.Body.Len())
	}
	if w := post(strings.Repeat("a%zz&", 9), "same-origin"); w.Code != 405 {
		t.Errorf("a broken form: %d", w.Code)
	}
}

// Every link, picture and form target on every page leads somewhere.
func TestLinksResolve(t *testing.T) {
	crawl(t, newShopAt(t, launch(t), opening), "/")
	x := openSale(t, func(p *Product) { p.Mode, p.Draw = orders.Ballot, draw.Dice })
	x.book.files[slug] = draw.File{Version: 3}
	receipt := x.mustPlaceOrder(t, "kind", formEntry)
	crawl(t, x, "/", receipt, boardPath+"/draw")
	x.book.now, x.sale.Draw.At = x.sale.Closes, x.sale.Closes
	x.sale.Version++
	x.book.files[slug] = draw.File{}
	crawl(t, x, "/", receipt, boardPath+"/draw")
}

// crawl follows every link from some pages.
func crawl(t *testing.T, h http.Handler, from ...string) {
	t.Helper()
	link := regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	seen := map[string]bool{"/": true}
	for queue := from; len(queue) > 0; queue = queue[1:] {
		w := request(h, "GET", queue[0])
		if w.Code != 200 && !(w.Code == 302 && strings.HasSuffix(queue[0], "/place")) {
			t.Errorf("%s: %d", queue[0], w.Code)
		}
		if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(w.Body.String(), -1) {
			u, err := url.Parse(strings.ReplaceAll(m[1], "&amp;", "&"))
			if err != nil {
				t.Errorf("%s: %v", queue[0], err)
				continue
			}
			if u.Scheme == "mailto" || u.Fragment != "" || seen[u.String()] {
				continue
			}
			seen[u.String()] = true
			queue = append(queue, u.String())
		}
	}
	if len(seen) < 8 {
		t.Errorf("only %d pages are linked", len(seen))
	}
}

func TestPictures(t *testing.T) {
	s := newShopAt(t, launch(t), opening)
	w := request(s, "GET", s.cat.Products[0].Picture)
	if w.Code != 200 || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || w.Header().Get("Content-Type") != "image/svg+xml" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if n := w.Body.Len(); n > 6<<10 {
		t.Errorf("the picture has %d bytes", n)
	}
}

func TestStyleAndScriptAreThoseThePolicyAllows(t *testing.T) {
	w := request(openSale(t, nil).Shop, "GET", boardPath+"/order")
	for _, element := range []string{"style", "script"} {
		_, rest, _ := strings.Cut(w.Body.String(), "<"+element+">")
		text, _, found := strings.Cut(rest, "</"+element+">")
		sum := sha256.Sum256([]byte(text))
		if policy := w.Header().Get("Content-Security-Policy"); !found || !strings.Contains(policy, element+"-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Errorf("a browser would refuse the %s: %s", element, policy)
		}
	}
}

// Boards share the list of products, their pages and the pictures, each in one spelling, and nothing else.
func TestSharedPages(t *testing.T) {
	x := openSale(t, nil)
	shared := []string{"/", boardPath}
	for _, p := range x.cat.pictures {
		shared = append(shared, p.path)
	}
	if len(shared) < 3 {
		t.Fatal("the catalogue has no picture")
	}
	check := func(target string, want bool) {
		t.Helper()
		u, err := url.Parse("http://shop.bramble" + target)
		if err != nil {
			t.Fatal(err)
		}
		if x.SharesPage(u) != want {
			t.Errorf("%s is shared: %t", target, !want)
		}
	}
	for _, path := range shared {
		check(path, true)
		for _, other := range []string{path + "/", path + "?", path + "?x", "/" + path, path + "%2F", path + "/draw", path + "/order", path + "/verify", path + ";"} {
			check(other, false)
		}
	}
	for _, path := range []string{boardPath + "/draw.json", boardPath + "/order?country=DE", "/status", "/status.json", "/r/a/b", "/pictures/", "/p/", "/P/" + slug, "/%70/" + slug, "/none"} {
		check(path, false)
	}
}
