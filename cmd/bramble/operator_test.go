//go:build unix

package main

import (
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"bramble/node/lab"
)

// operatorLab is a lab with one product, driven by commands as an operator types them.
type operatorLab struct {
	t *testing.T
	lab.Summary
	folder  string
	client  *http.Client
	process *exec.Cmd
}

// startOperatorLab starts a lab of three boards with a product "berry"; more is TOML for
// it, and settings are further tables of the boards.
func startOperatorLab(t *testing.T, stock int, more, settings string) *operatorLab {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds the program and runs boards")
	}
	o := &operatorLab{t: t, folder: t.TempDir()}
	o.client = &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(o.client.CloseIdleConnections)
	o.writeShop(stock, "10.00", more, settings)
	o.start()
	return o
}

// start starts the lab with the state that it has.
func (o *operatorLab) start() {
	o.t.Helper()
	o.process, o.Summary = startLab(o.t, "--boards", "3", "--config", filepath.Join(o.folder, "lab.toml"), "--state", filepath.Join(o.folder, "state"))
}

// stop stops the lab as Ctrl-C does. Nothing that it leaves can be used by others.
func (o *operatorLab) stop() {
	o.t.Helper()
	if err := errors.Join(o.process.Process.Signal(syscall.SIGINT), o.process.Wait()); err != nil {
		o.t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Join(o.folder, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			o.t.Errorf("others can use %s: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		o.t.Error(err)
	}
}

// writeShop writes the catalogue and the boards' settings.
func (o *operatorLab) writeShop(stock int, price, more, settings string) {
	o.t.Helper()
	catalogue := filepath.Join(o.folder, "shop.toml")
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
tax_percent = "20"
[[product]]
slug = "berry"
name = "Berry"
tagline = "One"
description = ["A berry."]
price = %q
stock = %d
limit_per_person = 3
limit_by_address = false
%s
`, price, stock, more)
	settings = fmt.Sprintf("[shop]\ncatalogue = %q\n", catalogue) + settings
	err := errors.Join(os.WriteFile(catalogue, []byte(text), 0o600), os.WriteFile(filepath.Join(o.folder, "lab.toml"), []byte(settings), 0o600))
	if err != nil {
		o.t.Fatal(err)
	}
}

// run runs a command at a board's console, 0 for the lab's.
func (o *operatorLab) run(board int, args ...string) (code int, out, err string) {
	o.t.Helper()
	at := o.Console
	if board > 0 {
		at = o.Boards[board-1].ConsoleURL
	}
	code, out, err = bramble(o.t, nil, append(args, "--console", at)...)
	for _, line := range strings.Split(out, "\n") {
		if len([]rune(line)) > tableWidth && !strings.HasPrefix(line, "{") && !strings.HasPrefix(strings.TrimSpace(line), `"`) && !strings.Contains(line, "@") {
			o.t.Errorf("%q prints a line wider than %d columns: %s", args, tableWidth, line)
		}
	}
	return code, out, err
}

// want runs a command that must end well and print something.
func (o *operatorLab) want(board int, text string, args ...string) string {
	o.t.Helper()
	code, out, err := o.run(board, args...)
	if code != 0 || !hasWords(out, text) {
		o.t.Fatalf("%q: exit %d\n%s%s\nwant %q", args, code, out, err, text)
	}
	return out
}

// eventually runs a command until it prints something.
func (o *operatorLab) eventually(board int, text string, args ...string) string {
	o.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		code, out, err := o.run(board, args...)
		if code == 0 && hasWords(out, text) {
			return out
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("%q: exit %d\n%s%s\nwant %q", args, code, out, err, text)
		}
	}
}

// submit sends a buyer's form and returns the reference.
func (o *operatorLab) submit(buyer string, quantity int) string {
	o.t.Helper()
	to := o.submitForm(buyer, strings.ToLower(buyer)+"@buyer.example", quantity, func(status int, _ string) bool { return status == http.StatusSeeOther })
	return regexp.MustCompile(`[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{3}`).FindString(to)
}

