package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bramble/cache"
	"bramble/cluster"
	"bramble/cluster/purge"
	"bramble/gpio"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/rackcache"
)

const (
	consoleHeaderTimeout = 5 * time.Second  // for a request's fields
	consoleBodyTimeout   = 10 * time.Second // for the body after that
	consoleIdleTimeout   = 2 * time.Minute  // of an unused connection
	consoleStopWait      = 2 * time.Second  // for clients when the board stops: as long as the public listener waits for a new connection's request
	defaultBarLamps      = 5                // of a board's load bar, as the console draws it
)

func (b *board) newConsole() (*console.Console, error) {
	source, own := &consoleSource{b.events, b}, b.cfg.Console
	key, err := console.DeviceKey(b.cfg.Rack.Key.Bytes())
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	cfg := console.Config{
		Source: source, Control: source, Shop: b.operatorAPI(), Card: b.cardHandler(), Secrets: b.Secrets, Ready: b.checkReady, WriteMetrics: b.newMetrics().writeMetrics,
		Password: own.Password, DeviceKey: key, Logger: b.log, ShareFailure: func(client string) {
			select {
			case b.failures <- client:
			default: // a flood: this board's own limit holds
			}
		},
	}
	cfg.LocalSteers = b.Shared && len(b.cfg.Origin.TrustedProxies) == 0 && !slices.ContainsFunc(b.cfg.Sites, func(s config.SiteSettings) bool { return len(s.Origin.TrustedProxies) > 0 })
	for _, a := range own.Accounts {
		cfg.Accounts = append(cfg.Accounts, console.Account{Name: a.Name, Role: console.Role(a.Role), Secret: a.Password})
	}
	return console.New(cfg)
}

const (
	failurePath = "/v1/console-failure" // on the rack link: a board tells of a wrong password at its console
	// maxFailures bounds those that wait to be sent, and failureTimeout the time of one.
	maxFailures    = 64
	failureTimeout = time.Second
)

// sendFailures tells all boards of wrong passwords at this one, until ctx ends: a guesser has one
// limit for the whole rack.
func (b *board) sendFailures(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case client := <-b.failures:
			bound, cancel := context.WithTimeout(ctx, failureTimeout)
			var calls sync.WaitGroup
			for _, peer := range (certRack{b}).Peers() {
				calls.Go(func() {
					if resp, err := b.requestBoard(bound, peer, http.MethodPost, failurePath+"?client="+url.QueryEscape(client)); err == nil {
						resp.Body.Close()
					}
				})
			}
			calls.Wait()
			cancel()
		}
	}
}

// consoleScheme returns how the console is reached: only loopback has plain http.
func (b *board) consoleScheme() string {
	if b.console.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return "http"
	}
	return "https"
}

// serveConsole serves the console until ctx ends. A client that has connected by then is
// still answered, for at most stopWait.
func (b *board) serveConsole(ctx context.Context, handler http.Handler, stopWait time.Duration) error {
	var open atomic.Int64
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: consoleHeaderTimeout,
		ReadTimeout:       consoleHeaderTimeout + consoleBodyTimeout,
		IdleTimeout:       consoleIdleTimeout,
		ErrorLog:          slog.NewLogLogger(b.log.Handler(), slog.LevelDebug),
		ConnContext:       console.ConnContext,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed, http.StateHijacked:
				open.Add(-1)
			}
		},
	}
	listener := console.LimitListener(b.console)
	if b.consoleScheme() == "https" {
		listener = tls.NewListener(listener, b.consoleCerts.TLSConfig())
	}
	if socket, err := b.openConsoleSocket(); err != nil {
		b.log.Warn("commands on this board need the console's password: it has no unix socket", "error", err)
	} else {
		var local sync.WaitGroup
		local.Go(func() { _ = server.Serve(socket) }) // it ends with the server
		defer local.Wait()
		defer server.Close()
	}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(listener)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("console: %w", err)
	case <-ctx.Done():
	}
	// Shutdown would drop each request that net/http reads from then on, without a reply.
	server.SetKeepAlivesEnabled(false)
	b.console.Close()
	<-served
	waitUntil(context.WithoutCancel(ctx), stopWait, func() bool { return open.Load() == 0 })
	server.Close()
	return nil
}

