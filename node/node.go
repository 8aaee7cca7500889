package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"bramble/cache"
	"bramble/cluster"
	"bramble/cluster/ledger"
	"bramble/cluster/link"
	"bramble/cluster/logdedup"
	"bramble/cluster/purge"
	"bramble/node/backup"
	"bramble/node/certs"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/front"
	"bramble/node/front/admission"
	"bramble/node/fulfilment"
	"bramble/node/host"
	"bramble/node/orderservice"
	"bramble/node/origin"
	"bramble/node/rackcache"
	"bramble/node/shop"
	"bramble/node/sockets"
)

// Options are a board's parameters besides its configuration.
type Options struct {
	Logger     *slog.Logger
	Version    string
	ConfigFile string        // of the settings, "" for none
	SlowCard   time.Duration // delay of every sync of the ledger, to simulate an SD card on a faster disk
	// Sockets opens the listeners that a successor process inherits: pages and
	// console. nil: no process inherits them.
	Sockets  *sockets.ListenerSet
	Shared   bool         // other boards run on this machine, whose load is then not this board's
	CardHost CardHost     // machine if the board has it to itself; nil otherwise
	Secrets  http.Handler // answers console.SecretsPath; nil: nothing does
}

// board is one running board. Its fields are grouped by owner: setup, publicParts and
// rackParts are below; panelState, lifecycle and selfHealth in panel.go, lifecycle.go and
// heartbeat.go.
type board struct {
	setup
	publicParts
	rackParts
	orders       *orderStack // the order book and its ledger; nil: this board takes no orders
	console      net.Listener
	consoleCerts *certs.ConsoleCerts
	failures     chan string          // clients that sent the console a wrong password
	events       *console.Broadcaster // for the console
	panel        panelState           // panel.go
	lifecycle
	selfHealth
}

// setup holds the board's parameters. They do not change.
type setup struct {
	Options
	cfg      *config.Config
	log      *slog.Logger
	dedupLog *slog.Logger // log, without repeated messages
}

// publicParts serve clients: the listener, the page cache behind it and the
// origins behind that. They are made by open.
type publicParts struct {
	front     *front.Front
	certs     *certs.Manager // nil: no https
	rackCache *rackcache.PageHandler
	cache     *cache.Cache // rackCache's memory
	sites     *origin.Sites
	forms     *admission.FormLimits

	formsRefused atomic.Int64
}

// rackParts connect the board to its rack. They are made by openRack.
type rackParts struct {
	link    *link.Link
	members *cluster.Members
	mdns    *cluster.MDNS // nil: off
	purger  *purge.Syncer
}

// Run runs one board from start to end. It returns nil after ctx has ended and
// every reply under way has been sent; ErrHalt, ErrTrial, ErrReopen or ErrSpaceFreed if the
// caller must do something then; or an error if the board cannot run.
func Run(ctx context.Context, cfg *config.Config, opts Options) error {
	b := &board{
		setup:     setup{opts, cfg, opts.Logger, slog.New(logdedup.NewHandler(opts.Logger.Handler(), 0, nil))},
		events:    new(console.Broadcaster),
		failures:  make(chan string, maxFailures),
		lifecycle: lifecycle{ended: make(chan error, 1)},
	}
	if b.Sockets == nil {
		b.Sockets = new(sockets.ListenerSet)
		b.Sockets.Release() // no successor process
		defer b.Sockets.Close()
	}
	defer b.close()
	if err := b.open(ctx); err != nil {
		return err
	}
	return b.run(ctx)
}

// open makes every part and every listener. Nothing is answered yet.
func (b *board) open(ctx context.Context) error {
	budget, warning := host.LimitMemory(int64(b.cfg.Cache.Memory))
	if warning != "" {
		b.log.Warn(warning)
	}
	exposed, _ := b.cfg.FindExposed(b.ConfigFile) // the command line has refused a key
	for _, text := range exposed {
		b.log.Error("secrets are not secret", "error", text)
	}
	if text := oldKeysNotice(b.cfg.Rack); text != "" {
		b.log.Warn("old rack keys are accepted", "why", text)
	}
	via := "bramble-" + cluster.RackTag(b.cfg.Rack.Key.Bytes())
	var err error
	if b.rackCache, err = b.newRackCache(budget, via); err != nil {
		return err
	}
	b.cache = b.rackCache.Cache()
	b.forms = admission.NewFormLimits(admission.FormRates{Client: b.cfg.HTTP.ClientFormRate, Network: b.cfg.HTTP.NetworkFormRate})
	if b.certs, err = b.newCerts(); err != nil {
		return err
	}
	if b.front, err = b.newFront(budget); err != nil {
		return err
	}
	if b.certs != nil {
		b.certs.RenewTicketKeys()
	}
	if b.consoleCerts, err = b.newConsoleCerts(); err != nil {
		return err
	}
	if b.console, err = b.Sockets.Listen("console", b.cfg.Console.Listen); err != nil {
		return fmt.Errorf("console: %w", addListenRemedy(err, "[console] listen"))
	}
	if err := b.openRack(ctx); err != nil {
		return err
	}
	shopHandler, err := b.openSites(via)
	if err != nil {
		return err
	}
	b.rackCache.Connect(rackcache.Backends{
		Ring: func() rackcache.OwnerRing { return b.members.Ring() },
		Link: b.link, Purges: b.purger, Sites: b.sites, Shop: shopHandler,
	})
	b.openPanel(b.log)
	b.sampler = b.newSampler()
	return nil
}

