package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bramble/cache"
	"bramble/cluster"
	"bramble/cluster/link"
	"bramble/cluster/logdedup"
	"bramble/cluster/purge"
	"bramble/node/capacity"
	"bramble/node/certs"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/front"
	"bramble/node/fulfilment"
	"bramble/node/orderservice"
	"bramble/node/origin"
	"bramble/node/pi"
	"bramble/node/shop"
	"bramble/node/sockets"
)

const (
	// joinWait is how long a board that was told of others looks for them
	// before it serves alone.
	joinWait = 3 * time.Second
	// leaveWait bounds the goodbye to the rack.
	leaveWait = time.Second
	// consoleHeaderTime bounds how long a console's client may take to ask.
	consoleHeaderTime = 5 * time.Second
	// consoleBodyTime bounds how long it may take to send what it asks for.
	consoleBodyTime = 10 * time.Second
	// consoleIdle is how long its connection is kept unused.
	consoleIdle = 2 * time.Minute
)

// Options are what a board gets from the program that runs it.
type Options struct {
	Logger  *slog.Logger
	Version string
	// SlowCard makes every sync of the ledger take this much longer, to rehearse
	// an SD card on a machine that has a better disk.
	SlowCard time.Duration
	// Sockets opens the listeners that a program which takes this one's place is
	// to have: pages and console. nil: nothing is handed on.
	Sockets *sockets.ListenerSet
	// Shared is set if other boards run on this machine, so that its load is not
	// this board's.
	Shared bool
	// CardHost is the one that the board has to itself; nil: it has none.
	CardHost CardHost
}

// board is one running board.
type board struct {
	cfg             *config.Config
	log             *slog.Logger
	version         string
	slowCard        time.Duration
	shared          bool
	sockets         *sockets.ListenerSet
	cardHost        CardHost     // nil: none
	ended           chan error   // why the board ends by itself; see machine.go
	haltRequestedAt atomic.Int64 // since when it is to be put to rest, Unix nanoseconds; 0: it is not

	health        lifecycleState
	events        *console.Broadcaster
	cache         *cache.Cache
	sites         *origin.Sites
	counter       *counter // nil: no orders are taken here
	front         *front.Front
	certs         *certs.Manager // nil: no https
	console       net.Listener
	link          *link.Link
	members       *cluster.Members
	mdns          *cluster.MDNS
	purger        *purge.Syncer
	pages         *rackHandler
	panel         panelState
	replicator    *replicator
	invalidator   *invalidator
	sampler       *sampler
	reachedPeer   atomic.Bool  // another board was reached since the start
	discoveryDone atomic.Bool  // for other boards, as long as it should
	idleBeats     atomic.Int64 // beats in a row without a reply, while draining
	faults        atomic.Uint32
	cardUnusable  atomic.Bool // orders are to be taken, and their folder cannot be used
	diskFull      bool        // because it is full; set before run

	pi atomic.Pointer[pi.Health] // the machine's own health, read last; nil: not yet

	nameTakenAt atomic.Int64 // when another board was last seen under this one's name, Unix nanoseconds
}

// Run is one board from start to end: it returns nil after ctx has ended and
// every reply under way has gone out, ErrHalt or ErrTry if its machine is to do
// more, or an error if the board cannot run.
func Run(ctx context.Context, cfg *config.Config, opts Options) error {
	b := &board{
		cfg: cfg, log: opts.Logger, version: opts.Version, slowCard: opts.SlowCard, shared: opts.Shared,
		sockets: opts.Sockets, cardHost: opts.CardHost,
		events: new(console.Broadcaster), ended: make(chan error, 1),
	}
	if b.sockets == nil {
		b.sockets = new(sockets.ListenerSet)
		b.sockets.Release() // to nobody
		defer b.sockets.Close()
	}
	defer b.close()
	if err := b.open(ctx); err != nil {
		return err
	}
	return b.run(ctx)
}

