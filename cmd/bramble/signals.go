package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

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
