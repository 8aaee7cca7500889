package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/cluster/ledger"
)

// writerLoad runs writers that submit numbered commands to boards until stopWriters, and
// remembers what became of each.
type writerLoad struct {
	mu           sync.Mutex
	committed    map[string]uint64 // acknowledged, with the index
	notCommitted map[string]bool   // not committed
	uncertain    map[string]bool

	stop chan struct{}
	all  sync.WaitGroup
}

func (r *rack) load(writers int, patience time.Duration, boards ...string) *writerLoad {
	ld := &writerLoad{committed: map[string]uint64{}, notCommitted: map[string]bool{}, uncertain: map[string]bool{}, stop: make(chan struct{})}
	for w := range writers {
		ld.all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-ld.stop:
					return
				default:
				}
				b := r.board(boards[(w+i)%len(boards)])
				if b == nil {
					time.Sleep(5 * time.Millisecond)
					continue
				}
				text := fmt.Sprintf("w%d-%d", w, i)
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				_, index, err := b.Submit(ctx, []byte(text))
				cancel()
				ld.mu.Lock()
				switch {
				case err == nil:
					ld.committed[text] = index
				case errors.Is(err, ledger.ErrUncertain):
					ld.uncertain[text] = true
				default:
					ld.notCommitted[text] = true
				}
				ld.mu.Unlock()
				if err != nil {
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	return ld
}

func (w *writerLoad) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.committed)
}

func (w *writerLoad) stopWriters() {
	close(w.stop)
	w.all.Wait()
}

// awaitAcknowledged waits until n more commands are acknowledged.
func (r *rack) awaitAcknowledged(ld *writerLoad, n int) {
	r.t.Helper()
	want := ld.count() + n
	r.until(fmt.Sprintf("%d more commands are committed", n), func() bool { return ld.count() >= want })
}

// verify compares the acknowledged commands with those that all boards applied.
func (r *rack) verify(ld *writerLoad) {
	r.t.Helper()
	r.submit(r.running()[0], "last")
	r.awaitSameNotes()
	times := map[string]int{}
	at := map[string]uint64{}
	index := uint64(0)
	for _, n := range r.running()[0].diary.Notes() {
		times[n.Text]++
		at[n.Text] = n.Index
		if n.Index < index {
			r.t.Errorf("index %d after %d", n.Index, index)
		}
		index = n.Index
	}
	for text, i := range ld.committed {
		if times[text] != 1 || at[text] != i {
			r.t.Errorf("%s was acknowledged at %d, is there %d times, at %d", text, i, times[text], at[text])
		}
	}
	for text := range ld.notCommitted {
		if times[text] != 0 {
			r.t.Errorf("%s was reported as not committed, and is there", text)
		}
	}
	for text := range ld.uncertain {
		if times[text] > 1 {
			r.t.Errorf("%s is there %d times", text, times[text])
		}
	}
	r.t.Logf("%d committed, %d not committed, %d uncertain", len(ld.committed), len(ld.notCommitted), len(ld.uncertain))
}

func TestLeaderKilledUnderLoad(t *testing.T) {
	skipIfShort(t)
	r := newVotingRack(t, 3)
	ld := r.load(12, 5*time.Second, r.names...)
	for range 3 {
		r.awaitAcknowledged(ld, 50)
		b := r.leader()
		r.kill(b.name)
		r.awaitAcknowledged(ld, 50)
		r.start(b.name)
	}
	r.awaitAcknowledged(ld, 50)
	ld.stopWriters()
	r.verify(ld)
}

func TestLostAnswersAndPartitions(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 5)
	r.start(r.names...)
	r.voters(3)
	for _, a := range r.names {
		for _, b := range r.names {
			r.net.DropCalls(a, b, 0.1)
		}
	}
	ld := r.load(12, 800*time.Millisecond, r.names...)
	r.awaitAcknowledged(ld, 100)
	for i := range 3 {
		led := r.leader()
		var others []string
		for _, n := range r.names {
			if n != led.name {
				others = append(others, n)
			}
		}
		switch i {
		case 0: // the leader is alone
			r.net.Partition([]string{led.name}, others)
		case 1: // the leader can receive, but not send
			for _, o := range others {
				r.net.Cut(led.name, o)
			}
		case 2: // the leader is with one more board
			r.net.Partition([]string{led.name, others[0]}, others[1:])
		}
		time.Sleep(time.Second)
		r.net.Heal()
		r.awaitAcknowledged(ld, 50)
	}
	ld.stopWriters()
	r.verify(ld)
}

func TestAllBoardsStopAtOnce(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	r.start(r.names...)
	ld := r.load(8, 2*time.Second, r.names...)
	for range 3 {
		r.awaitAcknowledged(ld, 60)
		r.kill(r.names...)
		r.start(r.names...)
	}
	r.awaitAcknowledged(ld, 20)
	ld.stopWriters()
	r.verify(ld)
}

