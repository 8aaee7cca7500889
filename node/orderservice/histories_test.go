package orderservice

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/node/orders"
	"bramble/node/orders/orderstest"
)

var (
	historyCount = flag.Uint64("histories", 2, "how many histories TestHistoriesWithLosses records")
	historySeed  = flag.Uint64("history-seed", 0, "seed of the first of these histories; 0: another one in each run")
	historyDecks = flag.Int("history-decks", 1, "how often each of these histories has every kind of fault")
)

const (
	historyStock    = 3 // near zero at the start, and never far from it
	historyMaxStock = 4
	// historyPatience limits one action. Longer would leave fewer results uncertain, and
	// buyers who wait at a board that is cut off.
	historyPatience = 1200 * time.Millisecond
)

// TestHistoriesWithLosses: people order, cancel, and read receipts and the sale at all boards while an
// operator changes the stock, and boards are killed, paused, cut off, wiped, renamed,
// replaced and upgraded, with clocks that step. Their answers must be answers that one order book
// could have given, and at the end every board has every acknowledged order once.
//
// The seed decides the faults and the boards; the moments depend on the machine. A long run:
//
//	nice -n 19 go test ./node/orderservice -run HistoriesWithLosses -histories 40 -timeout 2h
func TestHistoriesWithLosses(t *testing.T) {
	if testing.Short() {
		t.Skip("it breaks boards for many seconds")
	}
	seed := *historySeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano() % 1_000_000)
	}
	for n := range *historyCount {
		size := 3 + 2*int((seed+n)%2)
		t.Run(fmt.Sprintf("%d boards, seed %d", size, seed+n), func(t *testing.T) {
			t.Parallel()
			orderstest.RunJudged(t, func(t *testing.T) bool { return recordHistory(t, size, seed+n) })
		})
	}
}

// recordHistory records and judges one history.
func recordHistory(t *testing.T, size int, seed uint64) (decided bool) {
	r := newHistoryRack(t, size, seed)
	c := newCrowd(r)
	for client := range 2 * orderstest.People {
		c.all.Go(func() { c.runPerson(client) })
	}
	c.all.Go(func() { c.runOperator(2 * orderstest.People) })
	r.runFaults(*historyDecks)
	close(c.stop)
	c.all.Wait()
	r.awaitRules(orders.MaxRules)
	r.restartAll() // what is acknowledged is on the disks, and nothing is in flight any more
	r.expectOneBook(c)
	return c.judge(r)
}

// TestHistoriesFindAnOldRead checks that a history shows a read without a barrier at a board that is cut off.
func TestHistoriesFindAnOldRead(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts boards and cuts one off for seconds")
	}
	r := newHistoryRack(t, 3, 1)
	c := newCrowd(r)
	picture := filepath.Join(t.TempDir(), "history.html")
	var leader *historyBoard
	r.until("a board leads", func() bool { leader = r.leaderBoard(); return leader != nil })
	away := r.boards[(slices.Index(r.boards, leader)+1)%len(r.boards)]
	r.net.Partition([]string{away.name}, r.namesWithout(away))
	placed := c.placeOrder(0, 0, leader.current(), new(orders.ID))
	if placed == 0 {
		t.Fatal("a majority places no order")
	}
	b := away.current()
	c.readReceipt(1, 0, b, placed)
	c.readSale(1, b)
	if ok, _ := c.history.Check(time.Minute, picture); !ok || c.reads != 0 {
		t.Errorf("a board that is cut off shows something with certainty (%d times), or something wrong (%t)", c.reads, !ok)
	}
	c.history.Do(1, orderstest.Action{Sale: true}, func() (orderstest.Reply, string) {
		sale, _ := b.service.Sale(berry().Product)
		return orderstest.Done, orderstest.SaleText(int(sale.Sold), int(sale.Stock))
	})
	if ok, _ := c.history.Check(time.Minute, picture); ok {
		t.Error("an old read is not found")
	}
}

// crowd is the people of a history, and what they were told.
type crowd struct {
	t       *testing.T
	rack    *historyRack
	history *orderstest.History
	stop    chan struct{}
	all     sync.WaitGroup

	mu           sync.Mutex // guards the rest
	pressed      map[orders.ID]int
	acknowledged map[orders.ID]int
	cancels      map[orders.ID]bool // that were tried; true: acknowledged
	reads        int
}

func newCrowd(r *historyRack) *crowd {
	return &crowd{t: r.t, rack: r, history: orderstest.NewHistory(historyStock), stop: make(chan struct{}),
		acknowledged: map[orders.ID]int{}, pressed: map[orders.ID]int{}, cancels: map[orders.ID]bool{}}
}

