package purge

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestConfirmWaitsOnlyForBoardsThatAnswer(t *testing.T) {
	const wait = 250 * time.Millisecond
	for _, tt := range []struct {
		name string
		slow time.Duration // board c's answer
		cut  bool          // the link calls it silent
		want bool
		took time.Duration
		b, c bool // have applied when Confirm returns
	}{
		{name: "all answer at once", want: true, b: true, c: true},
		{name: "one is busy", slow: 40 * time.Millisecond, want: true, took: 80 * time.Millisecond, b: true, c: true}, // two messages the first time
		{name: "one hangs", slow: time.Hour, took: wait, b: true},
		{name: "one is dead", cut: true, b: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rack, syncers, memories := newFakeRack(3)
				rack.slow["c"] = tt.slow
				rack.cutOff("c", tt.cut)
				issue(t, syncers[0].purges, tag("x"))
				began := time.Now()
				got := syncers[0].Confirm(t.Context(), wait)
				if took := time.Since(began); got != tt.want || took != tt.took {
					t.Errorf("Confirm = %v after %v, want %v after %v", got, took, tt.want, tt.took)
				}
				for i, want := range []bool{tt.b, tt.c} {
					if applied := slices.Equal(memories[i+1].applied, []string{"tag:x"}); applied != want {
						t.Errorf("board %c applied %v", 'b'+i, memories[i+1].applied)
					}
				}
			})
		})
	}
}

func TestConfirmOfALoneBoard(t *testing.T) {
	_, syncers, _ := newFakeRack(1)
	issue(t, syncers[0].purges, tag("x"))
	if !syncers[0].Confirm(t.Context(), time.Hour) {
		t.Error("a lone board waits for others")
	}
}

// Many concurrent unsafe requests cost few messages per board, and none waits
// for all the others.
func TestConcurrentConfirmsShareExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rack, syncers, memories := newFakeRack(3)
		rack.slow["b"], rack.slow["c"] = 5*time.Millisecond, 5*time.Millisecond
		var crowd sync.WaitGroup
		for n := range 100 {
			crowd.Go(func() {
				if err := syncers[0].Issue(tag(fmt.Sprint(n))); err != nil {
					t.Error(err)
				}
				if !syncers[0].Confirm(t.Context(), 250*time.Millisecond) {
					t.Errorf("the purge of %d was not confirmed", n)
				}
			})
		}
		crowd.Wait()
		if rack.sent > 8 {
			t.Errorf("100 purges cost %d messages", rack.sent)
		}
		for _, m := range memories[1:] {
			if len(m.applied) != 100 {
				t.Errorf("a board applied %d purges, want 100", len(m.applied))
			}
		}
	})
}
