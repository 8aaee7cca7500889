package ledger_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"bramble/cluster/ledger"
)

const day = 24 * time.Hour

// clockTolerance is less than half the smallest difference between two clocks in these tests, and longer than any
// wait in them. A busy machine may pause a test between the commit of a time and its reading.
const clockTolerance = time.Minute

// wall returns a board's own clock, without its monotonic part.
func (r *rack) wall(name string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Round(0).Add(r.skew[name])
}

func (r *rack) timeServers(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.servers[name]
}

// setClocks sets the boards' own clocks by their difference to the real time.
func (r *rack) setClocks(skew time.Duration, names ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		r.skew[name] = skew
	}
}

// ahead returns how far a board's ledger clock is ahead of the real time.
func (b *board) ahead() time.Duration {
	now, _ := b.Now()
	return time.Until(now)
}

// shows reports whether all boards know the ledger's clock, and it is ahead of the real
// time by this much, within clockTolerance.
func (r *rack) shows(ahead time.Duration) func() bool {
	return func() bool {
		for _, b := range r.running() {
			if _, known := b.Now(); !known || (b.ahead()-ahead).Abs() > clockTolerance {
				return false
			}
		}
		return len(r.running()) > 0
	}
}

// held reports whether all boards report that the clock is held for this reason.
func (r *rack) held(why string) func() bool {
	return func() bool {
		for _, b := range r.running() {
			if c := b.Status().Clock; !strings.Contains(c.Held, why) || (c.Held == "") != (why == "") {
				return false
			}
		}
		return len(r.running()) > 0
	}
}

// lastAt returns the time of the last command.
func (b *board) lastAt() time.Time {
	notes := b.diary.Notes()
	return notes[len(notes)-1].At
}

// setClock sets the ledger's clock ahead of the real time, and returns when the board has applied the command. The
// command's text is unique in a test.
func (r *rack) setClock(name string, ahead time.Duration, command string) {
	r.t.Helper()
	r.setClockUntilKnown(name, func() time.Time { return time.Now().Add(ahead) }, command)
}

// confirmClock confirms the ledger's clock, like setClock.
func (r *rack) confirmClock(name, command string) {
	r.t.Helper()
	r.setClockUntilKnown(name, func() time.Time { return time.Time{} }, command)
}

// setClockUntilKnown repeats the command until it is committed. After an uncertain outcome it commits another command:
// this board has applied the first one before that, or never will. A second commit of the first could confirm it.
func (r *rack) setClockUntilKnown(name string, to func() time.Time, command string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		b := r.board(name)
		_, index, err := b.SetClock(ctx, to(), []byte(command))
		if errors.Is(err, ledger.ErrUncertain) && ctx.Err() == nil {
			index, err = r.submit(b, "the outcome of: "+command), nil
		}
		if err == nil {
			err = b.Wait(ctx, index)
		}
		if err != nil {
			r.t.Fatalf("%s, by %s: %v", command, name, err)
		}
		if slices.Contains(b.texts(), command) {
			return
		}
	}
}

func TestTheClockFollowsTheMedianOfTheBoards(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	r.setClocks(2*time.Hour, "b1")
	r.start(r.names...)
	r.until("the clock of the two", r.shows(0))
	r.until("no hold", r.held(""))
	// Each board leads once, and the wrong one for 400 days.
	for _, name := range r.names {
		r.setClocks(400*day, name)
		for r.leader().name != name {
			led := r.leader().name
			r.kill(led)
			r.leader()
			r.start(led)
			r.until("it is back", r.shows(0))
			r.submit(r.board(led), "x")
		}
		r.submit(r.board(name), "led by a wrong clock")
		time.Sleep(5 * r.timing.Survey)
		r.awaitSameNotes()
		if at := r.leader().lastAt(); time.Until(at).Abs() > clockTolerance || !r.shows(0)() {
			t.Errorf("%s is wrong: stamp %v", name, at)
		}
		r.setClocks(0, r.names...)
	}
	if c := r.leader().Status().Clock; !c.Trusted {
		t.Errorf("not trusted: %+v", c)
	}
}

