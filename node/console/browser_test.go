package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"bramble/gpio"
	"bramble/node/certs"

	. "bramble/node/console"
	"bramble/node/console/consoletest"
)

// patience bounds the steps of one browser test: a cold Chromium on a busy
// machine takes seconds for each.
const patience = 60 * time.Second

// tab is a page of a headless Chromium.
type tab struct {
	ctx context.Context

	mu         sync.Mutex
	complaints []string // errors and warnings of the page, guarded by mu
}

// browser starts a headless Chromium that ends with the test. Short runs skip the
// test, and machines without a browser, unless CI=true.
func browser(t *testing.T, more ...string) *tab {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		const why = "no browser: install chromium (or chromium-browser, or google-chrome) to test the console's page"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	dir, err := os.MkdirTemp("", "bramble-console-")
	if err != nil {
		t.Fatal(err)
	}
	opts := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.UserDataDir(dir)}
	for _, flag := range append(more, "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
		"disable-background-networking", "disable-component-update", "disable-sync") {
		opts = append(opts, chromedp.Flag(flag, true))
	}
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	page := &tab{ctx: ctx}
	watched := make(chan struct{})
	close(watched)
	t.Cleanup(func() {
		bound, done := context.WithTimeout(ctx, patience)
		defer done()
		if err := chromedp.Cancel(bound); err != nil {
			t.Logf("closing %s: %v", path, err)
		}
		cancel()
		cancelAlloc()
		<-watched
		// Chromium's helpers may write for a moment after it has ended.
		if !within(patience, func() bool { return os.RemoveAll(dir) == nil }) {
			t.Errorf("%s cannot be removed", dir)
		}
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	messages := chromedp.Console(ctx)
	watched = make(chan struct{})
	go func() {
		defer close(watched)
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleException || m.Type == "error" || m.Type == "warning" {
				page.mu.Lock()
				page.complaints = append(page.complaints, string(m.Type)+": "+m.Text)
				page.mu.Unlock()
			}
		}
	}()
	return page
}

// do runs steps on the page, in a bounded time.
func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, steps...)
}

// checkComplaints fails the test if the page has logged an error or a warning.
func (p *tab) checkComplaints(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.complaints {
		t.Errorf("the page logs: %s", c)
	}
}

// until waits for a JavaScript expression to become true. (chromedp.Poll compiles text,
// which the page's Content-Security-Policy forbids.)
func until(js string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		var err error
		ok := within(20*time.Second, func() bool {
			var yes bool
			yes, err = chromedp.Evaluate[bool]("!!("+js+")")(ctx, t)
			return yes || err != nil
		})
		if err == nil && !ok {
			err = errors.New("it did not become true")
		}
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", js, err)
		}
		return nil
	})
}

// then does something outside the page between two steps.
func then(f func()) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(context.Context, *chromedp.Target) error { f(); return nil })
}

const boardState = `document.querySelector('[data-board=%q] .state span')?.textContent === %q`

// TestPage plays a class's first minute, by https, whose warning its browser has accepted: five boards, an event, a kill,
// a revival, a drain, a purge.
func TestPage(t *testing.T) {
	page := browser(t, "ignore-certificate-errors")
	f := consoletest.NewFake(5)
	ca, err := certs.NewConsoleCA(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, f, (&certs.ConsoleCerts{CA: ca, Boards: []string{"board-1"}}).TLSConfig())
	if !strings.HasPrefix(s.URL, "https://") {
		t.Fatalf("the console is at %s", s.URL)
	}

	err = page.do(
		chromedp.EmulateViewport(1440, 1000),
		chromedp.Navigate(s.URL),
		until(`document.querySelectorAll('.board').length === 5`),
		until(fmt.Sprintf(boardState, "board-3", "serving")),
		until(`document.querySelectorAll('#ring .arcs').length === 5`),
		until(`document.querySelector('#shares tbody').rows.length === 5`),
		then(func() {
			f.Publish(Event{At: time.Now(), Kind: "joined", Board: "board-5", Text: "board-5 joined: a fresh <card>"})
		}),
		until(`document.querySelector('#log').textContent.includes('board-5 joined: a fresh <card>')`),

		chromedp.Click(chromedp.CSS(`[data-board="board-3"] button[data-do="kill"]`)),
		until(fmt.Sprintf(boardState, "board-3", "dead")),
		until(`document.querySelectorAll('#ring .arcs').length === 4`),
		until(`document.querySelector('#status').textContent.includes('board-3 is dead')`),
		chromedp.Click(chromedp.CSS(`[data-board="board-3"] button[data-do="kill"]`)), // of the dead: nothing happens
		chromedp.Click(chromedp.CSS(`[data-board="board-3"] button[data-do="revive"]`)),
		until(fmt.Sprintf(boardState, "board-3", "serving")),
		chromedp.Click(chromedp.CSS(`[data-board="board-1"] button[data-do="drain"]`)),
		until(fmt.Sprintf(boardState, "board-1", "drained")),
		until(`document.querySelector('[data-board="board-1"] button[data-do="drain"]').textContent === 'Undo drain'`),

		chromedp.SendKeys(chromedp.ID("value"), "/product/model-b\n"),
		until(`document.querySelector('#purge-result').textContent.includes('Absent: board-1')`),
		chromedp.Click(chromedp.CSS(`[data-board="board-1"] button[data-do="drain"]`)),
		until(fmt.Sprintf(boardState, "board-1", "serving")),
	)
	if err != nil {
		t.Error(err)
	}
	want := []string{"kill board-3", "revive board-3", "drain board-1", "purge url /product/model-b", "undrain board-1"}
	if got := f.Calls(); !slices.Equal(got, want) {
		t.Errorf("the rack was asked for %q, want %q", got, want)
	}
	page.checkComplaints(t)
}

