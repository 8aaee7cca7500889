package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// exitInterrupted is what a shell reports of a program that Ctrl-C ended.
const exitInterrupted = 130

// untilSignal returns a context that ends with the first signal to stop, calls
// hurry at the second, and leaves at once at the third. stop gives the signals
// back.
func untilSignal(parent context.Context, hurry func()) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup means that a closed terminal is no reason
		signals = append(signals, syscall.SIGHUP)
	}
	got := make(chan os.Signal, 3)
	signal.Notify(got, signals...)
	done := make(chan struct{})
	go func() {
		for count := 1; ; count++ {
			select {
			case <-done:
				return
			case <-got:
			}
			switch count {
			case 1:
				cancel()
			case 2:
				hurry()
			default:
				os.Exit(exitInterrupted)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(got)
		close(done)
		cancel()
	}
}