// open makes every part and every listener; nothing is answered yet.
func (b *board) open(ctx context.Context) error {
	budget, warning := limitMemory(int64(b.cfg.Cache.Memory))
	if warning != "" {
		b.log.Warn(warning)
	}
	maxObject := min(int64(b.cfg.Cache.MaxObject), budget/16) // what a cache can have
	quiet := slog.New(logdedup.NewHandler(b.log.Handler(), 0, nil))
	via := "bramble-" + cluster.RackTag(b.cfg.Rack.Key.Bytes())
	var err error
	b.replicator = newReplicator(b.log)
	b.invalidator = newInvalidator()
	b.pages = &rackHandler{
		self: b.cfg.Board.Name,
		hot:  newHotKeys(time.Now()), now: time.Now, maxObject: maxObject,
	}
	b.replicator.pages = b.pages
	b.cache, err = cache.New(cache.Config{
		Name: b.cfg.Board.Name, Budget: budget, MaxObject: maxObject, Via: via,
		NoCacheStatus: !b.cfg.Cache.CacheStatusHeader, ClientDirectives: b.cfg.Cache.ClientCacheControl, KeepSetCookie: b.cfg.Cache.StoreSetCookie,
		StaleOnError: staleOnError(b.cfg.Cache), MaxVariants: b.cfg.Cache.MaxVariants, Compress: b.cfg.Cache.Compress,
		Logger: quiet, ErrorHandler: newFailHandler(quiet), OnStore: b.replicator.queueCopy, OnInvalidate: b.invalidator.purgeKey, OnReplace: b.invalidator.purgeKey,
		AwaitInvalidation: b.invalidator.awaitPurge,
		ClockTrusted:      b.clockIsSet,
	})
	if err != nil {
		return err
	}
	if b.certs, err = b.newCerts(); err != nil {
		return err
	}
	handler, hits := b.publicHandler()
	if b.front, err = front.New(front.Config{
		Listen: b.cfg.HTTP.Listen, Handler: handler, FastHandler: hits, TLS: b.frontTLS(), Logger: b.log,
		HeaderTimeout: time.Duration(b.cfg.HTTP.HeaderTimeout), IdleTimeout: time.Duration(b.cfg.HTTP.IdleTimeout),
		WriteTimeout: time.Duration(b.cfg.HTTP.WriteTimeout), DrainTimeout: time.Duration(b.cfg.HTTP.DrainTimeout),
		MaxConnections: b.maxConnections(), NewConnections: b.cfg.HTTP.AcceptRate,
		ClientRequests: b.cfg.HTTP.ClientRequestRate, NetworkRequests: b.cfg.HTTP.NetworkRequestRate,
		ClientConnections: b.cfg.HTTP.ClientConnectionRate, NetworkConnections: b.cfg.HTTP.NetworkConnectionRate,
		Open:         func(address string) (net.Listener, error) { return b.sockets.Listen("pages", address) },
		HasSuccessor: b.sockets.PassesOn,
		MaxRequests:  b.maxRequests(budget),
		BodyTimeout:  time.Duration(b.cfg.HTTP.BodyTimeout), BodyRate: int(b.cfg.HTTP.MinBodyRate),
		Pressure: b.overload,
	}); err != nil {
		return err
	}
	if b.certs != nil {
		b.certs.RenewTicketKeys()
	}
	if b.console, err = b.sockets.Listen("console", b.cfg.Console.Listen); err != nil {
		return fmt.Errorf("console: %w", err)
	}
	if err := b.openRack(ctx, quiet); err != nil {
		return err
	}
	if b.sites, err = b.newSites(via, quiet); err != nil {
		return err
	}
	b.pages.sites, b.pages.cache, b.pages.ring, b.pages.link, b.pages.purger = b.sites, b.cache, b.members.Ring, b.link, b.purger
	b.pages.clockLead = b.cache.Now() - b.purger.Now()
	b.openPanel(b.log)
	now := time.Now()
	b.sampler = &sampler{born: now, counts: b.front.Counts, stats: b.cache.Stats, use: processUsage, last: reading{at: now}}
	if !b.shared {
		b.sampler.load = capacity.New(os.DirFS("/")).Read
	}
	return nil
}