// submitForm sends a buyer's form until the reply is right, and returns where that leads to.
func (o *operatorLab) submitForm(buyer, email string, quantity int, isRight func(status int, body string) bool) (location string) {
	o.t.Helper()
	hidden := regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	var seen string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		page, err := o.client.Get(o.Boards[0].HTTPURL + "/p/berry/order?country=GB")
		if err != nil {
			o.t.Fatal(err)
		}
		body, err := io.ReadAll(page.Body)
		page.Body.Close()
		if err != nil {
			o.t.Fatal(err)
		}
		form := url.Values{
			"name": {buyer}, "email": {email}, "line1": {"1 Road of " + buyer},
			"city": {"Town"}, "postcode": {"AB1 2CD"}, "country": {"GB"}, "quantity": {fmt.Sprint(quantity)},
		}
		for _, field := range hidden.FindAllStringSubmatch(string(body), -1) {
			form.Set(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
		}
		if form.Get("token") == "" { // a browser's script draws it
			form.Set("token", fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()))
		}
		if seen = string(body); !form.Has("kind") {
			continue // the board does not offer the product yet
		}
		reply, err := o.client.PostForm(o.Boards[0].HTTPURL+"/p/berry/place", form)
		if err != nil {
			o.t.Fatal(err)
		}
		body, _ = io.ReadAll(reply.Body)
		reply.Body.Close()
		if seen = string(body); isRight(reply.StatusCode, seen) {
			return reply.Header.Get("Location")
		}
	}
	o.t.Fatalf("%s gets another reply: %s", buyer, seen)
	return ""
}

// An operator who draws a ballot and at once looks at the draw sees it, on any board.
func TestDrawIsSeenAtOnce(t *testing.T) {
	hour := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	o := startOperatorLab(t, 3, fmt.Sprintf("mode = \"ballot\"\nopens = %s\ncloses = %s\ndraw = \"dice\"", hour(-time.Hour), hour(time.Hour)), "")
	var all sync.WaitGroup
	for n := range 30 {
		all.Go(func() { o.submit(fmt.Sprintf("Buyer%d", n), 1) })
	}
	all.Wait()
	if code, out, err := o.run(1, "draw", "show", "berry"); code != exitFailed || !strings.Contains(err, "nothing has been drawn: the ballot of berry closes at") {
		t.Errorf("before the close: exit %d\n%s%s", code, out, err)
	}
	o.want(2, "after   drawing", "sale", "close", "berry")
	if code, out, err := o.run(3, "draw", "show", "berry"); code != exitFailed || !strings.Contains(err, "bramble draw make berry --dice") {
		t.Errorf("before the dice: exit %d\n%s%s", code, out, err)
	}
	o.want(3, "the draw of berry waits for an operator", "sale", "list")
	o.eventually(1, "berry is drawn: 30 entries, 3 won.", "draw", "make", "berry", "--dice", "36115246613611524661")
	for board := range 4 {
		o.want(board, `"winners": [`, "draw", "show", "berry")
	}
}

// A receiver that has answered 410 is seen on every board, and a command ends that.
func TestGoneReceiverIsSeen(t *testing.T) {
	var status atomic.Int32
	status.Store(http.StatusGone)
	var accepted sync.Map // by webhook-id
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status.Load() == http.StatusOK {
			accepted.Store(r.Header.Get("webhook-id"), true)
		}
		w.WriteHeader(int(status.Load()))
	}))
	defer receiver.Close()
	o := startOperatorLab(t, 9, `fulfilment_delay = "0s"`, fmt.Sprintf("[webhook]\nurl = %q\nsecret = \"whsec_c2VjcmV0IG9mIHRoaXMgdGVzdCBhbG9uZQ==\"\n", receiver.URL))
	ref := o.submit("Ada", 1)
	for board := range 4 {
		o.eventually(board, "has unsubscribed (410 Gone)", "status")
	}
	for board := 1; board <= 3; board++ {
		o.eventually(board, "webhook  stopped", "fulfilment")
		o.want(board, ref, "fulfilment", "status")
	}
	page, err := o.client.Get(o.Boards[0].ConsoleURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, _ := io.ReadAll(page.Body)
	page.Body.Close()
	if !strings.Contains(string(metrics), `bramble_fulfilment_jobs_waiting{channel="webhook"} 1`) {
		t.Errorf("the metrics show no waiting job:\n%s", metrics)
	}
	status.Store(http.StatusOK)
	// The post was begun, so the receiver hears of the cancellation, and of no order.
	o.want(1, ref+" is cancelled. The sale of berry:", "orders", "cancel", ref, "--reason", "wrong size")
	o.want(2, "webhook  ok              0", "fulfilment", "retry")
	if _, cancelled := accepted.Load(ref + ".cancelled"); !cancelled {
		t.Error("the cancellation was not posted")
	}
	if _, placed := accepted.Load(ref); placed {
		t.Error("a cancelled order was posted")
	}
	o.eventually(3, "fulfilled", "orders", "show", o.submit("Bob", 1))
	for board := range 4 {
		for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			if _, out, _ := o.run(board, "status"); !strings.Contains(out, "410") {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("the notice stays:\n%s", out)
			}
		}
	}
}

