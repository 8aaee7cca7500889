package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"time"

	"bramble/node/sockets"
)

// checkTime bounds how long the program that is to take this one's place may
// take to read its configuration; a busy board takes a second to start one.
const checkTime = 20 * time.Second

// restarter is a running board's place in the system: its process and its sockets,
// which another program can be given.
type restarter struct {
	program   string // the file that this program was started from
	config    string
	sockets   *sockets.ListenerSet
	requested atomic.Bool // somebody asked for another program
	signals   chan os.Signal
}

// newRestarter takes what the program before has left.
func newRestarter(config string) (*restarter, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program's file: %w", err)
	}
	handed, err := sockets.Inherit(os.Getenv(sockets.Env))
	if err != nil {
		return nil, err
	}
	if err := os.Unsetenv(sockets.Env); err != nil {
		return nil, fmt.Errorf("forgetting %s: %w", sockets.Env, err)
	}
	return &restarter{program: program, config: config, sockets: handed, signals: make(chan os.Signal, 1)}, nil
}

// watchSignals waits for the signal until ctx ends. If the program that stands in the
// file is good, it calls leave; otherwise it says what is wrong with it.
func (p *restarter) watchSignals(ctx context.Context, log *slog.Logger, leave func()) {
	if len(replaceSignals()) == 0 {
		return
	}
	signal.Notify(p.signals, replaceSignals()...)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-p.signals:
			}
			if err := p.checkProgram(ctx); err != nil {
				log.Error("not replaced, and serving on", "error", err)
				continue
			}
			log.Info("another program takes this one's place", "file", p.program)
			p.requested.Store(true)
			leave()
			return
		}
	}()
}

// checkProgram has the program that would come read the configuration.
func (p *restarter) checkProgram(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, p.program, "node", "--check", "--config", p.config).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s finds fault with %s: %w: %s", p.program, p.config, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// execProgram gives the place away if somebody asked for that and nobody asked for
// the end meanwhile. It does not return if that works.
func (p *restarter) execProgram(ctx context.Context) error {
	if !p.requested.Load() || ctx.Err() != nil {
		return nil
	}
	signal.Ignore(replaceSignals()...) // one more of them must not end the program that comes, before it listens
	return p.sockets.Exec(p.program, os.Args, os.Environ())
}

// servingContext gives a context that ends when ctx does, by which time it is settled that the
// place goes to nobody, or when leave is called.
func (p *restarter) servingContext(ctx context.Context) (serving context.Context, leave context.CancelFunc) {
	serving, leave = context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		p.sockets.Release()
		leave()
	})
	return serving, leave
}

func (p *restarter) close() {
	signal.Stop(p.signals)
	p.sockets.Close()
}
