//go:build unix

package node_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bramble/node/console"
)

// countingOrigin is an origin that counts its requests.
type countingOrigin struct {
	*httptest.Server
	asked   atomic.Int64
	version atomic.Int64 // part of each page, to recognise a stale one
}

// newOrigin serves every path as a page that is fresh for a minute. It answers after
// delay.
func newOrigin(t *testing.T, delay time.Duration) *countingOrigin {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &countingOrigin{}
	o.serve(t, listener, delay)
	return o
}

func (o *countingOrigin) serve(t *testing.T, listener net.Listener, delay time.Duration) {
	t.Helper()
	o.serveWith(t, listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		time.Sleep(delay)
		version := o.version.Load()
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Surrogate-Key", "all-pages page"+strings.ReplaceAll(r.URL.Path, "/", "-"))
		w.Header().Set("ETag", fmt.Sprintf(`"%s-%d"`, strings.Trim(r.URL.Path, "/"), version))
		fmt.Fprintf(w, "page %s version %d", r.URL.Path, version)
	}))
}

func (o *countingOrigin) serveWith(t *testing.T, listener net.Listener, handler http.Handler) {
	t.Helper()
	o.Server = httptest.NewUnstartedServer(handler)
	o.Listener.Close()
	o.Listener = listener
	o.Start()
	t.Cleanup(o.Close)
}

func originConfig(origin *countingOrigin, more string) string {
	return fmt.Sprintf("[origin]\nurl = %q\n%s", origin.URL, more)
}

// patientPeers is the configuration of a test that counts the origin's requests. With a long peer timeout
// no board takes a peer on a busy machine for silent, and then fetches a page itself or withholds a copy.
func patientPeers() string { return fmt.Sprintf("peer_timeout = %q\n", patience) }

