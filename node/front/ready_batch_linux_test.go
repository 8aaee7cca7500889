package front

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/node/front/http1"
	"bramble/node/front/http1/http1test"
)

// readyCrowd opens connections, each of which has had a reply, and blocks every event
// loop until release is called: then everything that was sent meanwhile is there at once.
// Before that, some clients have requested the pages in warm, so that the replies are
// memoised.
func readyCrowd(t *testing.T, size int, warm []string, change ...func(*Config)) (h *blockedHandler, f *Front, all []*testClient, release func()) {
	t.Helper()
	h = &blockedHandler{testSite: newTestSite(t), over: make(chan struct{})}
	release = sync.OnceFunc(func() { close(h.over) })
	f, _, _ = startFront(t, h.testSite, append([]func(*Config){func(cfg *Config) { cfg.FastHandler, cfg.IdleTimeout = h, time.Minute }}, change...)...)
	t.Cleanup(release)
	counted := int64(size) // a reply is counted after it was sent
	for _, in := range warm {
		alone := h.viaFastPath([]byte(in), answerRules{})
		for range 4 * runtime.GOMAXPROCS(0) { // so that each event loop gets some
			v := dialFront(t, f)
			v.send(in)
			counted += int64(len(alone.heads))
			if _, err := io.CopyN(io.Discard, v.r, int64(len(alone.out))); err != nil {
				t.Fatalf("%q: %v", in, err)
			}
			v.Close()
		}
	}
	for range size {
		v := dialFront(t, f)
		v.send(get("/"))
		v.reply()
		all = append(all, v)
	}
	until(t, "the replies so far are counted", func() bool { got := f.Counts(); return got.Fast+got.Lent >= counted })
	h.holdAll(t, f)
	return h, f, all, release
}

// The clients of a batch get what each would get alone, to the byte, whatever they request.
func TestABatchGetsWhatEachWouldGet(t *testing.T) {
	t.Parallel()
	var names []string
	requests := http1test.Seeds()
	for name, in := range http1test.Browsers() {
		requests[name] = http1test.Seed{In: in, Replies: 1}
	}
	for name, s := range requests {
		if s.Replies > 0 && (s.Then == http1test.Wait || s.Then == http1test.Close) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	// An event loop has few memos, and so the batches are small.
	for few := range slices.Chunk(names, http1.MaxCachedHeaders/2) {
		t.Run(few[0], func(t *testing.T) { checkBatch(t, few, requests) })
	}
}

func checkBatch(t *testing.T, names []string, requests map[string]http1test.Seed) {
	var warm []string
	for _, name := range names {
		warm = append(warm, requests[name].In)
	}
	h, f, all, release := readyCrowd(t, 5*len(names), warm, func(cfg *Config) { cfg.MaxConnections = 1000 })
	before := f.Counts()
	// Those for /held are counted too, once they went on: lent, stored or memoised.
	counted := before.Fast + before.Lent + h.sent
	for i, v := range all {
		v.send(requests[names[i%len(names)]].In)
	}
	release()
	for i, v := range all {
		name := names[i%len(names)]
		alone := h.viaFastPath([]byte(requests[name].In), answerRules{})
		counted += int64(len(alone.heads))
		got := make([]byte, len(alone.out))
		if n, err := io.ReadFull(v.r, got); err != nil || !bytes.Equal(got, alone.out) {
			t.Errorf("%s: %d bytes, %v: %.300q\nalone it gets %.300q", name, n, err, got, alone.out)
		}
		if alone.next == actionClose {
			v.ends()
		}
	}
	until(t, "all replies are counted", func() bool { got := f.Counts(); return got.Fast+got.Lent >= counted })
	if got := f.Counts(); got.Fast+got.Lent != counted {
		t.Errorf("%d replies are counted for %d", got.Fast+got.Lent, counted)
	}
}

// What a client has not taken of a memoised reply stays the same when the memo is replaced.
func TestAnUnsentMemoStaysTheSame(t *testing.T) {
	t.Parallel()
	h := newTestSite(t)
	for _, together := range []int{1, 3} {
		t.Run(fmt.Sprint(together), func(t *testing.T) { checkUnsentMemo(t, h, together) })
	}
}

func checkUnsentMemo(t *testing.T, h *testSite, together int) {
	f, _, _ := startFront(t, h)
	slow := dialFront(t, f)
	one := []byte(get("/"))
	want := h.viaFastPath(one, answerRules{}).out
	sent := 0
	for sent < 10_000 && !f.hasPendingOutput() {
		slow.send(strings.Repeat(string(one), together))
		sent += together
		until(t, "it is answered", func() bool { return f.Counts().Fast == int64(sent) || f.hasPendingOutput() })
	}
	if !f.hasPendingOutput() {
		t.Fatalf("a client takes %d pages without reading one", sent)
	}
	for range 4 * runtime.GOMAXPROCS(0) { // so that each event loop gets some
		other := dialFront(t, f)
		for range 2 * replaceEvery { // the same fields, another page: it replaces the first memo
			other.send(get("/other"))
			other.reply()
		}
	}
	for i := range sent {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(slow.r, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("reply %d is %.300q, %v", i, got, err)
		}
	}
}

// hasPendingOutput reports whether a client has not taken all of its replies.
func (f *Front) hasPendingOutput() bool {
	f.conns.mu.Lock()
	defer f.conns.mu.Unlock()
	return slices.ContainsFunc(f.conns.conns, func(c *conn) bool { return c.currentState() == stateFlushing })
}

// A client over its rate is refused in a batch as alone, and loses the connection.
func TestRateLimitsHoldInABatch(t *testing.T) {
	const crowd = 30 // is also what is allowed per second, and twice that at once
	h, f, all, release := readyCrowd(t, crowd, nil, func(cfg *Config) { cfg.ClientRequests = crowd })
	allowedHeld := int(h.calls.Load())
	for _, v := range all {
		v.send(get("/"))
	}
	release()
	refused := 0
	for _, v := range all {
		resp, _ := v.reply()
		if resp.StatusCode == 503 {
			refused++
			v.ends()
		} else if resp.StatusCode != 200 {
			t.Errorf("got %s", resp.Status)
		}
	}
	// The crowd would use up two seconds' worth, but those for /held are of the same client.
	if refused < allowedHeld || int64(refused) > h.sent {
		t.Errorf("%d of %d are refused beside %d to %d others", refused, crowd, allowedHeld, h.sent)
	}
	until(t, "all refusals are counted", func() bool { return f.Counts().Limited >= h.sent })
	if got := f.Counts().Limited; got != h.sent {
		t.Errorf("%d refusals are counted for %d", got, h.sent)
	}
}

// Clients that have closed their side, or leave, are noticed in a batch.
func TestABatchNoticesClientsThatLeave(t *testing.T) {
	h, f, all, release := readyCrowd(t, 20, nil)
	for i, v := range all {
		v.send(get("/"))
		if i%2 == 0 {
			closeWrite(v.Conn)
		}
	}
	release()
	for i, v := range all {
		if resp, _ := v.reply(); resp.StatusCode != 200 {
			t.Errorf("got %s", resp.Status)
		}
		if i%2 == 0 {
			v.ends()
		} else {
			v.Close()
		}
	}
	until(t, "the crowd has gone", func() bool { return f.Counts().Open == h.sent })
}
