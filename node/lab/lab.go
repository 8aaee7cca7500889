// Package lab runs a whole rack on one machine. It starts the boards, each a
// process that runs exactly what a Pi runs, can stop, kill, pause and revive them,
// and serves a console of the whole rack. When the lab ends, even by a kill, its
// boards end too.
package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bramble/node/certs"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/console/client"
)

const (
	readyTimeout = 30 * time.Second // for all boards to serve
	leaveMargin  = 5 * time.Second  // for a board to leave, on top of its drain_timeout
	maxLeaveTime = 25 * time.Second // the console waits 30 s for an action
)

// Options configure a lab.
type Options struct {
	Boards     int                // 1 to MaxBoards
	ListenAddr string             // IP:PORT of the console; the boards' ports follow it; port 0 = any free ports
	Template   *config.ParsedFile // settings for every board; nil = those in State, or the defaults
	State      string             // folder for the key, configurations and logs; "" = a temporary one

	// Command runs a board: program and arguments, without the board's
	// configuration file, which is added. It stops when its standard input closes.
	Command []string
	// Program is the command that runs this program: "bramble", or
	// "go run ./cmd/bramble". The printed commands begin with it.
	Program string

	JSON    bool         // print one line of JSON instead of the table
	Out     io.Writer    // for the table or JSON
	Err     io.Writer    // for all other output; written to by several goroutines
	Logger  *slog.Logger // for errors of the lab's console
	Version string       // of this program

	KillNow <-chan struct{} // when closed, kills all boards; nil = never
}

// Run starts a lab. It returns when ctx has ended and no process of the lab is
// left. Mistakes in the options, including ports in use (PortErrors), are reported
// before any process is started.
func Run(ctx context.Context, o Options) error {
	o.Err = &lockedWriter{w: o.Err}
	plan, err := NewPlan(o.Boards, o.ListenAddr)
	if err != nil {
		return err
	}
	if err := plan.Check(); err != nil {
		return err
	}
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(plan.Console))
	if err != nil {
		return fmt.Errorf("opening the lab's console: %w", err)
	}
	defer listener.Close()

	state, removeState, err := stateFolder(o.State)
	if err != nil {
		return err
	}
	defer removeState()
	key, err := loadRackKey(state, o.Template)
	if err != nil {
		return err
	}
	configs, err := writeBoards(state, plan, key, o.Template)
	if err != nil {
		return err
	}
	return runRack(ctx, o, plan, state, configs, listener)
}

