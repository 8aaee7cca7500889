package fulfilment

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bramble/node/orders"
)

// receiver is a fulfiller that notes the ids of what it gets in a book's calls.
func receiver(t *testing.T, b *fakeBook, answer func(id string) int) WebhookConfig {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(HeaderID)
		b.note("post " + id)
		w.WriteHeader(answer(id))
	}))
	t.Cleanup(server.Close)
	return WebhookConfig{URL: server.URL, Secret: testSecret}
}

func always(status int) func(string) int { return func(string) int { return status } }

func count(calls []string, want string) (n int) {
	for _, c := range calls {
		if c == want {
			n++
		}
	}
	return n
}

func TestEachOrderIsHandedOverAndNoneBeforeItIsCommitted(t *testing.T) {
	book, said := newFakeBook(), &logs{}
	const many = 600 // more than a window and a page
	for n := range many {
		book.add(orders.QueueWebhook, orders.JobWebhook, launch.Add(time.Duration(n)), testPaper(n))
	}
	later := testPaper(many)
	book.add(orders.QueueWebhook, orders.JobWebhook, launch.Add(2*time.Hour), later)
	time := &clock{at: launch.Add(time.Hour)}
	s, stop := start(t, Config{Jobs: book, Webhook: receiver(t, book, always(200)), Now: time.now, Logger: said.logger()})
	eventually(t, "all are handed over", func() bool { return book.left(orders.QueueWebhook) == 1 })
	// The last workers still have to say so.
	eventually(t, "all are counted", func() bool { return s.Stats().Webhook.Delivered == many })
	stop()
	calls := book.noted()
	for n := range many {
		id := testPaper(n).ID.String()
		handing, post, done := slices.Index(calls, "handing "+id), slices.Index(calls, "post "+id), slices.Index(calls, "done "+id)
		if handing < 0 || post < handing || done < post || count(calls, "post "+id) != 1 {
			t.Fatalf("order %d: handing %d, post %d, done %d", n, handing, post, done)
		}
	}
	if count(calls, "handing "+later.ID.String()) != 0 {
		t.Error("an order was handed over before its time")
	}
	if got := s.Stats().Webhook; got.Failure != NoFailure || !got.Configured || !got.Leading {
		t.Errorf("stats %+v", got)
	}
	if s.Stats().Mail.Configured {
		t.Error("mail is on without a server")
	}
	noPersonalData(t, said)
}

func noPersonalData(t *testing.T, said *logs) {
	t.Helper()
	text := said.String()
	for _, personal := range []string{"Zoë", "Łęcka", "zoe", "home.example", "Bramble Lane", "CB1"} {
		if strings.Contains(text, personal) {
			t.Errorf("%q is in the log:\n%s", personal, text)
		}
	}
}

// A board that dies between the post and Done leaves the job in the outbox; the next one
// posts it again under the same id.
func TestACrashBeforeDoneSendsAgainUnderTheSameID(t *testing.T) {
	book := newFakeBook()
	paper := testPaper(0)
	id := paper.ID.String()
	book.add(orders.QueueWebhook, orders.JobWebhook, launch, paper)
	book.done = func(orders.ID) error { return errors.New("the plug is out") }
	hook := receiver(t, book, always(200))
	_, crash := start(t, Config{Jobs: book, Webhook: hook})
	eventually(t, "the first board has posted", func() bool { return count(book.noted(), "done "+id) > 0 })
	crash()
	if n := count(book.noted(), "post "+id); n != 1 {
		t.Fatalf("the first board has posted %d times", n)
	}
	book.mu.Lock()
	book.done = nil
	book.mu.Unlock()
	start(t, Config{Jobs: book, Webhook: hook})
	eventually(t, "the second board has handed it over", func() bool { return book.end(paper.ID) == ByWebhook })
	calls := book.noted()
	if n := count(calls, "post "+id); n != 2 {
		t.Errorf("posted %d times, want twice", n)
	}
	if n := count(calls, "handing "+id); n != 1 {
		t.Errorf("committed %d times that it is on its way, want once", n)
	}
}

// As long as the board lives, only Done is tried again.
func TestALedgerThatIsAwayMakesNoSecondPost(t *testing.T) {
	book, time := newFakeBook(), &clock{at: launch}
	paper := testPaper(0)
	book.add(orders.QueueWebhook, orders.JobWebhook, launch, paper)
	var failed atomic.Int32
	book.done = func(orders.ID) error {
		if failed.Add(1) < 4 {
			return errors.New("no majority")
		}
		return nil
	}
	start(t, Config{Jobs: book, Webhook: receiver(t, book, always(200)), Now: time.now})
	eventually(t, "it is done", func() bool {
		time.pass(jobBackoff().first)
		return book.end(paper.ID) == ByWebhook
	})
	if n := count(book.noted(), "post "+paper.ID.String()); n != 1 {
		t.Errorf("posted %d times", n)
	}
}