func TestClocksThatDifferHoldTheLedgers(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 2)
	r.start(r.names...)
	r.until("the clock is known", r.shows(0))
	r.submit(r.board("b1"), "before")
	r.setClocks(2*time.Hour, "b2")
	r.until("the clock is held", r.held("the boards' clocks differ"))
	r.submit(r.board("b2"), "while held")
	if !r.shows(0)() || r.leader().Status().Clock.Trusted {
		t.Errorf("%+v", r.leader().Status().Clock)
	}
	// An operator confirms that it is right.
	r.confirmClock("b1", "confirmed")
	r.until("it is trusted", func() bool { c := r.leader().Status().Clock; return c.Trusted && c.Held != "" })
	r.setClocks(2*time.Hour, "b1")
	r.until("two hours later, as both agree", r.shows(2*time.Hour))
	r.submit(r.board("b1"), "later")
	for _, b := range r.running() {
		if c := b.Status().Clock; c.Trusted || time.Until(c.WaitUntil)-2*time.Hour < 9*time.Minute || c.MustConfirm {
			t.Errorf("%s: what cannot be undone does not wait: %+v", b.name, c)
		}
	}
	// Back, by an operator: at once, on all boards, and no stamp after it is from before.
	r.setClocks(0, r.names...)
	r.until("the clock is held", r.held("ahead of the boards' clocks"))
	r.setClock("b1", 0, "set back")
	r.until("the clock is right", r.shows(0))
	r.until("no hold", r.held(""))
	r.submit(r.board("b2"), "after")
	r.awaitSameNotes()
	r.until("trusted, as it is not far from before the jump", func() bool {
		return !slices.ContainsFunc(r.running(), func(b *board) bool { return !b.Status().Clock.Trusted })
	})
	for _, b := range r.running() {
		if off := time.Until(b.lastAt()).Abs(); off > clockTolerance {
			t.Errorf("%s: the last stamp is off by %v", b.name, off)
		}
	}
	r.confirmClock("b1", "confirmed again") // at once before the next
	r.setClock("b1", time.Hour, "wrong")
	r.until("it stands", r.held("an operator set it"))
	r.until("every board has the hour that no clock has, and does not trust it", func() bool {
		return r.shows(time.Hour)() && !slices.ContainsFunc(r.running(), func(b *board) bool {
			c := b.Status().Clock
			return c.Trusted || !c.MustConfirm || !c.Override
		})
	})
	r.setClock("b2", 0, "a typing error")
	r.until("the clock is right", r.shows(0))
	r.until("no hold", r.held(""))
	r.until("nothing is left of the typing error", func() bool { c := r.leader().Status().Clock; return !c.MustConfirm && !c.Override })
	// Snapshots and restarts keep it.
	for _, b := range r.running() {
		r.compact(b)
	}
	r.kill(r.names...)
	r.start(r.names...)
	r.until("the clock is right", r.shows(0))
	r.submit(r.board("b2"), "after a restart")
	r.awaitSameNotes()
	if off := time.Until(r.leader().lastAt()).Abs(); off > clockTolerance {
		t.Errorf("after a restart the stamp is off by %v", off)
	}
}

// A board with a wrong clock that has caught up after a start shows the ledger's time.
func TestABoardThatHasCaughtUpKnowsTheClock(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	r.start(r.names...)
	r.until("the clock is known", r.shows(0))
	for range 3 {
		wrong := r.others(r.leader().name)[0]
		r.kill(wrong)
		r.setClocks(0, r.names...)
		r.setClocks(400*day, wrong)
		r.start(wrong)
		b := r.board(wrong)
		for b.Barrier(t.Context()) != nil {
			time.Sleep(time.Millisecond)
		}
		if now, known := b.Now(); !known || time.Until(now).Abs() > clockTolerance {
			t.Errorf("known: %t, ahead %v", known, time.Until(now))
		}
	}
}

func TestTheLedgerGoesOnAfterANight(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	r.setClocks(-10*time.Hour, r.names...)
	r.start(r.names...)
	r.until("the clock is known", r.shows(-10*time.Hour))
	r.submit(r.board("b1"), "in the evening")
	r.kill(r.names...)
	r.setClocks(0, "b1", "b2")
	r.start(r.names...)
	r.submit(r.board("b3"), "in the morning")
	r.awaitSameNotes()
	if at := r.leader().lastAt(); time.Until(at).Abs() > clockTolerance {
		t.Errorf("the first stamp of the morning is %v", at)
	}
	r.until("the clock is right", r.shows(0))
	r.until("it waits after a step", func() bool {
		c := r.leader().Status().Clock
		return !c.Trusted && !c.WaitUntil.IsZero() && !c.MustConfirm
	})
	// The next leader waits too, also one that has it from a snapshot.
	led := r.leader().name
	for _, b := range r.running() {
		r.compact(b)
	}
	r.kill(led)
	r.start(led)
	r.submit(r.board(led), "under another leader")
	r.until("the next leader waits too", func() bool { c := r.leader().Status().Clock; return !c.Trusted && !c.WaitUntil.IsZero() })
}

func TestALedgerOf2028StandsUntilItIsSet(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 1)
	r.setClocks(700*day, "b1")
	r.start("b1")
	r.submit(r.board("b1"), "in a wrong year")
	r.kill("b1")
	r.setClocks(0, "b1")
	r.start("b1")
	r.until("it is held", r.held("ahead of the boards' clocks"))
	r.submit(r.board("b1"), "still taken")
	report, err := r.board("b1").Clock(context.Background())
	if err != nil || len(report.Boards) != 1 || report.Boards[0].Ahead > -699*86400 || report.Trusted {
		t.Errorf("%+v, %v", report, err)
	}
	r.setClock("b1", 0, "set")
	for range 2 {
		r.until("the clock is right", r.shows(0))
		r.submit(r.board("b1"), "right again")
		if at := r.board("b1").lastAt(); time.Until(at).Abs() > clockTolerance {
			t.Errorf("stamped %v", at)
		}
		r.kill("b1")
		r.start("b1")
	}
}