// runRack starts the boards of a plan whose files are written, prints them, and
// ends them when ctx has ended.
func runRack(ctx context.Context, o Options, plan *Plan, state string, configs []*config.Config, listener net.Listener) (err error) {
	starter := newStarter()
	defer starter.close()
	var up atomic.Bool // until then explainFailures reports what happens to a board, in more detail
	ev := new(console.Broadcaster)
	f := &fleet{starter: starter, killNow: o.KillNow, events: ev, printLine: func(text string) {
		if up.Load() {
			fmt.Fprintf(o.Err, "%s  %s\n", time.Now().Format(time.TimeOnly), text)
		}
	}}
	source := &labSource{version: o.Version, statuses: f.boardStatuses, events: ev, consoles: map[string]boardConsole{}}
	f.onChange = source.leaveIfStopped
	ca, err := certs.NewConsoleCA(configs[0].Rack.Key.Bytes())
	if err != nil {
		return err
	}
	access := client.Access{Secret: labToken(configs[0].Rack.Key), Rack: x509.NewCertPool()}
	ca.AddTo(access.Rack)
	if !plan.Console.Addr().IsLoopback() {
		listener = tls.NewListener(listener, (&certs.ConsoleCerts{CA: ca}).TLSConfig())
	}
	for i, p := range plan.Boards {
		dir := filepath.Join(state, p.Name)
		f.boards = append(f.boards, &labBoard{
			addrs: p, dir: dir, state: stopped,
			command: append(append([]string(nil), o.Command...), filepath.Join(dir, configFile)),
		})
		f.leaveTimeout = max(f.leaveTimeout, min(time.Duration(configs[i].HTTP.DrainTimeout)+leaveMargin, maxLeaveTime))
		c, err := client.New(consoleURL(p.Console), access)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		defer c.Close()
		source.consoles[p.Name] = c
	}
	server, err := newConsoleServer(source, f, access, configs[0].Console, o.Logger)
	if err != nil {
		return err
	}
	server.start(listener)
	// The console outlives ctx, so that the browser shows how the boards end.
	defer func() {
		if ctx.Err() != nil {
			fmt.Fprintf(o.Err, "\nStopping %s. Ctrl-C again kills.\n", pluralize(len(plan.Boards), "the board", "%d boards"))
		}
		f.stopAll()
		err = errors.Join(err, server.stop())
	}()

	began := time.Now()
	if err := f.startAll(); err != nil {
		return fmt.Errorf("starting the boards: %w", err)
	}
	found := awaitReady(ctx, f, source.consoles, readyTimeout)
	if ctx.Err() != nil {
		return nil
	}
	fmt.Fprint(o.Err, explainFailures(found, readyTimeout))
	if !slices.ContainsFunc(found, func(r startResult) bool { return r.ready }) {
		return errors.New("no board of the lab came up; the end of each one's log is above")
	}
	up.Store(true)
	if err := printReport(o, startReport{plan, state, found, time.Since(began), len(configs[0].Console.Accounts) > 0}); err != nil {
		return fmt.Errorf("printing the boards: %w", err)
	}
	<-ctx.Done()
	return nil
}

type lockedWriter struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

const (
	closeTimeout  = 2 * time.Second  // for pending responses when the lab ends
	headerTimeout = 10 * time.Second // for a request's header, and for a response that is not a stream
	idleTimeout   = 60 * time.Second // between two requests on one connection
	maxHeader     = 64 << 10         // bytes
)

// consoleServer is the lab's console, and the goroutines that keep it up to date.
type consoleServer struct {
	console *console.Console
	source  *labSource
	http    *http.Server

	cancel context.CancelFunc
	work   sync.WaitGroup
	failed chan error // holds the error that ended serving early
}

func newConsoleServer(source *labSource, f *fleet, access client.Access, settings config.ConsoleSettings, log *slog.Logger) (*consoleServer, error) {
	var accounts []console.Account
	for _, a := range settings.Accounts {
		accounts = append(accounts, console.Account{Name: a.Name, Role: console.Role(a.Role), Secret: a.Password})
	}
	c, err := console.New(console.Config{
		Source: source, Control: source, Lab: f, Shop: source.shopProxy(access),
		Ready: func() (bool, string) {
			if len(source.liveBoards()) == 0 {
				return false, "no board of the lab runs"
			}
			return true, ""
		},
		Password: settings.Password, Accounts: accounts, LocalSteers: true,
		Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("creating the lab's console: %w", err)
	}
	return &consoleServer{
		console: c, source: source,
		http: &http.Server{
			Handler:           c,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       headerTimeout,
			WriteTimeout:      headerTimeout, // the console extends it for its streams
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
		failed: make(chan error, 1),
	}, nil
}

// start serves l, follows the boards and updates the console until stop.
func (c *consoleServer) start(l net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.work.Go(func() { c.source.run(ctx) })
	c.work.Go(func() { c.console.Run(ctx) })
	c.work.Go(func() {
		if err := c.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.failed <- fmt.Errorf("serving the lab's console: %w", err)
		}
	})
}

// stop ends what start began, and returns an error of serving.
func (c *consoleServer) stop() error {
	c.cancel() // ends the streams, so that Shutdown need not wait for them
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if c.http.Shutdown(ctx) != nil {
		c.http.Close() // cuts off a slow reader
	}
	c.work.Wait()
	select {
	case err := <-c.failed:
		return err
	default:
		return nil
	}
}