// consoleSource is the console's RackSource and Control: the rack as this board sees it,
// and the commands that this board can give it.
type consoleSource struct {
	*console.Broadcaster
	b *board
}

// RackView returns the rack as gossip and this board know it; it calls no other board.
func (s *consoleSource) RackView() console.RackView {
	view := console.RackView{
		At: time.Now().UTC(), Version: s.b.Version, Observer: s.b.cfg.Board.Name, CanSteer: true, Notices: s.b.collectNotices(),
	}
	ring := s.b.members.Ring()
	shares := ring.Shares()
	for _, other := range s.b.members.Boards() {
		view.Boards = append(view.Boards, toBoardView(other, shares[other.Name], s.b.panelInputOf(other)))
	}
	for _, arc := range ring.Arcs() {
		view.Ring = append(view.Ring, console.RingArc{From: arc.From, To: arc.To, Board: arc.Board})
	}
	return view
}

func toBoardView(b cluster.Board, share float64, lamps gpio.Input) console.BoardView {
	vitals := b.Meta.Vitals
	view := console.BoardView{
		Name: b.Name, State: vitals.State.String(), Faults: vitals.Faults.Names(), Self: b.Self,
		HTTPURL: b.Meta.HTTPURL, ConsoleURL: b.Meta.ConsoleURL, RingShare: share,
		Vitals: console.VitalsView{
			ResponsesPerSecond: float64(vitals.ResponsesPerSecond), HitRatio: float64(vitals.HitRatio), CPUCores: float64(vitals.CPU),
			MemoryBytes: vitals.Memory, Connections: vitals.Connections,
			CacheBytes: vitals.CacheBytes, CacheBudgetBytes: vitals.CacheBudget,
			UptimeSeconds: int64(vitals.Uptime / time.Second),
		},
	}
	if !b.Alive {
		view.State, view.Faults, view.Vitals = "dead", nil, console.VitalsView{}
		if b.Departed {
			view.State = "left"
		}
		lamps = gpio.Input{Health: gpio.Stopped}
	}
	view.Panel = gpio.Render(lamps, defaultBarLamps)
	return view
}

func membershipEvent(e cluster.Event) console.Event {
	kind := e.Kind.String()
	if e.Kind == cluster.Changed {
		kind = "state"
	}
	return console.Event{At: e.At, Kind: kind, Board: e.Board, Text: e.Text}
}

// purgeApplied shows a purge that this board has applied, on the console and the panel.
func (b *board) purgeApplied(p purge.Purge, dropped int) {
	now := time.Now()
	b.events.Publish(console.Event{At: now, Kind: "purge", Board: b.cfg.Board.Name, Text: purgeText(p, dropped)})
	b.panel.purged.Store(now.UnixNano())
}

func purgeText(p purge.Purge, dropped int) string {
	what := "everything"
	switch p.Kind {
	case purge.URL:
		what = p.Target
	case purge.Tag:
		what = "tag " + p.Target
	}
	if dropped == 0 {
		return fmt.Sprintf("purged %s: no stored page matched", what)
	}
	pages := "pages"
	if dropped == 1 {
		pages = "page"
	}
	did := "deleted"
	if p.Soft {
		did = "marked stale"
	}
	return fmt.Sprintf("purged %s: %d stored %s %s", what, dropped, pages, did)
}

