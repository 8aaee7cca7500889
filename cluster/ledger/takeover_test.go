package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/cluster/ledger"
)

// A copy of b1's card, made while b1 ran, goes into b2, whose card is lost. With b3, which
// lacks the last orders, the copy takes b1's life over. b1 keeps what the rack had
// acknowledged, the rack stops, and an operator makes b1's log the rack's.
func TestACopyThatTakesALifeOver(t *testing.T) {
	skipIfShort(t)
	for _, c := range []struct {
		name  string
		order []string // in which the boards start; b1 may have run throughout
		sells bool     // the first two take an order before the third starts
	}{
		{"the copy first", []string{"b2", "b3", "b1"}, true},
		{"the copy second", []string{"b3", "b2", "b1"}, true},
		{"the copy last", []string{"b1", "b3", "b2"}, false},
		{"beside the running board", []string{"b2", "b3"}, false},
		{"after the running board and b3", []string{"b3", "b2"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			testTakeover(t, c.order, c.sells)
		})
	}
}

func testTakeover(t *testing.T, order []string, sells bool) {
	r := newVotingRack(t, 3)
	r.submit(r.board("b1"), "order 0")
	r.awaitSameNotes()
	r.kill("b3")
	image := filepath.Join(t.TempDir(), "image")
	copyDirectory(t, image, r.directory("b1"))
	want := append([]string{"order 0"}, r.submitOrders("b1", 5)...)
	r.awaitSameNotes()
	r.kill("b2")
	r.wipe("b2")
	copyDirectory(t, r.directory("b2"), image)
	if len(order) == 3 {
		r.kill("b1")
	}
	for i, name := range order {
		r.start(name)
		if sells && i == 1 {
			r.submit(r.board("b3"), "without them")
		}
	}
	attempt := 0
	r.until("the rack goes on, with an operator's help", func() bool {
		attempt++
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := r.board("b1").Submit(ctx, fmt.Appendf(nil, "after %d", attempt)); err == nil {
			return true
		}
		if p, err := r.board("b1").Recover(t.Context(), "b1"); err == nil {
			t.Log("recovered:", p)
			recovered := r.awaitRecovered("b1", p)
			r.until("the choice names what only b3 has", func() bool {
				choice, err := r.board("b1").PlanChoice(t.Context(), recovered)
				return err == nil && (!sells || slices.ContainsFunc(choice.SetAside, func(a ledger.AheadBoard) bool { return a.Board == "b3" && a.Entries > 0 }))
			})
			r.choose("b1", recovered)
		} else if !errors.Is(err, ledger.ErrRefused) {
			t.Fatal(err)
		}
		return false
	})
	r.voters(3)
	if notes := r.awaitSameNotes(); len(notes) <= len(want) || !slices.Equal(notes[:len(want)], want) {
		t.Errorf("the boards have %q, want %q and more", notes, want)
	}
}

// b's card goes back to a copy that has forgotten b's vote. With the old leader, which was
// off meanwhile, b elects a leader again. The terms differ, so it is noticed when a is back that
// each of a and the old leader has orders that the other lacks.
func TestACopyThatForgotItsVote(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r, old, a, b := newRackWithOrder(t)
	want := []string{"order 0"}
	r.kill(b)
	image := filepath.Join(t.TempDir(), "image")
	copyDirectory(t, image, r.directory(b))
	// A board that has heard of b's next start refuses the copy, which does not know of it. So old must be off by then.
	r.kill(old)
	r.start(b)
	want = append(want, r.submitOrders(a, 5)...)
	r.awaitSameNotes()
	r.kill(a, b)
	r.wipe(b)
	copyDirectory(t, r.directory(b), image)
	r.start(b, old)
	others := []string{want[0]}
	for i := range 5 {
		others = append(others, fmt.Sprintf("without them %d", i))
		r.submit(r.board(old), others[i+1])
	}
	r.start(a)
	for _, name := range []string{a, old} { // b begins a new life, and waits
		r.until(name+" knows it", func() bool { return r.board(name).Status().Kept != "" })
	}
	keeper, _, _ := strings.Cut(r.board(a).Status().Kept, " ") // the one that does not lead
	if keeper == old {
		want = others
	}
	r.chooseRecovered(keeper, r.recover(a, keeper))
	r.submit(r.board(keeper), "after")
	r.expectNotes(append(want, "after")...)
	r.voters(3)
}

