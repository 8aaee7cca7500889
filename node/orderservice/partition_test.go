package orderservice

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"bramble/cluster/ledger"
	"bramble/cluster/ledger/ledgertest"
	"bramble/node/orders"
	"bramble/node/orders/orderstest"
)

var partitionsFor = flag.Duration("partitions", 8*time.Second, "how long TestOrdersUnderPartitions cuts links")

const partitionStock = 2 // near zero, so that overselling would show

// partitionedRack is a rack in one process: real ledgers and order books with real
// folders, over a network whose links can be cut.
type partitionedRack struct {
	net      *ledgertest.Net
	names    []string
	services []*Service
}

// newPartitionedRack starts a rack. change changes the boards' settings.
func newPartitionedRack(t *testing.T, size int, change ...func(name string, l *ledger.Config, s *Config)) *partitionedRack {
	r := &partitionedRack{net: ledgertest.New()}
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	for i := range size {
		name, dir := fmt.Sprintf("b%d", i+1), t.TempDir()
		book, err := orders.Open(filepath.Join(dir, "book"))
		if err != nil {
			t.Fatal(err)
		}
		cfg := ledger.Config{
			Name: name, Dir: filepath.Join(dir, "log"), Boards: size, StateMachine: OrderStateMachine{Book: book},
			Transport: r.net.TransportOf(name), Live: func() []string { return r.net.Boards(name) }, Timing: quick(),
		}
		settings := Config{
			Book: book, Offers: []orders.Offer{partitionBerry()}, Keys: [][]byte{[]byte("key")},
			Logger: slog.New(slog.DiscardHandler), Clock: time.Now,
		}
		for _, do := range change {
			do(name, &cfg, &settings)
		}
		l, err := ledger.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		settings.Ledger = l
		d := New(settings)
		running.Go(func() {
			defer book.Close()
			d.Run(ctx)
		})
		running.Go(func() {
			if err := l.Run(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		r.net.Join(name, l)
		r.names, r.services = append(r.names, name), append(r.services, d)
	}
	for _, d := range r.services {
		for end := time.Now().Add(time.Minute); !d.hasOffers(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the rack does not found a ledger")
			}
		}
	}
	return r
}

// quick returns DefaultTiming scaled down for boards on one idle machine.
func quick() ledger.RaftTiming {
	t := ledger.DefaultTiming()
	t.Heartbeat, t.Election, t.Lease = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	t.Commit, t.RPC, t.Call = 20*time.Millisecond, time.Second, 500*time.Millisecond
	t.Survey, t.FoundingWait, t.Retry = 100*time.Millisecond, 300*time.Millisecond, 30*time.Millisecond
	t.ReplaceAfter = 1500 * time.Millisecond
	return t
}

func partitionBerry() orders.Offer {
	o := berry()
	o.Stock, o.WaitingList, o.Webhook = partitionStock, false, false
	return o
}

// TestOrdersUnderPartitions: people order and cancel at all boards while links
// are cut in one or both directions and requests get lost. Their answers must be
// answers that one order book could have given.
func TestOrdersUnderPartitions(t *testing.T) {
	if testing.Short() {
		t.Skip("cuts links for seconds")
	}
	orderstest.RunJudged(t, ordersUnderPartitions)
}

func ordersUnderPartitions(t *testing.T) (decided bool) {
	r := newPartitionedRack(t, 5)
	h := orderstest.NewHistory(partitionStock)
	stop := make(chan struct{})
	var people sync.WaitGroup
	for client := range 2 * orderstest.People {
		people.Go(func() { r.placeAndCancel(t, h, client, stop) })
	}
	r.cutLinks(*partitionsFor)
	close(stop)
	people.Wait()
	return h.Judge(t, "partitions")
}

// placeAndCancel is one browser window of a person, until stop is closed.
func (p *partitionedRack) placeAndCancel(t *testing.T, h *orderstest.History, client int, stop <-chan struct{}) {
	a := testOrder(client%orderstest.People + 1)
	a.ID = 0
	has := orders.ID(0)
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rand.IntN(100)) * time.Millisecond):
		}
		d := p.services[rand.IntN(len(p.services))]
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		press := orderstest.Action{Person: client % orderstest.People}
		if has != 0 && rand.IntN(3) > 0 {
			press.Cancel = has.String()
			how, _ := h.Do(client, press, func() (orderstest.Reply, string) {
				return replyOf(t, d.CancelOrder(ctx, has)), ""
			})
			if how == orderstest.Done {
				has = 0
			}
		} else {
			if a.ID == 0 { // otherwise the same form again
				a.ID = orders.ID(rand.Uint64N(uint64(orders.MaxID))) + 1
			}
			press.Order = a.ID.String()
			h.Do(client, press, func() (orderstest.Reply, string) {
				answer, err := d.PlaceOrder(ctx, a)
				switch {
				case err != nil:
					return replyOf(t, err), ""
				case answer.Outcome == orders.Placed || answer.Outcome == orders.AlreadyDone:
					has, a.ID = answer.Order, 0
					return orderstest.Done, has.String()
				case answer.Outcome == orders.Differs: // of another window
					return orderstest.HasOrder, ""
				case answer.Outcome != orders.SoldOut:
					t.Errorf("the order book answers %v", answer.Outcome)
				}
				return orderstest.SoldOut, ""
			})
		}
		cancel()
	}
}

func replyOf(t *testing.T, err error) orderstest.Reply {
	switch {
	case err == nil:
		return orderstest.Done
	case errors.Is(err, orders.ErrNotCommitted):
		return orderstest.NotDone
	case !errors.Is(err, orders.ErrUncertain):
		t.Errorf("an unexpected error: %v", err)
	}
	return orderstest.Uncertain
}

// cutLinks breaks and heals the network repeatedly.
func (p *partitionedRack) cutLinks(d time.Duration) {
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		at := rand.Perm(len(p.names))
		one, two := p.names[at[0]], p.names[at[1]]
		var some, others []string
		for i, n := range at {
			if i < 2 {
				some = append(some, p.names[n])
			} else {
				others = append(others, p.names[n])
			}
		}
		switch rand.IntN(4) {
		case 0:
			p.net.Partition(some, others)
		case 1:
			p.net.Cut(one, two)
		case 2:
			for _, other := range p.names {
				if other != one {
					p.net.DropCalls(one, other, 0.4)
					p.net.DropCalls(other, one, 0.4)
				}
			}
		case 3:
			p.net.Partition([]string{p.leader()}, remove(p.names, p.leader()))
		}
		time.Sleep(time.Duration(300+rand.IntN(1200)) * time.Millisecond)
		p.net.Heal()
		time.Sleep(time.Duration(300+rand.IntN(500)) * time.Millisecond)
	}
}

// leader returns a board that believes it leads, or any.
func (p *partitionedRack) leader() string {
	for i, d := range p.services {
		if d.cfg.Ledger.Status().Leading {
			return p.names[i]
		}
	}
	return p.names[0]
}

func remove(names []string, name string) []string {
	var left []string
	for _, n := range names {
		if n != name {
			left = append(left, n)
		}
	}
	return left
}
