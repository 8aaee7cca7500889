package orderservice

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Callers share barriers, and none gets the result of a barrier that began before it came.
func TestBarrierIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var barriers atomic.Int64
		b := newSharedBarrier(func(context.Context) error {
			barriers.Add(1)
			time.Sleep(time.Second)
			return nil
		}, time.Minute)
		start := time.Now()
		var took [3]time.Duration
		wait := func(i int) {
			if err := b.wait(t.Context()); err != nil {
				t.Error(err)
			}
			took[i] = time.Since(start)
		}
		var all sync.WaitGroup
		all.Go(func() { wait(0) })
		time.Sleep(500 * time.Millisecond)
		all.Go(func() { wait(1) })
		all.Go(func() { wait(2) })
		all.Wait()
		if want := [3]time.Duration{time.Second, 2 * time.Second, 2 * time.Second}; took != want || barriers.Load() != 2 {
			t.Errorf("returned after %v, %d barriers", took, barriers.Load())
		}
	})
}

// A caller's context ends its own wait only; a barrier has a timeout of its own.
func TestBarrierIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSharedBarrier(func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, 3*time.Second)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.wait(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := b.wait(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 6*time.Second {
			t.Errorf("the next barrier: %v after %v", err, time.Since(start))
		}
	})
}