// crowd sends n clients at once to each board for one path and returns their replies.
func crowd(t *testing.T, boards []*process, n int, path string) []page {
	t.Helper()
	return requestAll(boards, n, func(base string, _ int) *http.Request {
		r, err := http.NewRequest(http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	})
}

func TestMissCostsTheOriginOneRequest(t *testing.T) {
	runBeside(t)
	origin := newOrigin(t, 300*time.Millisecond)
	r := startRack(t, 5, patientPeers()+originConfig(origin, ""))
	for round := range 3 {
		path := fmt.Sprintf("/cold/%d", round)
		before := origin.asked.Load()
		pages := crowd(t, r.boards, 100, path)
		if asked := origin.asked.Load() - before; asked != 1 {
			t.Errorf("round %d: %d clients cost the origin %d requests, want 1", round, len(pages), asked)
		}
		want := fmt.Sprintf("page %s version 0", path)
		for _, p := range pages {
			if p.status != http.StatusOK || p.body != want {
				t.Fatalf("round %d: a client got %d %q, want %q", round, p.status, p.body, want)
			}
		}
	}
}

func TestEveryBoardServesTheBuiltInShop(t *testing.T) {
	r := prepareRack(t, 3, "")
	r.startAll()
	for _, path := range []string{"/", "/p/raspberry-pi-model-b", "/p/raspberry-pi-model-b/order", "/status", "/status.json"} {
		first := r.boards[0].get(path)
		if first.status != http.StatusOK {
			t.Errorf("%s: status %d", path, first.status)
		}
		for _, b := range r.boards[1:] {
			if got := b.get(path); got.status != http.StatusOK || got.header.Get("ETag") != first.header.Get("ETag") {
				t.Errorf("%s: %s answers %d with ETag %s, board-1 %d with %s", path, b.name,
					got.status, got.header.Get("ETag"), first.status, first.header.Get("ETag"))
			}
		}
	}
}

func TestPurgeAppliesToAllBoards(t *testing.T) {
	runBeside(t)
	origin := newOrigin(t, 0)
	r := startRack(t, 3, originConfig(origin, ""))
	for i, body := range []string{`{"url":"/p"}`, `{"tag":"all-pages"}`, `{"all":true}`} {
		// Twice, so that every board has a hot copy.
		crowd(t, r.boards, 4, "/p")
		crowd(t, r.boards, 4, "/p")
		origin.version.Add(1)
		r.boards[i].purgeOn(body, "board-1", "board-2", "board-3")
		want := fmt.Sprintf("page /p version %d", origin.version.Load())
		for _, b := range r.boards {
			if got := b.get("/p"); got.body != want {
				t.Errorf("%s: after the purge %s serves %q, want %q", body, b.name, got.body, want)
			}
		}
	}
}

// load requests pages of boards without a break, over persistent connections. stop
// ends it and returns what went wrong and how long the slowest reply took.
func load(boards []*process, paths int) (stop func() (asked int64, wrong []string, slowest time.Duration)) {
	var (
		wg      sync.WaitGroup
		done    atomic.Bool
		count   atomic.Int64
		mu      sync.Mutex // guards wrong, slowest
		wrong   []string
		slowest time.Duration
	)
	for _, b := range boards {
		for worker := range 4 {
			wg.Go(func() {
				c := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
				defer c.CloseIdleConnections()
				for n := worker; !done.Load(); n++ {
					began := time.Now()
					got, err := fetch(c, fmt.Sprintf("%s/load/%d", b.http, n%paths))
					took := time.Since(began)
					count.Add(1)
					mu.Lock()
					slowest = max(slowest, took)
					if err != nil {
						wrong = append(wrong, b.name+": "+err.Error())
					} else if got.status != http.StatusOK {
						wrong = append(wrong, fmt.Sprintf("%s: status %d: %s", b.name, got.status, got.body))
					}
					mu.Unlock()
				}
			})
		}
	}
	return func() (int64, []string, time.Duration) {
		done.Store(true)
		wg.Wait()
		return count.Load(), wrong, slowest
	}
}

func TestKilledBoardCausesNoErrorsElsewhere(t *testing.T) {
	runBeside(t)
	origin := newOrigin(t, 0)
	r := startRack(t, 5, originConfig(origin, ""))
	victim, others := r.boards[2], r.boards[:2]
	stop := load(append(slices.Clone(others), r.boards[3:]...), 500)
	time.Sleep(500 * time.Millisecond)
	victim.kill()
	r.boards[0].waitFor("board-3 dead", func(s console.RackView) bool { return stateOf(s, "board-3") == "dead" })
	asked, wrong, slowest := stop()
	if len(wrong) > 0 {
		t.Errorf("%d of %d requests failed, first: %s", len(wrong), asked, wrong[0])
	}
	t.Logf("%d requests while board-3 was killed, the slowest took %v", asked, slowest)

	// The rack recovers without fetching everything from the origin again.
	victim.start()
	victim.waitReady()
	r.boards[0].waitFor("board-3 back", func(s console.RackView) bool { return stateOf(s, "board-3") == "serving" })
}

// Every page has two owners: pulling one plug causes no storm on the origin.
func TestKilledBoardsPagesStayInTheRack(t *testing.T) {
	runBeside(t)
	const pages = 200
	origin := newOrigin(t, 0)
	r := startRack(t, 4, patientPeers()+originConfig(origin, ""))
	path := func(n int) string { return fmt.Sprintf("/p/%d", n) }
	for n := range pages {
		r.boards[0].get(path(n))
	}
	// The first owners have sent a copy of each to the second.
	eventually(t, "two copies of each page", func() (bool, string) {
		sent := 0.0
		for _, b := range r.boards {
			sent += b.metric("bramble_rack_replicas_sent_total")
		}
		return sent >= pages, fmt.Sprintf("%v copies sent", sent)
	})
	before := origin.asked.Load()
	r.boards[3].kill()
	for n := range pages {
		if got := r.boards[n%3].get(path(n)); got.status != http.StatusOK {
			t.Fatalf("%s: status %d: %s", path(n), got.status, got.body)
		}
	}
	if asked := origin.asked.Load() - before; asked != 0 {
		t.Errorf("after a board was killed, %d pages that the rack had cost the origin %d requests", pages, asked)
	}
	// Nor when the ring has changed, nor when the board is back, empty.
	r.boards[0].waitFor("board-4 dead", func(s console.RackView) bool { return stateOf(s, "board-4") == "dead" })
	r.boards[3].start()
	r.boards[3].waitReady()
	r.boards[0].waitFor("board-4 back", func(s console.RackView) bool { return stateOf(s, "board-4") == "serving" })
	for n := range pages {
		r.boards[3].get(path(n))
	}
	if asked := origin.asked.Load() - before; asked != 0 {
		t.Errorf("the board came back, and %d pages that the rack had cost the origin %d requests", pages, asked)
	}
}

func TestPausedBoardAppliesMissedPurgesBeforeItServes(t *testing.T) {
	runBeside(t)
	origin := newOrigin(t, 0)
	r := startRack(t, 3, originConfig(origin, ""))
	for range 2 {
		crowd(t, r.boards, 4, "/p")
	}
	paused := r.boards[1]
	for round := range 3 {
		paused.signal(syscall.SIGSTOP)
		if round == 2 {
			r.boards[0].waitFor("board-2 dead", func(s console.RackView) bool { return stateOf(s, "board-2") == "dead" })
		}
		origin.version.Add(1)
		if result := r.boards[0].purgeOn(`{"url":"/p"}`, "board-3"); !slices.Contains(result.Absent, "board-2") {
			t.Errorf("applied by %v, absent %v; want board-2 absent", result.Applied, result.Absent)
		}
		want := fmt.Sprintf("page /p version %d", origin.version.Load())
		if got := r.boards[2].get("/p"); got.body != want {
			t.Errorf("board-3 serves %q, want %q", got.body, want)
		}
		paused.signal(syscall.SIGCONT)
		for range 5 {
			if got := paused.get("/p"); got.body != want {
				t.Errorf("round %d: back from its pause, board-2 serves %q, want %q", round, got.body, want)
			}
		}
		for _, b := range r.boards {
			b.waitFor("board-2 in service", func(s console.RackView) bool { return stateOf(s, "board-2") == "serving" })
		}
		for range 2 {
			crowd(t, r.boards, 4, "/p")
		}
	}
}

func TestDrainingBoardCausesNoErrors(t *testing.T) {
	runBeside(t)
	origin := newOrigin(t, 0)
	r := startRack(t, 3, originConfig(origin, ""))
	drained := r.boards[1]
	stop := load(r.boards, 50)
	if got := r.boards[0].post("/api/v1/drain", `{"board":"board-2"}`); got.status/100 != 2 {
		t.Fatalf("drain: status %d: %s", got.status, got.body)
	}
	r.boards[0].waitFor("board-2 off the ring", func(s console.RackView) bool {
		for _, b := range s.Boards {
			if b.Name == "board-2" {
				return b.State == "draining" && b.RingShare == 0
			}
		}
		return false
	})
	if got, err := drained.callConsole(http.MethodGet, "/readyz", ""); err != nil || got.status != http.StatusServiceUnavailable {
		t.Errorf("a draining board is ready: %d %q, %v", got.status, got.body, err)
	}
	if asked, wrong, _ := stop(); len(wrong) > 0 {
		t.Errorf("%d of %d requests failed, first: %s", len(wrong), asked, wrong[0])
	}
	r.boards[0].waitFor("board-2 drained", func(s console.RackView) bool { return stateOf(s, "board-2") == "drained" })
	if got := r.boards[0].post("/api/v1/drain", `{"board":"board-2","undo":true}`); got.status/100 != 2 {
		t.Fatalf("undo: status %d: %s", got.status, got.body)
	}
	drained.waitReady()
	if got := r.boards[0].post("/api/v1/drain", `{"board":"board-9"}`); got.status != http.StatusNotFound {
		t.Errorf("draining an unknown board: status %d: %s", got.status, got.body)
	}
}

func TestBoardLeavesWithAGoodbye(t *testing.T) {
	runBeside(t)
	r := startRack(t, 3, "")
	r.boards[2].stop()
	r.boards[0].waitFor("board-3 gone", func(s console.RackView) bool { return stateOf(s, "board-3") == "left" })
}

func TestBoardWithAnotherKeyStaysOutside(t *testing.T) {
	runBeside(t)
	r := newRack(t, 3, "")
	r.boards[2] = r.board(2, otherKey())
	for _, b := range r.boards {
		b.start()
	}
	for _, b := range r.boards {
		b.waitReady()
	}
	r.boards[0].waitFor("board-2", func(s console.RackView) bool { return stateOf(s, "board-2") == "serving" })
	// The board with another key is ready only after it has looked for its rack in vain.
	for _, b := range r.boards {
		s, err := b.snapshot()
		if err != nil {
			t.Fatal(err)
		}
		want := 2
		if b == r.boards[2] {
			want = 1
		}
		if len(s.Boards) != want {
			t.Errorf("%s sees %d boards, want %d", b.name, len(s.Boards), want)
		}
	}
	for _, b := range r.boards {
		eventually(t, "a wrong rack key in the log of "+b.name, func() (bool, string) {
			text := b.logText()
			return strings.Contains(text, "rack key"), text
		})
		if n := strings.Count(b.logText(), "rack key"); n > 3 {
			t.Errorf("the log of %s reports a wrong rack key %d times, want about once:\n%s", b.name, n, b.logText())
		}
	}
}

func TestUnsafeRequestReachesTheOriginAndInvalidates(t *testing.T) {
	runBeside(t)
	origin := newOrigin(t, 0)
	r := startRack(t, 3, originConfig(origin, ""))
	for range 2 {
		crowd(t, r.boards, 4, "/p")
	}
	origin.version.Add(1)
	resp, err := client().Post(r.boards[0].http+"/p", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "page /p version 1" {
		t.Errorf("the post was answered with %q, %v", body, err)
	}
	for _, b := range r.boards {
		eventually(t, b.name+" to serve the new page", func() (bool, string) {
			got := b.get("/p")
			return got.body == "page /p version 1", got.body
		})
	}
}