// Two cards are put back older, and lead in a later term before the third board comes. All boards name that one, which has
// most, and it is not refused, whether the two took orders meanwhile or not. A card that has less is refused by that name,
// unless it took orders: then it says how many entries only each has.
func TestTwoCardsPutBackOlder(t *testing.T) {
	skipIfShort(t)
	for _, sells := range []bool{false, true} {
		t.Run(fmt.Sprintf("orders meanwhile: %t", sells), func(t *testing.T) {
			t.Parallel()
			r := newVotingRack(t, 3)
			r.submit(r.board("b1"), "first")
			r.awaitSameNotes()
			images := t.TempDir()
			r.kill("b2", "b3")
			for _, name := range []string{"b2", "b3"} {
				copyDirectory(t, filepath.Join(images, name), r.directory(name))
			}
			r.start("b2", "b3")
			want := append([]string{"first"}, r.submitOrders("b1", 8)...)
			r.awaitSameNotes()
			r.kill(r.names...)
			r.wipe("b2", "b3")
			for _, name := range []string{"b2", "b3"} {
				copyDirectory(t, r.directory(name), filepath.Join(images, name))
			}
			r.start("b2", "b3")
			r.leader()
			if sells {
				r.submit(r.board("b2"), "sold again")
			}
			r.awaitSameNotes()
			r.start("b1")
			r.until("all boards name b1", func() bool {
				b2, b3 := r.board("b2").Status().Trouble, r.board("b3").Status().Trouble
				return strings.Contains(r.board("b1").Status().Trouble, "recover b1") && r.board("b2").Status().Leader+r.board("b3").Status().Leader == "" && !strings.Contains(b2+b3, "recover b2") && !strings.Contains(b2+b3, "recover b3")
			})
			for _, name := range r.names {
				r.until(name+" names the one way out, and what it would drop", func() bool {
					text := r.board(name).Status().Trouble
					return strings.Contains(text, "1 of 3 voters can vote") && strings.Contains(text, "b2, b3. No board is missing") && !strings.Contains(text, "tart the") && !strings.Contains(text, "ledger found") &&
						strings.Contains(text, "The one way out: bramble ledger recover b1") && strings.Contains(text, "went apart") == sells && !strings.Contains(text, "nothing is lost")
				})
			}
			for _, name := range []string{"b2", "b3"} {
				if r.board(name).Status().LastEntry == 0 {
					continue // it began a new life
				}
				p, err := r.board(name).PlanRecovery(t.Context(), name)
				if !sells && (!errors.Is(err, ledger.ErrRefused) || !strings.Contains(err.Error(), "recover b1")) {
					t.Errorf("recover %s: %+v, %v", name, p, err)
				}
				if sells && (err != nil || len(p.Ahead) < 2 || p.Ahead[0].Board != "b1" || p.Ahead[0].Entries < 8 || p.Ahead[1].Entries < 1) {
					t.Errorf("recover %s: %+v, %v", name, p, err)
				}
			}
			r.chooseRecovered("b1", r.recover("b1", "b1"))
			r.submitUntilOpen("b3", "after")
			r.expectNotes(append(want, "after")...)
		})
	}
}

// New cards beside an older copy of b3's card saw that one start. Then b3's own card is back, with every order: after
// one recovery the new cards follow it, though they have seen a start of b3 that it lacks.
func TestARecoveredBoardIsAcceptedByAll(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newVotingRack(t, 3)
	r.submit(r.board("b1"), "first")
	r.awaitSameNotes()
	images := t.TempDir()
	r.kill("b3")
	copyDirectory(t, filepath.Join(images, "older"), r.directory("b3"))
	r.start("b3")
	r.voters(3)
	want := append([]string{"first"}, r.submitOrders("b1", 5)...)
	r.awaitSameNotes()
	r.kill(r.names...)
	copyDirectory(t, filepath.Join(images, "newest"), r.directory("b3"))
	r.wipe(r.names...)
	copyDirectory(t, r.directory("b3"), filepath.Join(images, "older"))
	r.start(r.names...)
	for _, name := range []string{"b1", "b2"} {
		r.until(name+" knows of the older copy", func() bool { return strings.Contains(r.board(name).Status().Trouble, "recover b3") })
	}
	r.kill("b3")
	r.wipe("b3")
	copyDirectory(t, r.directory("b3"), filepath.Join(images, "newest"))
	r.start("b3")
	r.until("b3 is told", func() bool { return len(r.board("b3").Status().Voters) == 3 && r.board("b3").Status().Trouble != "" })
	r.recover("b1", "b3")
	r.submitUntilOpen("b3", "after")
	r.expectNotes(append(want, "after")...)
	r.voters(3)
}