// newRackCache makes the page cache of this board with a budget in bytes.
func (b *board) newRackCache(budget int64, via string) (*rackcache.PageHandler, error) {
	cfg := b.cfg.Cache
	staleOnError := time.Duration(cfg.StaleIfError)
	if staleOnError == 0 {
		staleOnError = -1 // off; 0 would select the cache's default
	}
	return rackcache.New(rackcache.Config{
		Self: b.cfg.Board.Name,
		Cache: cache.Config{
			Budget: budget, MaxObject: min(int64(cfg.MaxObject), budget/16), // the largest that a cache can have
			Via: via, NoCacheStatus: !cfg.CacheStatusHeader, ClientDirectives: cfg.ClientCacheControl, KeepSetCookie: cfg.StoreSetCookie,
			SharesFetches: len(b.cfg.Sites) > 0, StaleOnError: staleOnError, MaxVariants: cfg.MaxVariants, Compress: cfg.Compress,
			Logger: b.dedupLog, ClockTrusted: b.clockIsSet,
		},
		Logger: b.dedupLog,
	})
}

func (b *board) newFront(budget int64) (*front.Front, error) {
	handler, fastPath := b.publicHandler()
	maxConnections, warning := host.LimitConnections(b.cfg.HTTP.MaxConnections)
	if warning != "" {
		b.log.Warn(warning)
	}
	maxRequests := b.cfg.HTTP.MaxRequests
	if maxRequests <= 0 {
		maxRequests = host.LimitRequests(budget)
	}
	var siteOf func(host string) string
	if len(b.cfg.Sites) > 0 {
		siteOf = func(host string) string { return b.sites.SiteOf(host) } // sites are there when the front serves
	}
	return front.New(front.Config{
		Listen: b.cfg.HTTP.Listen, Handler: handler, FastHandler: fastPath, TLS: b.frontTLS(), Logger: b.log,
		HeaderTimeout: time.Duration(b.cfg.HTTP.HeaderTimeout), IdleTimeout: time.Duration(b.cfg.HTTP.IdleTimeout),
		WriteTimeout: time.Duration(b.cfg.HTTP.WriteTimeout), DrainTimeout: time.Duration(b.cfg.HTTP.DrainTimeout),
		MaxConnections: maxConnections, NewConnections: b.cfg.HTTP.AcceptRate,
		ClientRequests: b.cfg.HTTP.ClientRequestRate, NetworkRequests: b.cfg.HTTP.NetworkRequestRate,
		ClientConnections: b.cfg.HTTP.ClientConnectionRate, NetworkConnections: b.cfg.HTTP.NetworkConnectionRate,
		Open: func(address string) (net.Listener, error) {
			l, err := b.Sockets.Listen("pages", address)
			return l, addListenRemedy(err, "[http] listen")
		},
		HasSuccessor: b.Sockets.PassesOn,
		MaxRequests:  maxRequests, SiteOf: siteOf,
		BodyTimeout: time.Duration(b.cfg.HTTP.BodyTimeout), BodyRate: int(b.cfg.HTTP.MinBodyRate),
		Pressure: b.overload,
	})
}

// overload returns how much this board's load disturbs the rack's own traffic; the front
// sheds load by it.
func (b *board) overload() float64 {
	return host.Overload(b.members.HealthScore(), float64(b.members.Self().Meta.Vitals.Load))
}

func (b *board) openRack(ctx context.Context) error {
	keys := rackKeys(b.cfg.Rack)
	peerTimeout := time.Duration(b.cfg.Rack.PeerTimeout)
	var err error
	if b.link, err = link.New(link.Config{
		Name: b.cfg.Board.Name, Keys: keys, Listen: b.cfg.Rack.LinkListen, PeerTimeout: peerTimeout, Logger: b.dedupLog,
	}); err != nil {
		return addListenRemedy(err, "[rack] link_listen")
	}
	var discover func(context.Context) []string
	if b.cfg.Rack.MDNS {
		b.mdns = cluster.Announce(ctx, b.cfg.Board.Name, RackTags(b.cfg.Rack), portOf(b.cfg.Rack.GossipListen), b.log)
		discover = b.mdns.Discover
	}
	// Gossip outlives ctx, so that the board can still say goodbye.
	b.members, err = cluster.Start(context.WithoutCancel(ctx), cluster.MembersConfig{
		Name: b.cfg.Board.Name, Bind: b.cfg.Rack.GossipListen, Advertise: b.cfg.Rack.Advertise, Keys: keys,
		Join: b.cfg.Rack.Join, Discover: discover, Forget: time.Duration(b.cfg.Rack.ForgetAfter),
		Meta: b.buildMeta(cluster.Vitals{State: cluster.Starting}, ""), Logger: b.log,
	})
	if err != nil {
		return addListenRemedy(err, "[rack] gossip_listen")
	}
	timing := purge.DefaultTiming()
	timing.ExchangeTimeout = peerTimeout / 2
	peers := roster{members: b.members, join: countOtherAddrs(b.cfg.Rack, b.selfAddr()), reachedPeer: b.reachedPeer.Load}
	purges := purge.NewLog(rackcache.PurgeApplier{Pages: b.rackCache, Applied: b.purgeApplied})
	b.purger = purge.NewSyncer(purges, b.link, peers, timing, b.dedupLog)
	return nil
}