// staleOnError is a cache's way to say it: 0 would be its default.
func staleOnError(cfg config.CacheSettings) time.Duration {
	if cfg.StaleIfError == 0 {
		return -1
	}
	return time.Duration(cfg.StaleIfError)
}

// newSites makes the origins, and the built-in shop if it is one of them.
func (b *board) newSites(via string, log *slog.Logger) (*origin.Sites, error) {
	opts := origin.Options{Via: via, Logger: log}
	if origin.WantsShop(b.cfg) {
		catalogue, err := loadCatalogue(b.cfg.Shop)
		if err != nil {
			return nil, err
		}
		how := shop.Options{Now: time.Now}
		if b.cfg.Orders.Enabled {
			b.counter, err = b.openCounter(catalogue, log)
			switch {
			case errors.Is(err, fulfilment.ErrConfig):
				return nil, err
			case err != nil:
				// Pages need no card.
				b.log.Error("this board takes no orders", "error", err)
				b.cardUnusable.Store(true)
				b.diskFull = errors.Is(err, syscall.ENOSPC)
				how.Orders = orderservice.Unavailable{Reason: "the card of this board cannot be used; other boards of the rack take orders"}
			default:
				how.Orders = b.counter.desk
			}
		}
		front, err := shop.New(catalogue, how)
		if err != nil {
			return nil, err
		}
		opts.Shop, b.pages.shop = front, front
	}
	return origin.New(b.cfg, opts)
}

func loadCatalogue(cfg config.ShopSettings) (*shop.Catalogue, error) {
	if cfg.Catalogue == "" {
		return shop.Default()
	}
	return shop.Load(cfg.Catalogue)
}

// rackKeys are the keys that a board accepts; it shows the first.
func rackKeys(cfg config.RackSettings) [][]byte {
	keys := [][]byte{cfg.Key.Bytes()}
	for _, old := range cfg.OldKeys {
		keys = append(keys, old.Bytes())
	}
	return keys
}

// openRack starts link, gossip and purges.
func (b *board) openRack(ctx context.Context, quiet *slog.Logger) error {
	keys := rackKeys(b.cfg.Rack)
	peerTimeout := time.Duration(b.cfg.Rack.PeerTimeout)
	var err error
	if b.link, err = link.New(link.Config{
		Name: b.cfg.Board.Name, Keys: keys, Listen: b.cfg.Rack.LinkListen, PeerTimeout: peerTimeout, Logger: quiet,
	}); err != nil {
		return err
	}
	var discover func(context.Context) []string
	if b.cfg.Rack.MDNS {
		tag := cluster.RackTag(keys[0])
		b.mdns = cluster.Announce(ctx, b.cfg.Board.Name, tag, portOf(b.cfg.Rack.GossipListen), b.log)
		discover = b.mdns.Discover
	}
	// Gossip outlives ctx, so that the goodbye can be said.
	b.members, err = cluster.Start(context.WithoutCancel(ctx), cluster.MembersConfig{
		Name: b.cfg.Board.Name, Bind: b.cfg.Rack.GossipListen, Advertise: b.cfg.Rack.Advertise, Keys: keys,
		Join: b.cfg.Rack.Join, Discover: discover, Forget: time.Duration(b.cfg.Rack.ForgetAfter),
		Meta: b.buildMeta(cluster.Vitals{State: cluster.Starting}, ""), Logger: b.log,
	})
	if err != nil {
		return err
	}
	timing := purge.DefaultTiming()
	timing.ExchangeTimeout = peerTimeout / 2
	who := roster{members: b.members, join: countOtherAddrs(b.cfg.Rack, b.selfAddr()), reachedPeer: b.reachedPeer.Load}
	purges := purge.NewLog(purgeApplier{b.cfg.Board.Name, b.cache, b.events, b.showPurge})
	b.purger = purge.NewSyncer(purges, b.link, who, timing, quiet)
	return nil
}

// selfAddr is where other boards reach this one's gossip, "ip:port".
func (b *board) selfAddr() string { return b.members.Self().Addr.String() }

func portOf(listen string) uint16 {
	addr, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return 0
	}
	return uint16(addr.Port)
}

