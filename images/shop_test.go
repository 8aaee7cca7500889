//go:build linux

package images

import (
	"context"
	"crypto/tls"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"bramble/node/shop/shoptest"
)

// newCatalogue returns a catalogue with one product, and enough of it.
func newCatalogue() string {
	return shoptest.Catalogue("stock = 1000\nlimit_per_person = 1\nlimit_by_address = false\n")
}

// patience bounds one request: the emulator's network is slow.
const patience = 20 * time.Second

func newClient() *http.Client {
	return &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// getPage loads a page.
func getPage(ctx context.Context, at string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := newClient().Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(b), err
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// placeOrder buys one berry, by the form of the order page, and returns the path of
// the receipt: the order is acknowledged then.
func placeOrder(ctx context.Context, shop, buyer string) (receipt string, err error) {
	status, page, err := getPage(ctx, shop+"/p/berry/order")
	if err != nil {
		return "", err
	}
	if status != http.StatusOK || !strings.Contains(page, `name="kind"`) {
		return "", fmt.Errorf("the order page has status %d and no form", status)
	}
	form := url.Values{
		"name": {buyer}, "email": {buyer + "@buyer.example"}, "line1": {"1 Road of " + buyer},
		"city": {"Town"}, "postcode": {"AB1 2CD"}, "country": {"GB"},
	}
	for _, field := range hiddenField.FindAllStringSubmatch(page, -1) {
		form.Set(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
	}
	if form.Get("token") == "" { // a browser's script draws it
		form.Set("token", fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, shop+"/p/berry/place", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := newClient().Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		return "", fmt.Errorf("the order was answered with status %d", resp.StatusCode)
	}
	return resp.Header.Get("Location"), nil
}
