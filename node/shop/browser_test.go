package shop

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// patience limits the whole journey in the browser: a cold Chromium on a busy machine takes
// seconds for each step.
const patience = time.Minute

// browser starts a headless Chromium, with or without scripts, which ends with the test. Without
// Chromium the test is skipped, or fails if CI=true.
func browser(t *testing.T, hasScripts bool) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		const why = "no browser: install chromium (or chromium-browser, or google-chrome) to test the order form"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	opts := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.Flag("blink-settings", fmt.Sprintf("scriptEnabled=%t", hasScripts)),
		chromedp.Flag("host-resolver-rules", "MAP "+plainSite+" 127.0.0.1")}
	if hasScripts { // without the whole page in memory, a browser fills in what it remembers of the form
		opts = append(opts, chromedp.Flag("disable-features", "BackForwardCache"))
	}
	for _, flag := range []string{"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
		"disable-background-networking", "disable-component-update", "disable-sync"} {
		opts = append(opts, chromedp.Flag(flag, true))
	}
	bound, stop := context.WithTimeout(context.Background(), patience)
	alloc, cancelAlloc := chromedp.NewExecAllocator(bound, opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("closing %s: %v", path, err)
		}
		cancel()
		cancelAlloc()
		stop()
	})
	return ctx
}

// plainSite is a name that the test's browser resolves to this machine but does not trust
// like loopback: browsers send Sec-Fetch-Site only to trusted sites, and for all others the
// shop relies on Origin, as with any real rack.
const plainSite = "shop.example"

// serveOrderPage serves a shop, and returns the address of its order page.
func serveOrderPage(t *testing.T, x shopTest) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: x, ReadHeaderTimeout: patience}
	go server.Serve(l) // ends with Close
	t.Cleanup(func() { server.Close() })
	return fmt.Sprintf("http://%s:%d%s/order", plainSite, l.Addr().(*net.TCPAddr).Port, boardPath)
}

// With JavaScript one press is enough, also on a site without TLS; without it, two. The browser shows
// the page again with the same token, so that a press after a lost reply is the same order.
func TestTheTokenInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	for _, hasScripts := range []bool{true, false} {
		x := openSale(t, nil)
		page := serveOrderPage(t, x)
		ctx := browser(t, hasScripts)
		do := func(actions ...chromedp.Action[chromedp.Void]) {
			t.Helper()
			for _, a := range actions {
				if _, err := chromedp.Run(ctx, a); err != nil {
					t.Fatalf("scripts %t: %v", hasScripts, err)
				}
			}
		}
		press, receipt := chromedp.Click(chromedp.CSS("form button.go")), chromedp.WaitVisible(chromedp.CSS("address"))
		do(chromedp.Navigate(page))
		for _, field := range []string{"name", "email", "line1", "city"} {
			do(chromedp.SendKeys(chromedp.CSS("#"+field), "ada@shop.example"))
		}
		do(chromedp.SetValue(chromedp.CSS("#country"), "DE"), press)
		if !hasScripts {
			do(chromedp.WaitVisible(chromedp.CSS("#alert")))
			if text, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("#alert"))); err != nil || !strings.Contains(text, "press the button once more") {
				t.Fatalf("%q, %v", text, err)
			}
			do(press)
		}
		do(receipt)
		first, err := chromedp.Run(ctx, chromedp.Location())
		if err != nil {
			t.Fatal(err)
		}
		if !hasScripts {
			continue // its form is the reply to a form, which a browser sends again by itself
		}
		do(chromedp.NavigateBack(), chromedp.WaitVisible(chromedp.CSS("form button.go")), press, receipt)
		if again, err := chromedp.Run(ctx, chromedp.Location()); err != nil || again != first || len(x.book.orders) != 1 {
			t.Errorf("pressed again: %s and %s, %v, %d orders", first, again, err, len(x.book.orders))
		}
	}
}

// A person fills in the form in a real browser, makes a mistake, corrects it, orders, reloads
// the receipt and cancels.
func TestOrderInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	x := openSale(t, func(p *Product) { p.PerPerson = 3 })
	page := serveOrderPage(t, x)
	ctx := browser(t, false)
	do := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		for _, a := range actions {
			if _, err := chromedp.Run(ctx, a); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	read := func(a chromedp.Action[string], want string) string {
		t.Helper()
		got, err := chromedp.Run(ctx, a)
		if err != nil || !strings.Contains(got, want) {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
		return got
	}
	do("the form", chromedp.Navigate(page),
		chromedp.SendKeys(chromedp.CSS("#name"), "Zoë 张三"), chromedp.SendKeys(chromedp.CSS("#email"), "zoë@bücher"), chromedp.SendKeys(chromedp.CSS("#line1"), `1 "Quote" & <Street>`),
		chromedp.SendKeys(chromedp.CSS("#city"), "Köln"), chromedp.SetValue(chromedp.CSS("#country"), "DE"), chromedp.Click(chromedp.CSS("form button.go")), chromedp.WaitVisible(chromedp.CSS("#alert")))
	read(chromedp.Text(chromedp.CSS("#alert")), "please correct one field")
	read(chromedp.Text(chromedp.CSS("#email-bad")), "no dot after the @")
	read(chromedp.Value(chromedp.CSS("#name")), "Zoë 张三")
	read(chromedp.Value(chromedp.CSS("#line1")), `1 "Quote" & <Street>`)
	do("correcting", chromedp.SetValue(chromedp.CSS("#email"), "zoë@bücher.example"), chromedp.SetValue(chromedp.CSS("#quantity"), "2"), chromedp.Click(chromedp.CSS("form button.go")), chromedp.WaitVisible(chromedp.CSS("address")))
	read(chromedp.Text(chromedp.CSS("h1")), "Your order is placed")
	path := read(chromedp.Location(), "/r/")
	do("reloading", chromedp.Reload())
	read(chromedp.Text(chromedp.CSS("h1")), "Your order is placed")
	do("cancelling", chromedp.Click(chromedp.CSS(".notes p:last-child a")), chromedp.WaitVisible(chromedp.CSS("form button.go")))
	read(chromedp.Text(chromedp.CSS("h1")), "Cancel this order?")
	do("yes", chromedp.Click(chromedp.CSS("form button.go")), chromedp.WaitVisible(chromedp.CSS(".notes")))
	read(chromedp.Text(chromedp.CSS("h1")), "This order was cancelled")
	if at := read(chromedp.Location(), "/r/"); at != path {
		t.Errorf("at %s after cancelling, not at %s", at, path)
	}
	if n := len(x.book.submitted); n != 1 || x.book.submitted[0].Quantity != 2 || x.book.submitted[0].Person.Email != "zoë@bücher.example" || x.book.submitted[0].Total != 7800 {
		t.Errorf("the order book was asked %d times: %+v", n, x.book.submitted)
	}
}