// note changes what people were told.
func (c *crowd) note(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// replyTo returns the reply that an error means.
func (c *crowd) replyTo(err error) orderstest.Reply {
	switch {
	case err == nil:
		return orderstest.Done
	case errors.Is(err, orders.ErrUncertain):
		return orderstest.Uncertain
	case !errors.Is(err, orders.ErrNotCommitted) && !errors.Is(err, orders.ErrUnavailable):
		c.t.Errorf("an unexpected error: %v", err)
		return orderstest.Uncertain
	}
	return orderstest.NotDone
}

// await waits for at most d, and reports whether the history goes on.
func (c *crowd) await(d time.Duration) bool {
	select {
	case <-c.stop:
		return false
	case <-time.After(rand.N(d)):
		return true
	}
}

// runPerson is one browser window of a person, until stop is closed.
func (c *crowd) runPerson(client int) {
	person := client % orderstest.People
	var last, form orders.ID // the order of the newest receipt; 0: none
	has := false             // it is not cancelled, as far as this window knows
	for c.await(200 * time.Millisecond) {
		b := c.rack.anyRunning()
		if b == nil {
			continue
		}
		switch what := rand.IntN(6); {
		case what == 0:
			c.readSale(client, b)
		case what <= 2 && last != 0:
			c.readReceipt(client, person, b, last)
		case what <= 4 && has:
			if c.cancelOrder(client, person, b, last) {
				has = false
			}
		default:
			if id := c.placeOrder(client, person, b, &form); id != 0 {
				last, has = id, true
			}
		}
	}
}

// placeOrder places a person's order and returns it, 0 if none was acknowledged.
//
// form is the reference of the form, which stays until the order is acknowledged.
func (c *crowd) placeOrder(client, person int, b *startedBoard, form *orders.ID) (placed orders.ID) {
	if *form == 0 {
		*form = orders.ID(rand.Uint64N(uint64(orders.MaxID))) + 1
	}
	o := testOrder(person + 1)
	o.ID = *form
	c.history.Do(client, orderstest.Action{Person: person, Order: o.ID.String()}, func() (orderstest.Reply, string) {
		ctx, cancel := c.rack.limit(historyPatience)
		defer cancel()
		c.note(func() { c.pressed[o.ID] = person })
		answer, err := b.service.PlaceOrder(ctx, o)
		switch {
		case err != nil:
			return c.replyTo(err), o.ID.String()
		case answer.Outcome == orders.Placed || answer.Outcome == orders.AlreadyDone:
			placed, *form = answer.Order, 0
			c.note(func() { c.acknowledged[placed] = person })
			return orderstest.Done, placed.String()
		case answer.Outcome == orders.Differs: // of the other window, under rules 3
			return orderstest.HasOrder, ""
		case answer.Outcome != orders.SoldOut:
			c.t.Errorf("person %d at %s: the order book answers %v", person, b.name, answer.Outcome)
		}
		return orderstest.SoldOut, ""
	})
	return placed
}

func (c *crowd) cancelOrder(client, person int, b *startedBoard, id orders.ID) (cancelled bool) {
	c.history.Do(client, orderstest.Action{Person: person, Cancel: id.String()}, func() (orderstest.Reply, string) {
		ctx, cancel := c.rack.limit(historyPatience)
		defer cancel()
		c.note(func() {
			if _, tried := c.cancels[id]; !tried {
				c.cancels[id] = false
			}
		})
		reply := c.replyTo(b.service.CancelOrder(ctx, id))
		if cancelled = reply == orderstest.Done; cancelled {
			c.note(func() { c.cancels[id] = true })
		}
		return reply, id.String()
	})
	return cancelled
}

func (c *crowd) readReceipt(client, person int, b *startedBoard, id orders.ID) {
	c.history.Do(client, orderstest.Action{Person: person, Read: id.String()}, func() (orderstest.Reply, string) {
		ctx, cancel := c.rack.limit(historyPatience)
		defer cancel()
		o, _, err := b.service.Order(ctx, id)
		text := orderstest.ReceiptOpen
		switch {
		case errors.Is(err, orders.ErrUncertain), errors.Is(err, orders.ErrStale), errors.Is(err, orders.ErrClosed):
			return orderstest.NotDone, ""
		case errors.Is(err, orders.ErrNoOrder):
			text = orderstest.ReceiptMissing
		case err != nil:
			c.t.Errorf("%s reads %v: %v", b.name, id, err)
			return orderstest.NotDone, ""
		case o.State == orders.StateCancelled:
			text = orderstest.ReceiptCancelled
		}
		c.note(func() { c.reads++ })
		return orderstest.Done, text
	})
}

// readSale reads the sale's numbers. Whatever the clocks show, the sale is open.
func (c *crowd) readSale(client int, b *startedBoard) {
	c.history.Do(client, orderstest.Action{Sale: true}, func() (orderstest.Reply, string) {
		ctx, cancel := c.rack.limit(historyPatience)
		defer cancel()
		if b.service.awaitBarrier(ctx) != nil {
			return orderstest.NotDone, ""
		}
		sale, known := b.service.Sale(berry().Product)
		if !known {
			c.t.Errorf("%s does not know the sale", b.name)
			return orderstest.NotDone, ""
		}
		if sale.State != orders.SaleInStock && sale.State != orders.SaleSoldOut {
			c.t.Errorf("at %s the sale is %v", b.name, sale.State)
		}
		if sale.Sold+sale.Held+sale.Free != sale.Stock || sale.Free < 0 {
			c.t.Errorf("at %s sold %d, held %d, free %d of %d", b.name, sale.Sold, sale.Held, sale.Free, sale.Stock)
		}
		c.note(func() { c.reads++ })
		return orderstest.Done, orderstest.SaleText(int(sale.Sold), int(sale.Stock))
	})
}

// runOperator adds a unit to the stock, or takes one away, until stop is closed.
func (c *crowd) runOperator(client int) {
	stock := historyStock // as far as the operator knows
	for c.await(600 * time.Millisecond) {
		delta := 1
		if stock >= historyMaxStock || stock > 1 && rand.IntN(2) == 0 {
			delta = -1
		}
		b := c.rack.anyRunning()
		if b == nil {
			continue
		}
		how, _ := c.history.Do(client, orderstest.Action{Stock: delta}, func() (orderstest.Reply, string) {
			ctx, cancel := c.rack.limit(historyPatience)
			defer cancel()
			answer, err := b.service.submitUntilDecided(ctx, orders.Stock{
				Operation: orders.Operation{Operator: "operator", OpID: NewOpID()}, Product: berry().Product, Delta: int64(delta)})
			switch {
			case err != nil:
				return c.replyTo(err), ""
			case answer.Outcome == orders.NotEnough:
				return orderstest.SoldOut, ""
			case answer.Outcome != orders.Done && answer.Outcome != orders.AlreadyDone:
				c.t.Errorf("the stock at %s: %v", b.name, answer.Outcome)
			}
			return orderstest.Done, ""
		})
		if how == orderstest.Done {
			stock += delta
		}
	}
}

// judge judges the history, with what the book at the end tells of uncertain actions.
func (c *crowd) judge(r *historyRack) (decided bool) {
	book := r.boards[0].current().book
	c.history.Resolve(func(p orderstest.Action, reference string) orderstest.Reply {
		id, err := orders.ParseID(reference)
		if p.Stock != 0 || err != nil {
			return orderstest.Uncertain
		}
		o, err := book.Order(id)
		switch {
		case p.Cancel == "" && err == nil:
			return orderstest.Done
		case p.Cancel == "" || o.State != orders.StateCancelled:
			return orderstest.NotDone
		}
		return orderstest.Uncertain
	})
	c.t.Logf("%d orders acknowledged, %d reads", len(c.acknowledged), c.reads)
	if c.reads == 0 {
		c.t.Error("nothing was read")
	}
	return c.history.Judge(c.t, "losses")
}

// expectOneBook checks that all boards have the same book, and that it has what people were told.
func (r *historyRack) expectOneBook(c *crowd) {
	r.t.Helper()
	first := r.boards[0].current().book
	list := listOrders(r.t, first)
	open := map[int]orders.ID{}
	found := map[orders.ID]orders.Order{}
	for _, o := range list {
		person, pressed := c.pressed[o.ID]
		if _, twice := found[o.ID]; twice || !pressed {
			r.t.Errorf("order %v is there twice: %t; somebody pressed: %t", o.ID, twice, pressed)
		}
		found[o.ID] = o
		if o.State != orders.StateOpen {
			if _, tried := c.cancels[o.ID]; !tried || o.State != orders.StateCancelled {
				r.t.Errorf("order %v is %v, and nobody cancelled it", o.ID, o.State)
			}
			continue
		}
		if other, has := open[person]; has {
			r.t.Errorf("person %d has %v and %v", person, other, o.ID)
		}
		open[person] = o.ID
	}
	for id := range c.acknowledged {
		if _, exists := found[id]; !exists {
			r.t.Errorf("order %v was acknowledged, and is lost", id)
		}
	}
	for id, acknowledged := range c.cancels {
		if acknowledged && found[id].State != orders.StateCancelled {
			r.t.Errorf("order %v was cancelled, and is %v", id, found[id].State)
		}
	}
	for _, b := range r.boards {
		book := b.current().book
		sale, _ := book.Sale(berry().Product)
		if sale.Sold+sale.Held+sale.Free != sale.Stock || sale.Free < 0 || sale.Sold != int64(len(open)) {
			r.t.Errorf("%s: sold %d, held %d, free %d of %d, with %d orders", b.name, sale.Sold, sale.Held, sale.Free, sale.Stock, len(open))
		}
		if book.Digest() != first.Digest() || !slices.Equal(listOrders(r.t, book), list) {
			r.t.Errorf("%s and %s have different books", b.name, r.boards[0].name)
		}
		if err := recountBook(r.t, book); err != nil {
			r.t.Errorf("%s: %v", b.name, err)
		}
		if now, known := b.current().ledger.Now(); !known || time.Until(now).Abs() > time.Minute {
			r.t.Errorf("%s: the ledger's clock is off by %v", b.name, time.Until(now))
		}
	}
}

// listOrders returns all orders of a book.
func listOrders(t *testing.T, book *orders.Book) (all []orders.Order) {
	t.Helper()
	for after := uint64(0); ; {
		page, next, err := book.Orders(orders.Filter{}, after, orders.MaxPage)
		if err != nil {
			t.Error(strings.TrimSpace(err.Error()))
		}
		if all = append(all, page...); next == 0 {
			return all
		}
		after = next
	}
}
