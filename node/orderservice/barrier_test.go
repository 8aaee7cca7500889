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

// A crowd shares questions, and nobody gets an answer to one that was put before they came.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		q := sharedBarrier{timeout: time.Minute, barrier: func(ctx context.Context) error {
			asked.Add(1)
			time.Sleep(time.Second)
			return nil
		}}
		start := time.Now()
		var took [3]time.Duration
		wait := func(i int) {
			if err := q.wait(t.Context()); err != nil {
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
		if want := [3]time.Duration{time.Second, 2 * time.Second, 2 * time.Second}; took != want || asked.Load() != 2 {
			t.Errorf("answered after %v by %d questions", took, asked.Load())
		}
	})
}

// Who cannot wait leaves without an answer; a question has an end of its own.
func TestTogetherIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sharedBarrier{timeout: 3 * time.Second, barrier: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := q.wait(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := q.wait(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 6*time.Second {
			t.Errorf("the next: %v after %v", err, time.Since(start))
		}
	})
}