func TestNothingIsPostedThatIsNotCommittedAsHanding(t *testing.T) {
	book, time := newFakeBook(), &clock{at: launch}
	gone, early := testPaper(0), testPaper(1)
	book.add(orders.QueueWebhook, orders.JobWebhook, launch, gone, early)
	var tries atomic.Int32
	book.handing = func(id orders.ID) error {
		if id == gone.ID {
			return ErrGone // the buyer was faster
		}
		if tries.Add(1) < 3 {
			return errors.New("no majority")
		}
		return nil
	}
	start(t, Config{Jobs: book, Webhook: receiver(t, book, always(200)), Now: time.now})
	eventually(t, "the other one is done", func() bool {
		time.pass(jobBackoff().first)
		return book.end(early.ID) == ByWebhook
	})
	if calls := book.noted(); count(calls, "post "+gone.ID.String()) != 0 || count(calls, "post "+early.ID.String()) != 1 {
		t.Errorf("calls %q", calls)
	}
}

func TestOnlyTheLeaderTells(t *testing.T) {
	book := newFakeBook()
	for n := range 20 {
		book.add(orders.QueueWebhook, orders.JobWebhook, launch, testPaper(n))
	}
	hook := receiver(t, book, always(200))
	var leader atomic.Int32
	board := func(n int32) Config {
		return Config{Jobs: book, Webhook: hook, Leading: func() bool { return leader.Load() == n }}
	}
	one, _ := start(t, board(1))
	two, _ := start(t, board(2))
	eventually(t, "both have counted", func() bool {
		return one.Stats().Webhook.Waiting == 20 && two.Stats().Webhook.Waiting == 20
	})
	if calls := book.noted(); len(calls) != 0 {
		t.Fatalf("without a leader: %q", calls)
	}
	leader.Store(2)
	eventually(t, "the second board has told all", func() bool { return book.left(orders.QueueWebhook) == 0 })
	if got := one.Stats().Webhook; got.Delivered != 0 || got.Leading {
		t.Errorf("the first board told %d", got.Delivered)
	}
	leader.Store(1)
	book.add(orders.QueueWebhook, orders.JobWebhook, launch, testPaper(20))
	eventually(t, "the first board has told the last", func() bool { return one.Stats().Webhook.Delivered == 1 })
}

func TestARefusedOrderStaysAndIsSaid(t *testing.T) {
	book, time, said := newFakeBook(), &clock{at: launch}, &logs{}
	bad := testPaper(0)
	book.add(orders.QueueWebhook, orders.JobWebhook, launch, bad)
	for n := 1; n < 50; n++ {
		book.add(orders.QueueWebhook, orders.JobWebhook, launch, testPaper(n))
	}
	s, stop := start(t, Config{Jobs: book, Now: time.now, Logger: said.logger(), Webhook: receiver(t, book, func(id string) int {
		if id == bad.ID.String() {
			return http.StatusUnprocessableEntity
		}
		return http.StatusOK
	})})
	eventually(t, "the others are handed over", func() bool { return book.left(orders.QueueWebhook) == 1 })
	eventually(t, "it counts as refused", func() bool {
		time.pass(jobBackoff().most / 2)
		return s.Stats().Webhook.Refused == 1
	})
	eventually(t, "the log names it", func() bool {
		time.pass(jobBackoff().most / 2)
		return strings.Contains(said.String(), "references=["+bad.ID.String()+"]")
	})
	got := s.Stats().Webhook
	if got.Waiting != 1 || !got.Oldest.Equal(launch) || got.Failure != FailureRefused || got.Detail != "status 422" || got.Stopped {
		t.Errorf("stats %+v", got)
	}
	stop()
	if book.left(orders.QueueWebhook) != 1 || book.end(bad.ID) != "" {
		t.Error("it has left the outbox")
	}
	noPersonalData(t, said)
}

func TestGoneStopsAndRetryGoesOn(t *testing.T) {
	book, time, said := newFakeBook(), &clock{at: launch}, &logs{}
	for n := range 20 {
		book.add(orders.QueueWebhook, orders.JobWebhook, launch, testPaper(n))
	}
	var status atomic.Int32
	status.Store(http.StatusGone)
	s, _ := start(t, Config{Jobs: book, Now: time.now, Logger: said.logger(), Webhook: receiver(t, book, func(string) int { return int(status.Load()) })})
	eventually(t, "it stops", func() bool { return s.Stats().Webhook.Stopped })
	eventually(t, "the log says so", func() bool {
		time.pass(refusedLogInterval / 8)
		return strings.Contains(said.String(), "410 Gone")
	})
	posts := 0
	for _, c := range book.noted() {
		if strings.HasPrefix(c, "post ") {
			posts++
		}
	}
	if posts > webhookWorkers {
		t.Errorf("%d posts to a receiver that wants none", posts)
	}
	status.Store(http.StatusOK)
	s.Retry()
	eventually(t, "all are handed over", func() bool { return book.left(orders.QueueWebhook) == 0 })
}
