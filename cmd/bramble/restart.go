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
	"syscall"
	"time"

	"bramble/node/sockets"
)

// checkTimeout limits the time in which the new program must check the
// configuration; a busy board takes a second to start one.
const checkTimeout = 20 * time.Second

// restarter restarts a board in place: on a signal it checks the program's file
// and then executes it (execve), with the listening sockets inherited.
type restarter struct {
	program   string // the file that this program was started from
	config    string
	sockets   *sockets.ListenerSet
	requested atomic.Bool // a restart was requested and the check passed
	signals   chan os.Signal
}

// newRestarter inherits the sockets of the previous program, if there was one.
func newRestarter(config string) (*restarter, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program's file: %w", err)
	}
	inherited, err := sockets.Inherit(os.Getenv(sockets.Env))
	if err != nil {
		return nil, err
	}
	if err := os.Unsetenv(sockets.Env); err != nil {
		return nil, fmt.Errorf("clearing %s: %w", sockets.Env, err)
	}
	return &restarter{program: program, config: config, sockets: inherited, signals: make(chan os.Signal, 1)}, nil
}

// watchSignals waits for the signal until ctx ends. If the program in the file
// passes its check, it calls leave; otherwise it logs why not.
func (r *restarter) watchSignals(ctx context.Context, log *slog.Logger, leave func()) {
	if len(restartSignals()) == 0 {
		return
	}
	signal.Notify(r.signals, restartSignals()...)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.signals:
			}
			if err := r.checkProgram(ctx); err != nil {
				log.Error("not restarted; this program keeps serving", "error", err)
				continue
			}
			log.Info("restarting in place", "file", r.program)
			r.requested.Store(true)
			leave()
			return
		}
	}()
}

func (r *restarter) checkProgram(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, r.program, "node", "--check", "--config", r.config).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s rejects %s: %w: %s", r.program, r.config, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// execProgram executes the new program if a restart was requested and ctx has not
// ended meanwhile. It does not return if that succeeds.
func (r *restarter) execProgram(ctx context.Context) error {
	if !r.requested.Load() || ctx.Err() != nil {
		return nil
	}
	signal.Ignore(restartSignals()...) // another one must not kill the new program before it handles signals
	return r.sockets.Exec(r.program, os.Args, os.Environ())
}

// servingContext returns a context that ends when leave is called, or when ctx ends.
// In the latter case the sockets for the next program are released first.
func (r *restarter) servingContext(ctx context.Context) (serving context.Context, leave context.CancelFunc) {
	serving, leave = context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		r.sockets.Release()
		leave()
	})
	return serving, leave
}

func (r *restarter) close() {
	signal.Stop(r.signals)
	r.sockets.Close()
}

const exitInterrupted = 130 // status that a shell reports for a program that Ctrl-C ended

// untilSignal returns a context that ends at the first signal to stop. At the
// second signal it calls killNow, at the third it exits. stop restores the
// signals' default behaviour.
func untilSignal(parent context.Context, killNow func()) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // under nohup a closed terminal is no reason to stop
		signals = append(signals, syscall.SIGHUP)
	}
	received := make(chan os.Signal, 3)
	signal.Notify(received, signals...)
	done := make(chan struct{})
	go func() {
		for count := 1; ; count++ {
			select {
			case <-done:
				return
			case <-received:
			}
			switch count {
			case 1:
				cancel()
			case 2:
				killNow()
			default:
				os.Exit(exitInterrupted)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(received)
		close(done)
		cancel()
	}
}