func (s *consoleSource) Purge(ctx context.Context, p console.PurgeRequest) (console.PurgeResult, error) {
	purges, err := s.toPurges(p)
	if err != nil {
		return console.PurgeResult{}, fmt.Errorf("%w: %w", console.ErrBadRequest, err)
	}
	for _, issued := range purges {
		if err := s.b.purger.Issue(issued); err != nil {
			return console.PurgeResult{}, fmt.Errorf("%w: %w", console.ErrBadRequest, err)
		}
	}
	applied, absent := s.b.purger.Spread(ctx, rackcache.PurgeWait)
	applied = append(applied, s.b.cfg.Board.Name)
	slices.Sort(applied)
	for _, other := range s.b.members.Boards() {
		if !other.Alive && !other.Departed && !slices.Contains(absent, other.Name) {
			absent = append(absent, other.Name)
		}
	}
	slices.Sort(absent)
	return console.PurgeResult{Applied: applied, Absent: absent}, nil
}

// toPurges converts an operator's purge. A path without a host means that page of every
// site.
func (s *consoleSource) toPurges(p console.PurgeRequest) ([]purge.Purge, error) {
	switch {
	case p.Tag != "":
		return []purge.Purge{{Kind: purge.Tag, Target: p.Tag, Soft: p.Soft}}, nil
	case p.URL == "":
		return []purge.Purge{{Kind: purge.All, Soft: p.Soft}}, nil
	}
	pages, err := s.b.sites.PurgeKeys(p.URL)
	if err != nil {
		return nil, err
	}
	var list []purge.Purge
	for _, page := range pages {
		list = append(list, purge.Purge{Kind: purge.URL, Target: cache.KeyOf(page), Soft: p.Soft})
	}
	return list, nil
}

func (s *consoleSource) Drain(ctx context.Context, board string, undo bool) error {
	return s.callBoard(ctx, board, undo, s.b.drainBoard, drainPath)
}

func (s *consoleSource) Locate(ctx context.Context, board string, undo bool) error {
	return s.callBoard(ctx, board, undo, s.b.locateBoard, locatePath)
}

// callBoard calls do if board is this one, or requests path of the other board.
func (s *consoleSource) callBoard(ctx context.Context, board string, undo bool, do func(undo bool), path string) error {
	if board == s.b.cfg.Board.Name {
		do(undo)
		return nil
	}
	boards := s.b.members.Boards()
	at := slices.IndexFunc(boards, func(b cluster.Board) bool { return b.Name == board })
	if at < 0 {
		return fmt.Errorf("%w: this rack has no board %q", console.ErrUnknownBoard, board)
	}
	if !boards[at].Alive {
		return fmt.Errorf("%w: %s is not running", console.ErrUnavailable, board)
	}
	if undo {
		path += "?undo=1"
	}
	resp, err := s.b.requestBoard(ctx, board, http.MethodPost, path)
	if err != nil {
		return fmt.Errorf("%w: %w", console.ErrUnavailable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%w: %s answered with status %d", console.ErrUnavailable, board, resp.StatusCode)
	}
	return nil
}

// maxSocketPath is the longest path of a unix socket, in bytes, that all systems take (sun_path
// has 104 on BSD, with a final zero).
const maxSocketPath = 103

const socketMode = 0o600

// ConsoleSocket returns the path of a console's unix socket; folder is the board's [orders]
// directory.
func ConsoleSocket(folder string) string { return filepath.Join(folder, "console.sock") }

// openConsoleSocket listens at the console's unix socket, which only the board's own user can
// open. It replaces one that a killed process left.
func (b *board) openConsoleSocket() (net.Listener, error) {
	path := ConsoleSocket(b.cfg.Orders.Directory)
	if runtime.GOOS == "windows" || len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s cannot be a socket here", path)
	}
	if old, err := net.Dial("unix", path); err == nil {
		old.Close()
		return nil, fmt.Errorf("another process listens at %s", path)
	}
	// Nobody else can enter the folder, so the socket needs no mode before it is there.
	if err := os.MkdirAll(b.cfg.Orders.Directory, folderMode); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		os.Remove(path) // if it stays, Listen fails
	}
	l, err := net.Listen("unix", path)
	if err == nil {
		if err = os.Chmod(path, socketMode); err != nil {
			err = errors.Join(err, l.Close())
		}
	}
	return l, err
}
