package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bramble/cache"
	"bramble/cluster"
	"bramble/cluster/ledger"
	"bramble/cluster/link"
	"bramble/node/backup"
	"bramble/node/console"
	"bramble/node/fulfilment"
	"bramble/node/orders"
	"bramble/node/orderservice"
	"bramble/node/shop"
)

// Subfolders of [orders] directory.
const (
	ledgerFolder = "log"  // what survives a restart
	bookFolder   = "book" // the working copy, rebuilt at every start
	viewFolder   = "view" // a second one, while an operator reads the log of a board without a leader
	// markerSuffix makes the name of a file beside the directory that notes the ledger: so
	// a board whose directory was emptied does not found another one.
	markerSuffix = ".id"
)

const (
	// ordersWait limits how long a starting board waits for the rack's ledger. Then the board
	// serves pages that say that nothing can be ordered yet. If all boards of a rack start
	// together, they have founded the ledger by then.
	ordersWait = 5 * time.Second
	// catchUpWait limits how long a starting board waits while it catches up with the ledger:
	// an original board needs a minute for 300,000 orders.
	catchUpWait = 10 * time.Minute
)

// defaultConfirm is the time in which people can confirm by mail in a sale whose product does not say, if there is mail with links.
const defaultConfirm = 30 * time.Minute

const folderMode = 0o700 // gives access to the owner only: the folder holds names and addresses

// orderStack groups everything that takes orders on a board: the ledger, the order book
// that it drives, the order service, and the sender that forwards orders. A board without the built-in
// shop, or with [orders] enabled = false, has none (nil).
type orderStack struct {
	ledger  *ledger.Ledger
	book    *orders.Book
	service *orderservice.Service
	sender  *fulfilment.Sender
	watch   *fulfilmentWatch
	backups *backup.Schedule // nil: none are configured
}

func (b *board) openOrders(catalogue *shop.Catalogue) (*orderStack, error) {
	folder := b.cfg.Orders.Directory
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return nil, fmt.Errorf("the folder for orders: %w; name a writable folder under [orders] directory, or set enabled = false", err)
	}
	s, err := b.openLedger(b.dedupLog)
	if err != nil {
		return nil, err
	}
	offers := catalogue.Offers()
	for i := range offers {
		offers[i].Webhook = b.cfg.Webhook.URL != ""
		offers[i].Mail = b.cfg.Mail.Server != ""
		offers[i].Retain = time.Duration(b.cfg.Orders.Retention)
	}
	confirm := defaultConfirm
	if b.cfg.Orders.PublicURL == "" { // no mail has a link
		confirm = 0
	}
	s.service = orderservice.New(orderservice.Config{
		Link: func(id orders.ID, token string) string {
			return strings.TrimSuffix(b.cfg.Orders.PublicURL, "/") + shop.ReceiptPath(id, token)
		},
		DefaultConfirm: confirm,
		Ledger:         s.ledger, Book: s.book, Offers: offers, Keys: rackKeys(b.cfg.Rack), Logger: b.log, Clock: time.Now,
		Amount: formatMoney, OthersAccept: b.othersAcceptOrders, LogViewDir: filepath.Join(folder, viewFolder), PurgeTag: func(tag string) { b.cache.Purge(cache.Selector{Tag: tag}) },
		Board: b.cfg.Board.Name, Version: b.Version, BackupStatus: func() []backup.TargetStatus { return s.backups.Status() },
	})
	if s.backups, err = b.newSchedule(s); err != nil {
		s.close()
		return nil, err
	}
	if s.sender, err = fulfilment.New(b.fulfilmentConfig(catalogue, s.service)); err != nil {
		s.close()
		return nil, err
	}
	s.watch = &fulfilmentWatch{b: b}
	return s, nil
}