// TestPageFits looks for elements that overflow the page's width, from a phone to a desk,
// with few boards, none and many.
func TestPageFits(t *testing.T) {
	page := browser(t)
	for _, boards := range []int{0, 5, 64} {
		f := consoletest.NewFake(boards)
		if boards > 0 {
			f.Set("board-1", "serving", gpio.PeerLost, gpio.OriginDown, gpio.ClockNotSet)
		}
		s := serve(t, f)
		ready := fmt.Sprintf(`document.querySelectorAll('.board').length === %d && !document.querySelector('#totals').hidden`, boards)
		for _, width := range []int64{320, 390, 768, 1440} {
			if err := page.do(chromedp.EmulateViewport(width, 900), chromedp.Navigate(s.URL), until(ready)); err != nil {
				t.Fatal(err)
			}
			over, err := chromedp.Run(page.ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`))
			if err != nil {
				t.Fatal(err)
			}
			if over > 0 {
				t.Errorf("%d boards at %d px: the page is %d px too wide", boards, width, over)
			}
		}
		// The next console comes by another port; leave before this one ends.
		if err := page.do(chromedp.Navigate("about:blank")); err != nil {
			t.Fatal(err)
		}
	}
	page.checkComplaints(t)
}

// TestPageConnectionLost ends the console while the page is open: it must report that.
func TestPageConnectionLost(t *testing.T) {
	page := browser(t) // a lost connection is a complaint of the browser's own
	f := consoletest.NewFake(2)
	s := serve(t, f)
	err := page.do(chromedp.Navigate(s.URL), until(`document.querySelectorAll('.board').length === 2`),
		then(func() {
			s.Listener.Close()
			s.CloseClientConnections()
		}),
		until(`!document.querySelector('#lost').hidden && document.querySelector('#lost').textContent.includes('Reconnecting')`),
		until(`document.querySelector('#link').dataset.link === 'lost'`),
	)
	if err != nil {
		t.Error(err)
	}
}

// TestLampInBrowser plays patterns with lamp.js and with gpio and expects
// the same light at every moment.
func TestLampInBrowser(t *testing.T) {
	page := browser(t)
	s := serve(t, consoletest.NewFake(1))
	patterns := []gpio.Pattern{{}, {Steps: []gpio.Step{{Level: 9}}}, {Steps: []gpio.Step{{Level: 7, MS: 3}, {Level: 200}, {Level: 90, MS: 4}}}}
	for _, scene := range gpio.Scenes() {
		patterns = append(patterns, gpio.Render(scene.At(0, 0), 0).Health)
	}
	var times []int64
	for ms := int64(-500); ms < 9000; ms += 62 {
		times = append(times, ms)
	}
	times = append(times, -1, 0, 1, 1330495200123)
	arg, err := json.Marshal(struct {
		Patterns []gpio.Pattern `json:"patterns"`
		Times    []int64        `json:"times"`
	}{patterns, times})
	if err != nil {
		t.Fatal(err)
	}
	if err := page.do(chromedp.Navigate(s.URL)); err != nil {
		t.Fatal(err)
	}
	got, err := chromedp.Run(page.ctx, chromedp.Evaluate[[][]int](
		`import('/lamp.js').then((m) => { const a = `+string(arg)+`; return a.patterns.map((p) => a.times.map((t) => m.at(p, t))); })`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(patterns) {
		t.Fatalf("%d patterns came back of %d", len(got), len(patterns))
	}
	for i, p := range patterns {
		for j, ms := range times {
			if want := int(p.At(time.Duration(ms) * time.Millisecond)); got[i][j] != want {
				t.Errorf("%q at %d ms: page %d, gpio %d", p.Name, ms, got[i][j], want)
			}
		}
	}
}