// Every command that is acknowledged before the boards' directories are copied, one
// after the other under load, is in every majority of the copies. The board that joins last was
// copied first: with a later copy it would have what the others lack, and stop them (mark_test.go).
func TestDirectoriesCopiedUnderLoad(t *testing.T) {
	skipIfShort(t)
	r := newVotingRack(t, 3)
	ld := r.load(8, 2*time.Second, r.names...)
	r.awaitAcknowledged(ld, 100)
	ld.mu.Lock()
	before := make(map[string]uint64)
	for k, v := range ld.committed {
		before[k] = v
	}
	ld.mu.Unlock()
	copied := newRack(t, 3)
	for _, n := range []string{"b3", "b1", "b2"} {
		copyDirectory(t, copied.directory(n), r.directory(n))
	}
	ld.stopWriters()
	r.stopAll()
	copied.start("b1", "b2")
	copied.submit(copied.board("b2"), "after")
	texts := copied.awaitSameNotes()
	for text := range before {
		if !slices.Contains(texts, text) {
			t.Errorf("%s was acknowledged and is lost", text)
		}
	}
	copied.start("b3")
	copied.awaitSameNotes()
}

func TestTwoHalvesStartedApartFoundOneLedger(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 4)
	r.net.Partition(r.names[:2], r.names[2:])
	r.start(r.names...)
	time.Sleep(time.Second)
	for _, b := range r.running() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		if _, _, err := b.Submit(ctx, []byte("x")); !errors.Is(err, ledger.ErrNotFounded) {
			t.Errorf("half a rack: %v", err)
		}
		cancel()
	}
	r.net.Heal()
	r.submit(r.board("b1"), "together")
	r.awaitSameNotes()
}

func TestTwoLedgersThatMeetTakeNothing(t *testing.T) {
	skipIfShort(t)
	r := newTwoLedgers(t)
	r.net.Heal()
	r.until("both notice", func() bool {
		for _, b := range r.running() {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			_, _, err := b.Submit(ctx, []byte("x"))
			cancel()
			if !errors.Is(err, ledger.ErrTwoLedgers) {
				return false
			}
		}
		return true
	})
}

func TestMoreBoardsThanPlannedFoundNothing(t *testing.T) {
	r := newRack(t, 3)
	r.planned = 2
	for i, n := range r.names {
		r.net.Partition(r.names[i:i+1], r.names[i+1:])
		r.start(n)
	}
	r.net.Heal()
	r.until("all refuse", func() bool {
		for _, b := range r.running() {
			if s := b.Status(); s.Founded || !strings.Contains(s.Trouble, "set [rack] expected_boards to at least 3") {
				return false
			}
		}
		return true
	})
}

// With a store of 200 ms per sync and load, the leader stays. If the operating system
// paused the whole process for half a lease meanwhile, the result does not show anything about
// the store; then the test tries again.
func TestSlowStoreDoesNotFlap(t *testing.T) {
	skipIfShort(t)
	const tries = 6
	for range tries {
		changed, stood := slowStore(t)
		if !changed {
			return
		}
		if limit := ledger.DefaultTiming().Lease / 2; stood < limit {
			t.Fatalf("another leader, and the longest pause of this process was %v", stood)
		}
		t.Logf("another leader after the machine had halted this process for %v; once more", stood)
	}
	t.Fatalf("the operating system paused the process for half a lease in each of %d tries", tries)
}

// slowStore runs a rack with slow cards under load for ten seconds. It returns whether
// the leader changed, and the longest time for which this process did not run.
func slowStore(t *testing.T) (changed bool, stood time.Duration) {
	r := newRack(t, 3)
	defer r.stopAll()
	r.slow = 200 * time.Millisecond
	r.timing = ledger.DefaultTiming()
	r.timing.Survey, r.timing.FoundingWait = 200*time.Millisecond, time.Second
	r.start(r.names...)
	r.voters(3)
	r.submit(r.leader(), "first")
	r.awaitSameNotes() // in the first election, a second candidate may still replace a leader that won
	halts := watchHalts()
	term := r.leader().Status().Term
	ld := r.load(64, 10*time.Second, r.names...)
	r.awaitAcknowledged(ld, 700)
	ld.stopWriters()
	changed = r.leader().Status().Term != term
	stood = halts()
	if len(ld.notCommitted)+len(ld.uncertain) > 0 && !changed {
		t.Errorf("%d not committed, %d uncertain", len(ld.notCommitted), len(ld.uncertain))
	}
	r.verify(ld)
	return changed, stood
}

// watchHalts measures how long this process does not run. The function that it returns
// ends that, and returns the longest time.
func watchHalts() (end func() time.Duration) {
	const look = 5 * time.Millisecond
	stop, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		var most time.Duration
		for last := time.Now(); ; {
			select {
			case <-stop:
				longest <- most
				return
			case <-time.After(look):
			}
			now := time.Now()
			most, last = max(most, now.Sub(last)-look), now
		}
	}()
	return func() time.Duration { close(stop); return <-longest }
}

func TestADeadVoterIsReplacedAndReturns(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	r := newRack(t, 4)
	r.start(r.names...)
	r.until("three voters, one follower", func() bool {
		s := r.leader().Status()
		return len(s.Voters) == 3 && len(s.Nonvoters) == 1
	})
	var dead string
	for _, n := range r.leader().Status().Voters {
		if n != r.leader().name {
			dead = n
		}
	}
	r.kill(dead)
	r.until("it is replaced", func() bool {
		s := r.leader().Status()
		return len(s.Voters) == 3 && !slices.Contains(s.Voters, dead)
	})
	r.submit(r.leader(), "meanwhile")
	r.start(dead)
	r.awaitSameNotes()
	r.until("it is a member", func() bool { // a voter, if it has replaced another silent one
		s := r.leader().Status()
		return slices.Contains(s.Nonvoters, dead) || slices.Contains(s.Voters, dead)
	})
}