// addListenRemedy adds to the error of a listener what to do, with the key that sets its
// address. It returns other errors as they are.
func addListenRemedy(err error, key string) error {
	if listenErr, ok := errors.AsType[*net.OpError](err); !ok || listenErr.Op != "listen" {
		return err
	}
	return fmt.Errorf("%w; stop the program that uses this address, or choose another with %s", err, key)
}

// rackKeys returns the keys that a board accepts; it presents the first.
func rackKeys(cfg config.RackSettings) [][]byte {
	keys := [][]byte{cfg.Key.Bytes()}
	for _, old := range cfg.OldKeys {
		keys = append(keys, old.Bytes())
	}
	return keys
}

// RackTags returns the tag of each rack key that a board with these settings accepts; a tag does
// not reveal its key. The first is of the key that it presents.
func RackTags(cfg config.RackSettings) (tags []string) {
	for _, key := range rackKeys(cfg) {
		tags = append(tags, cluster.RackTag(key))
	}
	return tags
}

// selfAddr is the address of this board's gossip, "ip:port".
func (b *board) selfAddr() string { return b.members.Self().Addr.String() }

func portOf(listen string) uint16 {
	addr, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return 0
	}
	return uint16(addr.Port)
}

// openSites makes the origins, and the built-in shop with its order book if it is
// one of them; otherwise the shop is nil.
func (b *board) openSites(via string) (rackcache.ShopHandler, error) {
	opts := origin.Options{Via: via, Logger: b.dedupLog}
	var handler rackcache.ShopHandler
	if origin.WantsShop(b.cfg) {
		builtIn, err := b.openShop()
		if err != nil {
			return nil, err
		}
		opts.Shop, handler = builtIn, builtIn
	}
	var err error
	b.sites, err = origin.New(b.cfg, opts)
	return handler, err
}

// openShop makes the built-in shop. If its order book cannot be opened, the board
// serves pages and takes no orders.
func (b *board) openShop() (*shop.Shop, error) {
	catalogue, err := loadCatalogue(b.cfg)
	if err != nil {
		return nil, err
	}
	opts := shop.Options{Now: time.Now, Limits: boardLimits{b}}
	if b.cfg.Orders.Enabled {
		b.orders, err = b.openOrders(catalogue)
		switch {
		case errors.Is(err, fulfilment.ErrConfig), errors.Is(err, backup.ErrConfig), errors.Is(err, ledger.ErrInUse):
			return nil, err
		case err != nil:
			b.log.Error("this board takes no orders", "error", err)
			b.cardUnusable.Store(true)
			b.diskFull = errors.Is(err, syscall.ENOSPC)
			opts.Orders = orderservice.Unavailable{Reason: "its card cannot be used", OthersAccept: b.othersAcceptOrders}
		default:
			opts.Orders = b.orders.service
		}
	}
	return shop.New(catalogue, opts)
}

func loadCatalogue(cfg *config.Config) (*shop.Catalogue, error) {
	if cfg.Shop.Catalogue == "" {
		return shop.Default()
	}
	catalogue, err := shop.Load(cfg.Shop.Catalogue)
	if err != nil || !cfg.Orders.Enabled || cfg.Mail.Server != "" && cfg.Orders.PublicURL != "" {
		return catalogue, err
	}
	for _, p := range catalogue.Products {
		if p.Confirm > 0 {
			return nil, fmt.Errorf("%s: the product %s has confirm, which needs a mail with a link: set [mail] server and [orders] public_url, or take confirm out",
				cfg.Shop.Catalogue, p.Slug)
		}
	}
	return catalogue, nil
}

func (b *board) newSampler() *sampler {
	now := time.Now()
	s := &sampler{start: now, counts: b.front.Counts, stats: b.cache.Stats, readUsage: host.ReadUsage, last: totals{at: now}}
	if !b.Shared {
		s.readLoad = host.NewCapacityMeter(os.DirFS("/")).Read
	}
	return s
}

// close frees what open made; it is called whether or not run was.
func (b *board) close() {
	b.orders.close()
	if b.mdns != nil {
		b.mdns.Close()
	}
	if b.members != nil {
		b.members.Close()
	}
	if b.link != nil {
		b.link.Close()
	}
	if b.console != nil {
		b.console.Close()
	}
	if b.front != nil {
		b.front.Close()
	}
	if b.cache != nil {
		b.cache.Close()
	}
}