// run serves until ctx ends or a part fails, and then stops the parts in an
// order in which each can still count on those behind it: clients first, then
// the goodbye to the rack, then what other boards and ops were using.
func (b *board) run(ctx context.Context) error {
	clients, stopClients := context.WithCancel(context.WithoutCancel(ctx))
	rack, stopRack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopClients()
	defer stopRack()
	peers := &peerHandler{pages: b.pages, counter: b.counter, drain: b.drainBoard, locate: b.locateBoard, certs: b.certs}
	screen, err := b.newConsole()
	if err != nil {
		return err
	}

	failed := make(chan error, 3)
	var serving, behind sync.WaitGroup
	start := func(group *sync.WaitGroup, part func() error) {
		group.Go(func() {
			if err := part(); err != nil {
				failed <- err
			}
		})
	}
	start(&behind, func() error { return b.link.Serve(rack, peers.buildRoutes()) })
	start(&behind, func() error { return b.serveConsole(rack, screen) })
	start(&behind, func() error { return b.counter.run(rack) })
	behind.Go(func() { screen.Run(rack) })
	behind.Go(func() { b.purger.Run(rack) })
	behind.Go(func() { b.replicator.run(rack) })
	behind.Go(func() { b.invalidator.run(rack, b.purger) })
	behind.Go(func() { b.cache.GovernHeap(rack) })
	behind.Go(func() { b.runHeartbeat(rack) })
	behind.Go(func() { b.runPanel(rack, b.log) })
	behind.Go(func() { b.followMembership(rack) })
	behind.Go(func() { b.watchPi(rack) })
	behind.Go(func() { b.sites.Run(rack) })
	behind.Go(func() { b.joinRack(rack) })
	if b.diskFull && b.cardHost != nil {
		behind.Go(func() { b.awaitDiskSpace(rack, diskCheckInterval, b.tryOpenBook) })
	}
	if b.certs != nil {
		behind.Go(func() { b.certs.Run(rack) })
	}
	start(&serving, func() error { return b.front.Serve(clients) })
	b.log.Info("board is up", "pages", b.front.Addr().String(), "console", b.console.Addr().String(),
		"link", b.link.Addr().String(), "gossip", b.selfAddr())

	select {
	case <-ctx.Done():
	case err = <-failed:
		b.sockets.Release() // no other program comes in its place
	case err = <-b.ended:
		b.sockets.Release()
	}
	if !errors.Is(err, ErrHalt) { // the lamps of a board at rest go on saying that it is drained
		b.health.set(cluster.Stopping)
	}
	b.announceState()
	stopClients()
	serving.Wait()
	if leaving := b.members.Leave(leaveWait); leaving != nil {
		b.log.Info("left without a goodbye", "error", leaving)
	}
	stopRack()
	behind.Wait()
	b.log.Info("board has stopped")
	return err
}

// close frees what open made; it is called whether or not run was.
func (b *board) close() {
	b.counter.close()
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

func (b *board) newConsole() (*console.Console, error) {
	screen := &consoleSource{
		Broadcaster: b.events, version: b.version, members: b.members, pages: b.pages,
		drain: b.drainBoard, locate: b.locateBoard, panelInputOf: b.panelInputOf, canSteer: true, notices: b.collectNotices,
	}
	return console.New(console.Config{
		Source: screen, Control: screen, Shop: b.counter.handler(), Card: b.cardHandler(), Ready: b.checkReady, WriteMetrics: b.newMetrics().writeMetrics,
		Password: b.cfg.Console.Password, Logger: b.log,
	})
}

func (b *board) serveConsole(ctx context.Context, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: consoleHeaderTime,
		ReadTimeout:       consoleHeaderTime + consoleBodyTime,
		IdleTimeout:       consoleIdle,
		ErrorLog:          slog.NewLogLogger(b.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(console.LimitListener(b.console)) }()
	select {
	case err := <-served:
		return fmt.Errorf("console: %w", err)
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if server.Shutdown(closing) != nil {
		server.Close()
	}
	<-served
	return nil
}