func (b *board) openLedger(logger *slog.Logger) (*orderStack, error) {
	folder := b.cfg.Orders.Directory
	s := &orderStack{}
	var err error
	lostFiles := ""
	if b.CardHost != nil {
		lostFiles = b.CardHost.LostData()
	}
	if s.book, err = orders.Open(filepath.Join(folder, bookFolder)); err != nil {
		return nil, err
	}
	if s.ledger, err = ledger.Open(ledger.Config{
		Name: b.cfg.Board.Name, Dir: filepath.Join(folder, ledgerFolder), Boards: b.cfg.Rack.ExpectedBoards,
		StateMachine: orderservice.OrderStateMachine{Book: s.book}, Transport: ledgerLink{b.link}, Live: b.liveBoards,
		Describe: func() string { return fmt.Sprintf("at least %d orders", s.book.Count()) },
		Marker:   filepath.Clean(folder) + markerSuffix, LostFiles: lostFiles,
		Logger: logger, SlowSync: b.SlowCard, ClockState: b.clockState,
	}); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// othersAcceptOrders reports whether another board gossips that it accepts orders.
func (b *board) othersAcceptOrders() bool {
	return slices.ContainsFunc(b.members.Boards(), func(other cluster.Board) bool {
		return other.Alive && !other.Self && other.Meta.Vitals.State == cluster.Serving &&
			other.Meta.Vitals.Faults&(cluster.NoMajority|cluster.CardFailing) == 0
	})
}

// newSchedule makes the schedule of this board's backups; nil if none are configured.
func (b *board) newSchedule(s *orderStack) (*backup.Schedule, error) {
	cfg := b.cfg.Backup
	return backup.NewSchedule(backup.ScheduleConfig{
		Directory: cfg.Directory, URL: cfg.URL, User: cfg.User, Password: cfg.Password, Recipients: cfg.Recipients,
		Interval: time.Duration(cfg.Interval), Keep: cfg.Keep, Source: s.service.BackupCaughtUp,
		Ledger: func() string {
			if status := s.ledger.Status(); status.Founded {
				return status.Ledger
			}
			return ""
		},
		Leading: s.service.Leading, Now: s.service.Now, OrdersDir: b.cfg.Orders.Directory, Logger: b.log,
	})
}

// liveBoards returns the names of the boards that gossip believes to be alive.
func (b *board) liveBoards() []string {
	var names []string
	for _, other := range b.members.Boards() {
		if other.Alive {
			names = append(names, other.Name)
		}
	}
	return names
}

func (b *board) fulfilmentConfig(catalogue *shop.Catalogue, service *orderservice.Service) fulfilment.Config {
	cfg := b.cfg
	from := cfg.Mail.From
	if from == "" {
		from = catalogue.Seller.Email
	}
	base := strings.TrimSuffix(cfg.Orders.PublicURL, "/")
	return fulfilment.Config{
		Jobs:    service.Jobs(),
		Webhook: fulfilment.WebhookConfig{URL: cfg.Webhook.URL, Secret: cfg.Webhook.Secret, Timeout: time.Duration(cfg.Webhook.Timeout)},
		Mail: fulfilment.MailConfig{
			Server: cfg.Mail.Server, From: from, User: cfg.Mail.User, Password: cfg.Mail.Password,
			TLS: fulfilment.TLSMode(cfg.Mail.TLS), Timeout: time.Duration(cfg.Mail.Timeout),
		},
		Leading: service.Leading, ShopName: catalogue.Name, Title: catalogue.Title,
		ReceiptURL: func(o orders.Order, kind orders.JobKind) string {
			if base == "" {
				return ""
			}
			if kind == orders.JobMailConfirm {
				return base + shop.ConfirmPath(o.ID, service.SignConfirmation(o.ID))
			}
			return base + shop.ReceiptPath(o.ID, service.Sign(o.ID, o.Confirmed))
		},
		Amount: formatMoney, Logger: b.dedupLog,
	}
}

// formatMoney writes minor units of a currency for people.
func formatMoney(minor int64, currency string) string {
	return shop.Money{Minor: minor, Currency: currency}.String()
}

// addRoutes adds the handlers of other boards' ledger requests.
func (s *orderStack) addRoutes(mux *http.ServeMux) {
	if s == nil {
		return
	}
	mux.Handle(fulfilmentPath, s.watch)
	mux.Handle("GET "+ledgerStreamPath, link.StreamHandler(s.ledger.Accept))
	mux.HandleFunc("POST "+ledgerCallPath+"{kind}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, ledger.MaxCallBytes))
		if err != nil {
			http.Error(w, "reading the call: "+err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := s.ledger.HandleCall(r.Context(), link.PeerName(r), r.PathValue("kind"), body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Write(answer) // after an error the calling board retries
	})
}

// run runs the stack until ctx ends or the ledger fails.
func (s *orderStack) run(ctx context.Context) error {
	if s == nil {
		return nil
	}
	var background sync.WaitGroup
	defer background.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	background.Go(func() { s.service.Run(ctx) })
	background.Go(func() { s.sender.Run(ctx) })
	background.Go(func() { s.watch.run(ctx) })
	if s.backups != nil {
		background.Go(func() { s.backups.Run(ctx) })
	}
	err := s.ledger.Run(ctx)
	if errors.Is(err, ledger.ErrRestart) {
		return ErrReopen
	}
	return err
}

// status returns the state of the ledger; the zero value without orders.
func (s *orderStack) status() ledger.Status {
	if s == nil {
		return ledger.Status{}
	}
	return s.ledger.Status()
}

// acceptsOrders reports whether this board accepts orders, has no shop to accept any for, or
// will accept them as soon as it has caught up: the ledger has its majority then.
func (s *orderStack) acceptsOrders() bool {
	return s == nil || s.service.AcceptsOrders() || s.status().CatchingUp
}

// isReady reports whether this board's pages can show what can be ordered.
func (s *orderStack) isReady() bool { return s == nil || s.service.Ready() }

// notices returns what an operator must know about the ledger, a sentence each.
func (s *orderStack) notices(board string) []string {
	if s == nil {
		return nil
	}
	notices := s.service.Notices(board)
	if state := s.watch.last.Load(); state != nil {
		notices = append(notices, state.Notices(time.Now())...)
	}
	return append(notices, s.backups.Notices(board)...)
}

func (s *orderStack) close() {
	if s == nil {
		return
	}
	if s.ledger != nil {
		s.ledger.Close() // an error means that Run has already closed the files
	}
	if s.book != nil {
		s.book.Close()
	}
}

const (
	// fulfilmentPath is on the rack link: GET returns a board's state of fulfilment, POST
	// first makes it attempt every waiting job.
	fulfilmentPath = "/v1/fulfilment"
	// watchInterval is the interval at which a board asks the one that delivers for its
	// state, for the notices. The exchange costs some hundred bytes.
	watchInterval      = 10 * time.Second
	watchTimeout       = 3 * time.Second // of one such request
	maxFulfilmentBytes = 64 << 10        // of the reply, whose lists are bounded too
)

// fulfilmentWatch knows the state of fulfilment in the rack, which only the board that
// delivers has: the leader of the ledger.
type fulfilmentWatch struct {
	b    *board
	last atomic.Pointer[orderservice.FulfilmentJSON] // for the notices; nil before the first
}

func (f *fulfilmentWatch) run(ctx context.Context) {
	repeatEvery(ctx, watchInterval, func() {
		state, err := f.callDeliverer(ctx, http.MethodGet)
		if err != nil {
			state = f.readHere("")
		}
		f.last.Store(&state)
	})
}

// readHere returns this board's own figures. deliverer is this board's name if it delivers.
func (f *fulfilmentWatch) readHere(deliverer string) orderservice.FulfilmentJSON {
	return orderservice.FulfilmentJSON{Board: deliverer, Stats: f.b.orders.sender.Stats(), Unposted: f.b.orders.service.Unposted()}
}

// callDeliverer returns the state of the board that delivers. With POST that board first
// attempts every waiting job.
func (f *fulfilmentWatch) callDeliverer(ctx context.Context, method string) (orderservice.FulfilmentJSON, error) {
	var state orderservice.FulfilmentJSON
	leader := f.b.orders.ledger.Status().Leader
	switch leader {
	case "":
		return state, fmt.Errorf("no board delivers now, because the ledger has no leader; \"bramble status\" shows which boards are missing")
	case f.b.cfg.Board.Name:
		if method == http.MethodPost {
			f.b.orders.sender.Retry()
		}
		return f.readHere(leader), nil
	}
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	resp, err := f.b.requestBoard(ctx, leader, method, fulfilmentPath)
	if err != nil {
		return state, fmt.Errorf("%s, which delivers, does not answer: %w", leader, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return state, fmt.Errorf("%s, which delivers, answers with status %d", leader, resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxFulfilmentBytes)).Decode(&state); err != nil {
		return state, fmt.Errorf("the state of fulfilment from %s: %w", leader, err)
	}
	return state, nil
}

// ServeHTTP answers another board with this board's state.
func (f *fulfilmentWatch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		f.b.orders.sender.Retry()
	}
	writeFulfilment(w, http.StatusOK, f.readHere(f.b.cfg.Board.Name))
}

// serveOperator answers an operator with the state of the board that delivers.
func (f *fulfilmentWatch) serveOperator(w http.ResponseWriter, r *http.Request) {
	state, err := f.callDeliverer(r.Context(), r.Method)
	if err != nil && r.Method == http.MethodPost {
		writeFulfilment(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
		return
	}
	if err != nil {
		state = f.readHere("")
	}
	writeFulfilment(w, http.StatusOK, state)
}

func writeFulfilment(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client has left
}

// operatorAPI returns the operators' API; nil if the board takes no orders.
func (b *board) operatorAPI() http.Handler {
	if b.orders == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+console.ShopPath+"fulfilment", b.orders.watch.serveOperator)
	mux.HandleFunc("POST "+console.ShopPath+"fulfilment", b.orders.watch.serveOperator)
	service := b.orders.service.Handler(console.ShopPath)
	mux.HandleFunc(console.ShopPath, func(w http.ResponseWriter, r *http.Request) {
		service.ServeHTTP(w, r.WithContext(orderservice.WithOperator(r.Context(), console.AccountOf(r.Context()))))
	})
	return mux
}
