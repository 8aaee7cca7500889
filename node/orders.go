package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bramble/cluster/ledger"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/fulfilment"
	"bramble/node/orders"
	"bramble/node/orderservice"
	"bramble/node/shop"
)

// Folders inside that of the orders.
const (
	ledgerFolder = "log"  // what survives
	bookFolder   = "book" // the working copy, made anew at every start
)

// ordersWait is how long a board that starts waits for the rack's ledger before
// it serves pages that say that nothing can be ordered yet: a rack that starts
// whole has founded one by then.
const ordersWait = 5 * time.Second

// folderMode: names and addresses are in there.
const folderMode = 0o700

// counter is the second journey: the order book with the ledger under it, the
// desk that papers are taken to, and what sends word of them. Without the
// built-in shop, or with [orders] enabled = false, a board has none.
type counter struct {
	ledger *ledger.Ledger
	book   *orders.Book
	desk   *orderservice.Service
	sender *fulfilment.Sender
	tell   *tidings
	// planned is how many boards the configuration says there will be.
	planned int
}

// openCounter opens the order book in its folder.
func (b *board) openCounter(catalogue *shop.Catalogue, quiet *slog.Logger) (*counter, error) {
	folder := b.cfg.Orders.Directory
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return nil, fmt.Errorf("the folder for orders: %w; name one that can be written under [orders] directory, or set enabled = false", err)
	}
	c, err := b.openBook(quiet)
	if err != nil {
		return nil, err
	}
	offers := catalogue.Offers()
	for i := range offers {
		offers[i].Webhook = b.cfg.Webhook.URL != ""
		offers[i].Mail = b.cfg.Mail.Server != ""
		offers[i].Retain = time.Duration(b.cfg.Orders.Retention)
	}
	c.desk = orderservice.New(orderservice.Config{
		Ledger: c.ledger, Book: c.book, Offers: offers, Keys: rackKeys(b.cfg.Rack), Logger: b.log, Clock: time.Now,
	})
	c.tell = newTidings(c.desk, b.cache)
	if c.sender, err = newSender(b.cfg, catalogue, c.desk, quiet); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// openBook opens the order book and its ledger.
func (b *board) openBook(quiet *slog.Logger) (*counter, error) {
	folder := b.cfg.Orders.Directory
	c := &counter{planned: b.cfg.Rack.ExpectedBoards}
	var err error
	if c.book, err = orders.Open(filepath.Join(folder, bookFolder), orders.Options{}); err != nil {
		return nil, err
	}
	if c.ledger, err = ledger.Open(ledger.Config{
		Name: b.cfg.Board.Name, Dir: filepath.Join(folder, ledgerFolder), Boards: b.cfg.Rack.ExpectedBoards,
		StateMachine: patient{c.book}, Transport: ledgerLink{b.link}, Live: b.liveBoards, Logger: quiet, SlowSync: b.slowCard,
	}); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// patient is the order book as the ledger's machine. Where its working copy cannot be
// written, as on a full card, the ledger waits until it can be.
type patient struct{ *orders.Book }

func (p patient) Apply(index uint64, at time.Time, commands [][]byte) ([][]byte, error) {
	replies, err := p.Book.Apply(index, at, commands)
	if errors.Is(err, orders.ErrDisk) {
		err = fmt.Errorf("%w: %w", ledger.ErrRetryLater, err)
	}
	return replies, err
}

// liveBoards names the boards that gossip believes to be alive.
func (b *board) liveBoards() []string {
	var names []string
	for _, o := range b.members.Boards() {
		if o.Alive {
			names = append(names, o.Name)
		}
	}
	return names
}

// newSender makes what tells the fulfiller and the buyers, nil if nobody is told.
func newSender(cfg *config.Config, catalogue *shop.Catalogue, d *orderservice.Service, log *slog.Logger) (*fulfilment.Sender, error) {
	if cfg.Webhook.URL == "" && cfg.Mail.Server == "" {
		return nil, nil
	}
	from := cfg.Mail.From
	if from == "" {
		from = catalogue.Seller.Email
	}
	base := strings.TrimSuffix(cfg.Orders.PublicURL, "/")
	return fulfilment.New(fulfilment.Config{
		Book:    d.Outbox(),
		Webhook: fulfilment.WebhookConfig{URL: cfg.Webhook.URL, Secret: cfg.Webhook.Secret, Timeout: time.Duration(cfg.Webhook.Timeout)},
		Mail: fulfilment.MailConfig{
			Server: cfg.Mail.Server, From: from, User: cfg.Mail.User, Password: cfg.Mail.Password,
			TLS: fulfilment.TLSMode(cfg.Mail.TLS), Timeout: time.Duration(cfg.Mail.Timeout),
		},
		Leading:  d.Leading,
		ShopName: catalogue.Name,
		ReceiptURL: func(p orders.Order) string {
			if base == "" {
				return ""
			}
			return base + shop.ReceiptPath(p.ID, d.Sign(p.ID))
		},
		Title: catalogue.Title,
		Amount: func(minor int64, currency string) string {
			return shop.Money{Minor: minor, Currency: currency}.String()
		},
		Logger: log,
	})
}

// routes adds what other boards ask.
func (c *counter) routes(mux *http.ServeMux) {
	if c != nil {
		ledgerRoutes(mux, c.ledger)
	}
}

// handler answers operators, nil without orders.
func (c *counter) handler() http.Handler {
	if c == nil {
		return nil
	}
	return c.desk.Handler(console.ShopPath)
}

// run keeps the second journey going until ctx ends.
func (c *counter) run(ctx context.Context) error {
	if c == nil {
		return nil
	}
	var behind sync.WaitGroup
	defer behind.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	behind.Go(func() { c.desk.Run(ctx) })
	behind.Go(func() { c.tell.run(ctx) })
	if c.sender != nil {
		behind.Go(func() { c.sender.Run(ctx) })
	}
	return c.ledger.Run(ctx)
}

// open reports whether orders are taken here, or are not meant to be.
func (c *counter) open() bool {
	if c == nil {
		return true
	}
	s := c.ledger.Status()
	return s.Founded && s.Leader != "" && s.Halted == "" && s.Foreign == ""
}

// ready reports whether this board's pages can say what can be ordered: a page
// that a moment later is another makes people press F5.
func (c *counter) ready() bool { return c == nil || c.open() && c.desk.Offered() }

// notices are what a person must know of the ledger, one sentence each.
func (c *counter) notices(board string) []string {
	if c == nil {
		return nil
	}
	var all []string
	s := c.ledger.Status()
	add := func(what, why string) {
		if why != "" {
			all = append(all, what+why)
		}
	}
	switch {
	case !s.Founded:
		all = append(all, fmt.Sprintf("No orders are taken yet: the ledger waits for %d more of the %d boards that [rack] expected_boards plans. Switch them on, or write there how many there are.", s.MissingBoards, c.planned))
	case s.Leader == "":
		all = append(all, "No orders are taken just now: the ledger has no majority of its voters.")
	}
	if s.HaltPassing {
		add("The ledger of "+board+" waits, and goes on by itself when this has passed: ", s.Halted)
	} else {
		add("The ledger of "+board+" has halted, and a person has to look: ", s.Halted)
	}
	add("The rack has two ledgers, and takes no orders until one is removed: ", s.Foreign)
	add("Files of the ledger of "+board+" were damaged and set aside: ", s.Damaged)
	return all
}

func (c *counter) close() {
	if c == nil {
		return
	}
	if c.ledger != nil {
		c.ledger.Close() // an error says that Run has given the files back
	}
	if c.book != nil {
		c.book.Close()
	}
}
