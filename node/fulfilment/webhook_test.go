package fulfilment

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"bramble/node/orders"
)

func TestStatusResult(t *testing.T) {
	for _, c := range []struct {
		status int
		want   attemptResult
	}{
		{200, attemptResult{resolution: ByWebhook}},
		{202, attemptResult{resolution: ByWebhook}},
		{204, attemptResult{resolution: ByWebhook}},
		{301, attemptResult{failure: FailureRedirect, refused: true, detail: "status 301"}},
		{307, attemptResult{failure: FailureRedirect, refused: true, detail: "status 307"}},
		{400, attemptResult{failure: FailureRefused, refused: true, detail: "status 400"}},
		{404, attemptResult{failure: FailureRefused, refused: true, detail: "status 404"}},
		{408, attemptResult{failure: FailureBusy, detail: "status 408"}},
		{409, attemptResult{failure: FailureBusy, detail: "status 409"}},
		{410, attemptResult{failure: FailureGone, channelFailed: true, refused: true, unsubscribed: true, detail: "status 410"}},
		{422, attemptResult{failure: FailureRefused, refused: true, detail: "status 422"}},
		{425, attemptResult{failure: FailureBusy, detail: "status 425"}},
		{429, attemptResult{failure: FailureBusy, channelFailed: true, retryAfter: 2 * time.Minute, detail: "status 429"}},
		{500, attemptResult{failure: FailureServer, detail: "status 500"}},
		{502, attemptResult{failure: FailureServer, channelFailed: true, detail: "status 502"}},
		{503, attemptResult{failure: FailureBusy, channelFailed: true, retryAfter: 2 * time.Minute, detail: "status 503"}},
		{504, attemptResult{failure: FailureServer, channelFailed: true, detail: "status 504"}},
		{999, attemptResult{failure: FailureServer, detail: "status 999"}},
	} {
		if got := statusResult(c.status, "120", launch); got != c.want {
			t.Errorf("%d: %+v, want %+v", c.status, got, c.want)
		}
	}
}

func TestParseRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-7": 0, "7.5": 0, "soon": 0, "999999999": maxRetryAfter, "99999999999999999999": 0,
		launch.Add(time.Minute).Format(http.TimeFormat):    time.Minute,
		launch.Add(-time.Minute).Format(http.TimeFormat):   0,
		launch.Add(48 * time.Hour).Format(http.TimeFormat): maxRetryAfter,
	} {
		if got := parseRetryAfter(text, launch); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for _, good := range []string{"https://warehouse.example/orders", "http://10.0.0.7:8080/", "https://[::1]/a?key=b"} {
		if _, err := checkURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"warehouse.example", "ftp://warehouse.example/", "file:///etc/passwd", "https://", "https:warehouse", "//warehouse.example/",
		"https://user:pw@warehouse.example/", "https://warehouse.example/#here", "https://a b/", "unix:///run/x", "\x00", "http://",
	} {
		if _, err := checkURL(bad); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: error %v, want ErrConfig", bad, err)
		}
	}
}

func TestNewRefusesBadConfigs(t *testing.T) {
	yes := func() bool { return true }
	good := Config{Jobs: newFakeJobStore(), Leading: yes, ShopName: "Shop"}
	for name, change := range map[string]func(*Config){
		"no book":            func(c *Config) { c.Jobs = nil },
		"no leader":          func(c *Config) { c.Leading = nil },
		"no secret":          func(c *Config) { c.Webhook = WebhookConfig{URL: "https://a.example/"} },
		"bad secret":         func(c *Config) { c.Webhook = WebhookConfig{URL: "https://a.example/", Secret: "whsec_AAAA"} },
		"no port":            func(c *Config) { c.Mail = MailConfig{Server: "mail.example", From: "a@shop.example"} },
		"no sender":          func(c *Config) { c.Mail = MailConfig{Server: "mail.example:587"} },
		"a sender in Greek":  func(c *Config) { c.Mail = MailConfig{Server: "mail.example:587", From: "α@shop.example"} },
		"another way of TLS": func(c *Config) { c.Mail = MailConfig{Server: "mail.example:587", From: "a@shop.example", TLS: "maybe"} },
		"password in clear": func(c *Config) {
			c.Mail = MailConfig{Server: "localhost:25", From: "a@shop.example", TLS: NoTLS, User: "u", Password: "p"}
		},
		"no name": func(c *Config) {
			c.Mail, c.ShopName = MailConfig{Server: "mail.example:587", From: "a@shop.example"}, ""
		},
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: error %v, want ErrConfig", name, err)
		}
	}
	if _, err := New(good); err != nil {
		t.Errorf("neither webhook nor mail: %v", err)
	}
}

