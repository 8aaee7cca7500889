package origin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func used(p permits) int {
	_, n, _ := p.Counts()
	return n
}

func waiting(p permits) int {
	_, _, n := p.Counts()
	return n
}

func TestPermitsAreGrantedInOrderWithinTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPermits(0)
		var order []int
		began := make(chan int)
		leave := make(chan struct{})
		p.SetLimit(2)
		for i := range 6 {
			go func() {
				if err := p.acquire(t.Context(), time.Hour, false); err != nil {
					t.Error(err)
				}
				began <- i
				<-leave
				p.release()
			}()
			synctest.Wait()
		}
		next := func() { order = append(order, <-began) }
		next()
		next()
		synctest.Wait()
		if used(p) != 2 || waiting(p) != 4 {
			t.Errorf("%d in, %d waiting; want 2 and 4", used(p), waiting(p))
		}
		p.SetLimit(1)
		leave <- struct{}{}
		synctest.Wait()
		if used(p) != 1 || waiting(p) != 4 {
			t.Errorf("with the limit lowered: %d in, %d waiting; want 1 and 4", used(p), waiting(p))
		}
		p.SetLimit(3)
		next()
		next()
		for range 5 {
			leave <- struct{}{}
			synctest.Wait()
			if len(order) < 6 {
				next()
			}
		}
		if used(p) != 0 || waiting(p) != 0 {
			t.Errorf("at the end %d in, %d waiting", used(p), waiting(p))
		}
		slices.Sort(order[:2]) // the two that were granted at once
		slices.Sort(order[2:4])
		if !slices.Equal(order, []int{0, 1, 2, 3, 4, 5}) {
			t.Errorf("the order was %v", order)
		}
	})
}

func TestWaitingForAPermitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPermits(0)
		began := time.Now()
		if err := p.acquire(t.Context(), 3*time.Second, false); !errors.Is(err, ErrBusy) || time.Since(began) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.acquire(ctx, time.Hour, false); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		for range maxQueue {
			go p.acquire(t.Context(), time.Minute, false)
		}
		synctest.Wait()
		began = time.Now()
		if err := p.acquire(t.Context(), time.Hour, false); !errors.Is(err, ErrBusy) || time.Since(began) != 0 {
			t.Errorf("beyond the queue's limit, after %v: %v", time.Since(began), err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if waiting(p) != 0 {
			t.Errorf("%d are still waiting", waiting(p))
		}
		p.SetLimit(1)
		if err := p.acquire(t.Context(), 0, false); err != nil {
			t.Errorf("a free permit: %v", err)
		}
	})
}

func TestUrgentAcquireGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPermits(0)
		got := make(chan string, 2)
		for _, name := range []string{"page", "probe"} {
			go func() {
				if p.acquire(t.Context(), time.Hour, name == "probe") == nil {
					got <- name
				}
			}()
			synctest.Wait()
		}
		p.SetLimit(1)
		if first := <-got; first != "probe" {
			t.Errorf("first came the %s", first)
		}
		p.release()
		<-got
	})
}

func rackOf(names string, dead string) []RackMember {
	var boards []RackMember
	for _, name := range names {
		boards = append(boards, RackMember{string(name), !slices.Contains([]rune(dead), name)})
	}
	return boards
}

func TestDividePermits(t *testing.T) {
	tests := []struct {
		total        int
		boards, dead string
		own          string // for each board in order
		holders      string // for the first board
	}{
		{8, "a", "", "8", ""},
		{8, "abc", "", "332", "bc"},
		{8, "abcde", "", "22211", "bcde"},
		{8, "abcde", "bc", "22211", "de"}, // the dead keep their part
		{8, "abcdefghij", "", "1111111100", "bcdefgh"},
		{1, "ab", "", "10", ""},
		{1, "ab", "a", "10", ""},         // half is not a majority: a may be alive
		{1, "abc", "a", "010", "b"},      // two of three divide it again
		{2, "abcde", "abc", "00000", ""}, // the smaller side has none
		{10, "abc", "", "433", "bc"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d among %s without %s", tt.total, tt.boards, tt.dead), func(t *testing.T) {
			boards := rackOf(tt.boards, tt.dead)
			got := ""
			for _, b := range boards {
				own, _ := dividePermits(tt.total, boards, b.Name)
				got += fmt.Sprint(own)
			}
			_, holders := dividePermits(tt.total, boards, "a")
			if got != tt.own || fmt.Sprint(holders) != fmt.Sprint(names(tt.holders)) {
				t.Errorf("parts %s, holders for a %v; want %s, %s", got, holders, tt.own, tt.holders)
			}
		})
	}
}

func names(s string) []string {
	var list []string
	for _, c := range s {
		list = append(list, string(c))
	}
	return list
}

// Whatever part of the rack each board knows, as long as the boards that take
// permits know each other: together they never take more than the total.
func TestUnequalMemberListsNeverExceedTheTotal(t *testing.T) {
	const all = "abcdefg"
	for total := 1; total <= 20; total++ {
		for small := range 1 << len(all) {
			for big := range 1 << len(all) {
				if small&^big != 0 || small == 0 {
					continue
				}
				var few, many []RackMember
				for i, c := range all {
					if small&(1<<i) != 0 {
						few = append(few, RackMember{string(c), true})
					}
					if big&(1<<i) != 0 {
						many = append(many, RackMember{string(c), true})
					}
				}
				sum := 0
				for i, b := range few {
					known := few
					if i%2 == 1 {
						known = many
					}
					own, _ := dividePermits(total, known, b.Name)
					sum += own
				}
				if sum > total {
					t.Fatalf("%d permits: %v and %v take %d", total, few, many, sum)
				}
			}
		}
	}
}

func TestRackStability(t *testing.T) {
	var s rackStability
	now := time.Unix(0, 0)
	if s.observe(rackOf("a", ""), now) {
		t.Error("stable at once")
	}
	if now = now.Add(RebalanceDelay); !s.observe(rackOf("a", ""), now) {
		t.Error("not stable")
	}
	if s.observe(rackOf("ab", ""), now) {
		t.Error("stable with a new board")
	}
	if now = now.Add(RebalanceDelay - 1); s.observe(rackOf("ab", ""), now) {
		t.Error("stable too early")
	}
	if s.observe(rackOf("ab", "b"), now.Add(1)) {
		t.Error("stable with a board that died")
	}
}