func TestALoneBoardThatLeaps(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 1)
	r.start("b1")
	r.until("the clock is known", r.shows(0))
	r.submit(r.board("b1"), "before")
	r.setClocks(2*time.Hour, "b1")
	r.until("it is held", r.held("and no second board and not"))
	if !r.shows(0)() {
		t.Errorf("ahead %v", r.board("b1").ahead())
	}
	r.mu.Lock()
	r.servers["b1"] = 3
	r.mu.Unlock()
	r.until("several servers agree", r.shows(2*time.Hour))
	r.until("no hold", r.held(""))
	// A start a year later, by a clock of which nothing is known.
	r.kill("b1")
	r.mu.Lock()
	r.servers["b1"] = 0
	r.mu.Unlock()
	r.setClocks(400*day, "b1")
	r.start("b1")
	r.until("it is held", r.held("and no second board and not"))
	r.submit(r.board("b1"), "taken")
	if b := r.board("b1"); b.ahead() > 3*time.Hour {
		t.Errorf("ahead %v", b.ahead())
	}
	r.setClock("b1", 400*day, "it is true")
	r.until("a year later", r.shows(400*day))
	if c := r.board("b1").Status().Clock; c.Trusted || !c.MustConfirm {
		t.Errorf("a year needs no second command: %+v", c)
	}
	r.confirmClock("b1", "confirmed")
	r.until("trusted", func() bool { return r.board("b1").Status().Clock.Trusted })
}

func TestBoardsWithoutATime(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	unset := time.Until(time.Unix(100, 0))
	r.setClocks(unset, "b1", "b2")
	r.start(r.names...)
	r.until("the only time", r.shows(0))
	r.submit(r.board("b1"), "taken")
	r.until("held", r.held("only 1 of 2 boards"))
	r.setClocks(0, "b1")
	r.until("no hold", r.held(""))
}

func TestATypingErrorErasesNothing(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	r.setClocks(200*time.Second, "b1")
	r.setClocks(-200*time.Second, "b2")
	r.start(r.names...)
	r.until("it is held", r.held("the boards' clocks differ"))
	before := r.leader().ahead()
	r.setClock("b3", 365*day, "a wrong year")
	r.until("a year later", r.shows(365*day))
	r.until("no board trusts it", func() bool { // a board may learn the time before it applies the command
		return !slices.ContainsFunc(r.running(), func(b *board) bool { c := b.Status().Clock; return c.Trusted || !c.MustConfirm })
	})
	r.setClock("b3", before, "back")
	r.until("back", r.shows(before))
	r.until("trusted", func() bool { c := r.leader().Status().Clock; return c.Trusted && c.Override })
	r.setClocks(before, r.names...)
	r.until("it follows boards that agree with it", func() bool { return !r.leader().Status().Clock.Override })
	r.until("no hold", r.held(""))
}

func TestAnOperatorsWordStandsAgainstBoardsThatAreWrongAlike(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 1)
	r.setClocks(2*time.Hour, "b1")
	r.start("b1")
	r.until("two hours fast", r.shows(2*time.Hour))
	r.submit(r.board("b1"), "before")
	r.setClock("b1", 0, "my watch")
	for range 2 {
		r.until("it stands", r.held("an operator set it, and most boards say +2h"))
		r.submit(r.board("b1"), "after")
		c := r.board("b1").Status().Clock
		if r.board("b1").ahead().Abs() > time.Minute || !c.Trusted || !c.Override {
			t.Errorf("%v ahead, %+v", r.board("b1").ahead(), c)
		}
		r.compact(r.board("b1"))
		r.kill("b1")
		r.start("b1")
	}
	r.setClocks(0, "b1")
	r.until("the board is right", func() bool { return !r.board("b1").Status().Clock.Override })
	r.until("no hold", r.held(""))
}

func TestStepsAddUp(t *testing.T) {
	skipIfShort(t)
	r := newRack(t, 3)
	r.start(r.names...)
	r.until("the clock is known", r.shows(0))
	r.submit(r.board("b1"), "before")
	for n, skew := range []time.Duration{29 * day, 58 * day} {
		r.setClocks(skew, "b1", "b2")
		r.until("it follows the two", r.shows(skew))
		r.until("it is not trusted", func() bool { c := r.leader().Status().Clock; return !c.Trusted && c.MustConfirm == (n > 0) })
	}
}