// What an operator leaves out stays, and what the files change later is reported, applied or
// followed, never ignored.
func TestFilesThatChangeLater(t *testing.T) {
	o := startOperatorLab(t, 9, `fulfilment_delay = "0s"`, "")
	early := o.submit("Ada", 1)
	out := o.want(1, "closing time 2030-01-01T06:00:00Z", "sale", "times", "berry", "--closes", "2030-01-01T06:00:00Z")
	if !hasWords(out, "before in_stock 9 1 0 8 none none after in_stock 9 1 0 8 none 2030-01-01 06:00") {
		t.Errorf("before and after:\n%s", out)
	}
	o.want(2, "opening time 2012-02-29T06:00:00Z, closing time 2030-01-01T06:00:00Z", "sale", "times", "berry", "--opens", "2012-02-29T06:00:00Z")
	o.want(3, "opening time none, closing time 2030-01-01T06:00:00Z", "sale", "times", "berry", "--opens", "none")
	o.stop()

	// A webhook is added, and the price changes.
	const secret = "whsec_c2VjcmV0IG9mIHRoaXMgdGVzdCBhbG9uZQ=="
	check, err := webhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	posts := map[string]string{}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || check.Verify(body, r.Header) != nil {
			t.Errorf("a post that is not signed: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		posts[r.Header.Get("webhook-id")] = string(body)
	}))
	defer hook.Close()
	posted := func(id, words string) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			mu.Lock()
			body := posts[id]
			mu.Unlock()
			if strings.Contains(body, words) && body != "" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s was posted as %q, want %q", id, body, words)
			}
		}
	}
	o.writeShop(9, "11.00", `fulfilment_delay = "0s"`, fmt.Sprintf("[webhook]\nurl = %q\nsecret = %q\n", hook.URL, secret))
	o.start()
	o.eventually(0, "Orders from before that were neither sent nor posted: 1", "status")
	o.want(1, "bramble sale revise berry --dry-run", "status")
	o.want(2, "differs from the catalogue: price", "sale", "list")
	o.want(2, "price: £10.00 in the sale, £11.00 in the file (revise)", "sale", "revise", "berry", "--dry-run")
	late := o.submit("Bob", 1)
	posted(late, `"tax":{"net":1200,"amount":240,"percent":"20"}`)
	o.eventually(3, "fulfilled", "orders", "show", late)
	o.want(2, "Done.", "sale", "revise", "berry")
	revised := o.submit("Cy", 1)
	posted(revised, `"tax":{"net":1300,"amount":260,"percent":"20"}`)
	o.eventually(1, "fulfilled", "orders", "show", revised)
	o.want(1, "came back, and its units are free again", "orders", "return", revised, "--restock", "--reason", "too blue")
	posted(revised+".returned", `"type":"order.returned"`)

	// The order from before is sent by hand, from a file.
	list := filepath.Join(o.folder, "sent.csv")
	if err := os.WriteFile(list, []byte("reference,tracking\n"+early+",DHL 1\nAAAA-AAAA-AAA,DHL 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, err := o.run(2, "orders", "sent", "--from", list); code != exitFailed || !strings.Contains(out, early+" is marked as sent") || !strings.Contains(err, "1 of 2 orders") {
		t.Errorf("sent from a file: exit %d\n%s%s", code, out, err)
	}
	o.want(3, "note DHL 1", "orders", "show", early)
	mu.Lock()
	defer mu.Unlock()
	if posts[early] != "" {
		t.Errorf("the order from before was posted: %s", posts[early])
	}
	code, csv, _ := bramble(t, nil, "orders", "export", "--bom", "--console", o.Console)
	if code != 0 || !strings.HasPrefix(csv, "\ufeffreference,number,") || !strings.Contains(csv, ",15.60,GBP,returned,") || !strings.Contains(csv, ",13.00,2.60,20,\r\n") {
		t.Errorf("exit %d\n%s", code, csv)
	}
}
