package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/console/client"
)

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
