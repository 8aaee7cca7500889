package fairshare

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
)

// A site that gives nothing back leaves half of the permits and of the queue, the next one half of that, and so on; the order of
// the queue holds within a site.
func TestSitesLeaveAPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(64, 64, true)
		for n, want := range []int{32, 16, 8, 4, 2, 1, 1} {
			site := fmt.Sprint(n)
			before, _ := counts(p)
			for range 200 {
				go func() {
					if err := p.Acquire(t.Context(), site, false); err != nil && !errors.Is(err, ErrFull) {
						t.Error(err)
					}
				}()
			}
			synctest.Wait()
			if used, waiting := counts(p); used-before != want || waiting == 0 || waiting > 64 {
				t.Errorf("site %d got %d permits, want %d; %d wait", n, used-before, want, waiting)
			}
			if n == 0 && (!p.IsFull(site) || p.IsFull("other")) {
				t.Errorf("the queue is full for %s: %v, for another site: %v", site, p.IsFull(site), p.IsFull("other"))
			}
		}
		// What becomes free goes to those that wait.
		for used, waiting := counts(p); waiting > 0; used, waiting = counts(p) {
			for n := range 7 {
				if p.held[fmt.Sprint(n)] > 0 {
					p.Release(fmt.Sprint(n))
				}
			}
			if after, _ := counts(p); after > 64 || used > 64 {
				t.Fatalf("%d of 64 are held", after)
			}
			synctest.Wait()
		}
	})
}

// One site alone has all; one that has left the queue has no place there.
func TestOneSiteHasAll(t *testing.T) {
	p := New(4, 2, false)
	for range 4 {
		if !p.TryAcquire("a") {
			t.Error("a permit is free")
		}
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := p.Acquire(gone, "a", false); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if used, waiting := counts(p); p.TryAcquire("b") || p.IsFull("b") || used != 4 || waiting != 0 || len(p.queued) != 0 {
		t.Errorf("%d held, %d wait, %v", used, waiting, p.queued)
	}
}

func counts(p *Permits) (used, waiting int) {
	_, used, waiting = p.Counts()
	return used, waiting
}
