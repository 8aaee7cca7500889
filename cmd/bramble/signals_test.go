//go:build unix

package main

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestSignals(t *testing.T) {
	hurried := make(chan struct{})
	ctx, stop := untilSignal(t.Context(), func() { close(hurried) })
	defer stop()
	send := func(what string, got <-chan struct{}) {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-got:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s did not happen", what)
		}
	}
	if ctx.Err() != nil {
		t.Fatal("the context ended before any signal")
	}
	send("the end of the context", ctx.Done())
	select {
	case <-hurried:
		t.Fatal("one signal counts as two")
	default:
	}
	send("the hurry", hurried)
}

func TestSignalsAreGivenBack(t *testing.T) {
	ctx, stop := untilSignal(t.Context(), func() { t.Error("there was no second signal") })
	stop()
	if ctx.Err() != context.Canceled {
		t.Errorf("after stop the context is %v", ctx.Err())
	}
}
