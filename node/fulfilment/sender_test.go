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

// receiver starts a fulfiller that records the ids of its posts in the store's calls.
func receiver(t *testing.T, b *fakeJobStore, answer func(id string) int) WebhookConfig {
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

func TestEachOrderIsPostedAfterItsCommit(t *testing.T) {
	book, logged := newFakeJobStore(), &logs{}
	const many = 600 // more than a window and a page
	for n := range many {
		book.add(orders.QueueWebhook, orders.JobWebhook, launch.Add(time.Duration(n)), testOrder(n))
	}
	later := testOrder(many)
	book.add(orders.QueueWebhook, orders.JobWebhook, launch.Add(2*time.Hour), later)
	time := &clock{at: launch.Add(time.Hour)}
	s, stop := start(t, Config{Jobs: book, Webhook: receiver(t, book, always(200)), Now: time.now, Logger: logged.logger()})
	eventually(t, "all are posted", func() bool { return book.left(orders.QueueWebhook) == 1 })
	// The last attempts are still being recorded.
	eventually(t, "all are counted", func() bool { return s.Stats().Webhook.Delivered == many })
	stop()
	calls := book.noted()
	for n := range many {
		id := testOrder(n).ID.String()
		begin, post, finish := slices.Index(calls, "begin "+id), slices.Index(calls, "post "+id), slices.Index(calls, "finish "+id)
		if begin < 0 || post < begin || finish < post || count(calls, "post "+id) != 1 {
			t.Fatalf("order %d: begin %d, post %d, finish %d", n, begin, post, finish)
		}
	}
	if count(calls, "begin "+later.ID.String()) != 0 {
		t.Error("an order was posted before it was due")
	}
	if got := s.Stats().Webhook; got.Failure != NoFailure || !got.Configured || !got.Leading {
		t.Errorf("stats %+v", got)
	}
	if s.Stats().Mail.Configured {
		t.Error("mail is configured without a server")
	}
	noPersonalData(t, logged)
}

func noPersonalData(t *testing.T, logged *logs) {
	t.Helper()
	text := logged.String()
	for _, personal := range []string{"Zoë", "Łęcka", "zoe", "home.example", "Bramble Lane", "CB1"} {
		if strings.Contains(text, personal) {
			t.Errorf("%q is in the log:\n%s", personal, text)
		}
	}
}

// A board that dies between the post and FinishJob leaves the job in the outbox; the next
// one posts it again under the same id.
func TestCrashBeforeFinishPostsAgainWithTheSameID(t *testing.T) {
	book := newFakeJobStore()
	order := testOrder(0)
	id := order.ID.String()
	book.add(orders.QueueWebhook, orders.JobWebhook, launch, order)
	book.finishHook = func(orders.ID) error { return errors.New("the plug is out") }
	hook := receiver(t, book, always(200))
	_, crash := start(t, Config{Jobs: book, Webhook: hook})
	eventually(t, "the first board has posted", func() bool { return count(book.noted(), "finish "+id) > 0 })
	crash()
	if n := count(book.noted(), "post "+id); n != 1 {
		t.Fatalf("the first board has posted %d times", n)
	}
	book.mu.Lock()
	book.finishHook = nil
	book.mu.Unlock()
	start(t, Config{Jobs: book, Webhook: hook})
	eventually(t, "the second board has posted it", func() bool { return book.end(order.ID) == ByWebhook })
	calls := book.noted()
	if n := count(calls, "post "+id); n != 2 {
		t.Errorf("posted %d times, want twice", n)
	}
	if n := count(calls, "begin "+id); n != 1 {
		t.Errorf("BeginFulfilment was committed %d times, want once", n)
	}
}

// While the board lives, only FinishJob is repeated.
func TestUnavailableLedgerCausesNoSecondPost(t *testing.T) {
	book, time := newFakeJobStore(), &clock{at: launch}
	order := testOrder(0)
	book.add(orders.QueueWebhook, orders.JobWebhook, launch, order)
	var failed atomic.Int32
	book.finishHook = func(orders.ID) error {
		if failed.Add(1) < 4 {
			return errors.New("no majority")
		}
		return nil
	}
	start(t, Config{Jobs: book, Webhook: receiver(t, book, always(200)), Now: time.now})
	eventually(t, "it is done", func() bool {
		time.pass(jobBackoff().first)
		return book.end(order.ID) == ByWebhook
	})
	if n := count(book.noted(), "post "+order.ID.String()); n != 1 {
		t.Errorf("posted %d times", n)
	}
}

func TestNothingIsPostedWithoutBeginFulfilment(t *testing.T) {
	book, time := newFakeJobStore(), &clock{at: launch}
	gone, early := testOrder(0), testOrder(1)
	book.add(orders.QueueWebhook, orders.JobWebhook, launch, gone, early)
	var tries atomic.Int32
	book.beginHook = func(id orders.ID) error {
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

func TestOnlyTheLeaderDelivers(t *testing.T) {
	book := newFakeJobStore()
	for n := range 20 {
		book.add(orders.QueueWebhook, orders.JobWebhook, launch, testOrder(n))
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
	eventually(t, "the second board has delivered all", func() bool { return book.left(orders.QueueWebhook) == 0 })
	if got := one.Stats().Webhook; got.Delivered != 0 || got.Leading {
		t.Errorf("the first board delivered %d", got.Delivered)
	}
	leader.Store(1)
	eventually(t, "the second board knows that it leads no more", func() bool { return !two.Stats().Webhook.Leading })
	book.add(orders.QueueWebhook, orders.JobWebhook, launch, testOrder(20))
	eventually(t, "the first board has delivered the last", func() bool { return one.Stats().Webhook.Delivered == 1 })
}

func TestRefusedOrderStaysAndIsLogged(t *testing.T) {
	book, time, logged := newFakeJobStore(), &clock{at: launch}, &logs{}
	bad := testOrder(0)
	book.add(orders.QueueWebhook, orders.JobWebhook, launch, bad)
	for n := 1; n < 50; n++ {
		book.add(orders.QueueWebhook, orders.JobWebhook, launch, testOrder(n))
	}
	s, stop := start(t, Config{Jobs: book, Now: time.now, Logger: logged.logger(), Webhook: receiver(t, book, func(id string) int {
		if id == bad.ID.String() {
			return http.StatusUnprocessableEntity
		}
		return http.StatusOK
	})})
	eventually(t, "the others are posted", func() bool { return book.left(orders.QueueWebhook) == 1 })
	eventually(t, "it counts as refused", func() bool {
		time.pass(jobBackoff().most / 2)
		return s.Stats().Webhook.Refused == 1
	})
	eventually(t, "the log names it", func() bool {
		time.pass(jobBackoff().most / 2)
		return strings.Contains(logged.String(), "references=["+bad.ID.String()+"]")
	})
	got := s.Stats().Webhook
	if len(got.FailingJobs) != 1 || got.FailingJobs[0].Reference != bad.ID.String() || got.FailingJobs[0].Attempts == 0 || got.FailingJobs[0].Detail != "status 422" {
		t.Errorf("it is not named: %+v", got.FailingJobs)
	}
	if got.Waiting != 1 || !got.Oldest.Equal(launch) || got.Failure != FailureRefused || got.Detail != "status 422" || got.Breaker == BreakerGone {
		t.Errorf("stats %+v", got)
	}
	stop()
	if book.left(orders.QueueWebhook) != 1 || book.end(bad.ID) != "" {
		t.Error("it has left the outbox")
	}
	noPersonalData(t, logged)
}

func TestGoneStopsUntilRetry(t *testing.T) {
	book, time, logged := newFakeJobStore(), &clock{at: launch}, &logs{}
	for n := range 20 {
		book.add(orders.QueueWebhook, orders.JobWebhook, launch, testOrder(n))
	}
	var status atomic.Int32
	status.Store(http.StatusGone)
	s, _ := start(t, Config{Jobs: book, Now: time.now, Logger: logged.logger(), Webhook: receiver(t, book, func(string) int { return int(status.Load()) })})
	eventually(t, "it stops", func() bool { return s.Stats().Webhook.Breaker == BreakerGone })
	time.pass(refusedLogInterval) // once: after a day one job would be attempted
	eventually(t, "the log reports it", func() bool { return strings.Contains(logged.String(), "410 Gone") })
	posts := 0
	eventually(t, "no attempt is under way", func() bool { // its failure would stop the channel again
		posts = 0
		for _, c := range book.noted() {
			if strings.HasPrefix(c, "post ") {
				posts++
			}
		}
		return s.Stats().Webhook.FailedAttempts == uint64(posts)
	})
	if posts > webhookWorkers {
		t.Errorf("%d posts to a receiver that wants none", posts)
	}
	status.Store(http.StatusOK)
	s.Retry()
	eventually(t, "all are posted", func() bool { return book.left(orders.QueueWebhook) == 0 })
	eventually(t, "the state shows it", func() bool {
		time.pass(countInterval)
		got := s.Stats().Webhook
		return got.Breaker == BreakerClosed && got.NextAttempt.IsZero() && got.Failing == 0 && got.Waiting == 0
	})
}