func testPoster(t *testing.T, url string, timeout time.Duration) *poster {
	t.Helper()
	u, err := checkURL(url)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ParseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	p := newPoster(u, secret, timeout, nil, 1, time.Now)
	t.Cleanup(p.close)
	return p
}

func TestWebhookFollowsTheStandard(t *testing.T) {
	type seen struct {
		header http.Header
		body   []byte
	}
	got := make(chan seen, 2)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Header, body}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer receiver.Close()
	p := testPoster(t, receiver.URL+"/orders?key=1", 0)
	order := testOrder(0)
	order.Made = launch.In(time.FixedZone("", 3600)) // any zone is written as UTC
	for range 2 {
		if v := p.postOrder(context.Background(), order, orders.JobWebhook); v != (attemptResult{resolution: ByWebhook}) {
			t.Fatalf("%+v", v)
		}
	}
	one, two := <-got, <-got
	official, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := official.Verify(one.body, one.header); err != nil {
		t.Error(err)
	}
	if string(one.body) != string(two.body) || one.header.Get(HeaderID) != two.header.Get(HeaderID) {
		t.Error("a second try has another id or body")
	}
	if id := one.header.Get(HeaderID); id != order.ID.String() {
		t.Errorf("webhook-id %q, want %s", id, order.ID)
	}
	if c := one.header.Get("Content-Type"); c != "application/json" {
		t.Errorf("Content-Type %q", c)
	}
	want := `{"type":"order.placed","timestamp":"2012-02-29T06:00:00Z","data":{"reference":"` + order.ID.String() +
		`","product":"model-b","quantity":1,"total":{"minor":3500,"currency":"USD"},"person":{"name":"Zoë Łęcka",` +
		`"email":"zoe@home.example","line1":"1 Bramble Lane","line2":"","city":"Cambridge","postcode":"CB1 1AA","country":"GB"},` +
		`"made":"2012-02-29T06:00:00Z"}}`
	if string(one.body) != want {
		t.Errorf("body\n%s, want\n%s", one.body, want)
	}
	if !json.Valid(one.body) {
		t.Error("the body is no JSON")
	}
}

func TestWebhookFollowsNoRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the order went to a place that is not in the configuration")
	}))
	defer elsewhere.Close()
	receiver := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer receiver.Close()
	if v := testPoster(t, receiver.URL, 0).postOrder(context.Background(), testOrder(0), orders.JobWebhook); v.failure != FailureRedirect {
		t.Errorf("%+v", v)
	}
}

// An endless reply is not read to its end, and does not undo an acknowledgement.
func TestWebhookIgnoresAnEndlessReply(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}))
	defer receiver.Close()
	if v := testPoster(t, receiver.URL, 0).postOrder(context.Background(), testOrder(0), orders.JobWebhook); v != (attemptResult{resolution: ByWebhook}) {
		t.Errorf("%+v", v)
	}
}

func TestWebhookFailures(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("an order was posted over TLS that is not to be trusted")
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of us, rightly
	secure.StartTLS()
	defer secure.Close()

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()

	closed := httptest.NewServer(nil)
	closed.Close()

	plain := httptest.NewServer(nil)
	defer plain.Close()

	for name, c := range map[string]struct {
		url     string
		timeout time.Duration
		want    Failure
	}{
		"a certificate of nobody": {secure.URL, 0, FailureTLS},
		"nobody answers":          {"http://" + silent.Addr().String(), 50 * time.Millisecond, FailureTimeout},
		"nobody listens":          {closed.URL, 0, FailureUnreachable},
		"no TLS":                  {strings.Replace(plain.URL, "http:", "https:", 1), 0, FailureTLS},
	} {
		v := testPoster(t, c.url, c.timeout).postOrder(context.Background(), testOrder(0), orders.JobWebhook)
		if v.failure != c.want || !v.channelFailed || v.resolution != "" {
			t.Errorf("%s: %+v, want %s", name, v, c.want)
		}
		for _, personal := range []string{"Zoë", "zoe@", "Bramble Lane"} {
			if strings.Contains(v.detail, personal) {
				t.Errorf("%s: personal data in %q", name, v.detail)
			}
		}
	}
}

func TestWebhookTrustsItsRoots(t *testing.T) {
	pool, cert := authority(t)
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	receiver.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	receiver.StartTLS()
	defer receiver.Close()
	p := testPoster(t, receiver.URL, 0)
	p.client.Transport.(*http.Transport).TLSClientConfig.RootCAs = pool
	if v := p.postOrder(context.Background(), testOrder(0), orders.JobWebhook); v != (attemptResult{resolution: ByWebhook}) {
		t.Errorf("%+v", v)
	}
}
