package orderservice

import (
	"os"
	"slices"
	"time"

	"bramble/node/orders"
)

// historyFault is a kind of fault of one board.
type historyFault int

// The kinds of faults, each with what happens to the board.
const (
	faultKill      historyFault = iota // it stops, and starts again
	faultPause                         // it is cut off, or its messages are slow
	faultPartition                     // it and another one are cut off from the rest
	faultClock                         // its clock steps, until a later fault of this kind
	faultWipe                          // it stops, and starts with an empty card
	faultRename                        // it stops, and starts under another name
	faultReplace                       // it stops for good, and a new board comes
	faultOutage                        // all boards stop, and it starts with an empty card beside one that lacks orders
	historyFaultEnd
)

func (h historyFault) String() string {
	return [...]string{"kill", "pause", "partition", "clock", "wipe", "rename", "replace", "outage"}[h]
}

// runFaults does each kind of fault once for each deck, in the order of the seed.
func (r *historyRack) runFaults(decks int) {
	for range decks {
		for _, kind := range r.random.Perm(int(historyFaultEnd)) {
			time.Sleep(r.draw(300, 800)) // in which orders can be placed with certainty
			r.doFault(historyFault(kind))
		}
	}
	for _, b := range r.boards {
		b.skew.Store(0)
	}
	time.Sleep(r.draw(500, 800))
}

// draw returns a time from one number of milliseconds to another.
func (r *historyRack) draw(from, to int) time.Duration {
	return time.Duration(from+r.random.IntN(to-from)) * time.Millisecond
}

// chance reports whether something that happens once in n times happens.
func (r *historyRack) chance(n int) bool { return r.random.IntN(n) == 0 }

// doFault does one fault, mostly with a second one at another board, and waits until the rack works
// again. At most one card is lost in that time.
func (r *historyRack) doFault(kind historyFault) {
	at := r.random.Perm(len(r.boards))
	victim, other := r.boards[at[0]], r.boards[at[1]]
	if led := r.leaderBoard(); led != nil && r.chance(3) {
		if led == other {
			other = victim
		}
		victim = led
	}
	second := [...]string{"", "killed", "cut off", "losing"}[r.random.IntN(4)]
	if kind == faultOutage {
		second = "cut off"
	}
	r.logf("%v: %s (leads: %t), %s %s", kind, victim.name, victim == r.leaderBoard(), other.name, second)
	switch second {
	case "killed":
		r.kill(other)
	case "cut off":
		r.net.Partition([]string{other.name}, r.namesWithout(other))
	case "losing":
		for _, n := range r.namesWithout(other) {
			r.net.DropCalls(other.name, n, 0.3)
			r.net.DropCalls(n, other.name, 0.3)
		}
	}
	if second != "" {
		time.Sleep(r.draw(1, 600))
	}
	stays := r.draw(200, 1200)
	switch kind {
	case faultPause:
		r.pauseBoard(victim)
	case faultPartition:
		r.net.Partition([]string{victim.name, other.name}, r.namesWithout(victim, other))
	case faultClock:
		r.stepClock(victim)
	case faultOutage:
		time.Sleep(stays) // in which orders are placed without the other board
		r.loseCardInOutage(victim, other)
	default:
		r.kill(victim)
		time.Sleep(stays)
		r.changeBoard(kind, victim)
		r.start(victim)
	}
	time.Sleep(stays)
	r.net.Heal()
	for _, b := range r.boards {
		if b.current() == nil {
			r.start(b)
		}
	}
	r.awaitHealthy()
	victim.lost = false
}

// loseCardInOutage stops all boards. One that lost its card starts first, with one that may lack
// orders: they must not begin without the boards that have them.
func (r *historyRack) loseCardInOutage(victim, behind *historyBoard) {
	r.killAll()
	r.net.Heal()
	r.changeBoard(faultWipe, victim)
	r.start(behind)
	r.start(victim)
	time.Sleep(6 * (r.timing.Heartbeat + r.timing.Election)) // several elections
}

// namesWithout returns the names of the boards without some.
func (r *historyRack) namesWithout(boards ...*historyBoard) []string {
	var names []string
	for _, b := range r.boards {
		if !slices.Contains(boards, b) {
			names = append(names, b.name)
		}
	}
	return names
}

// leaderBoard returns a board that leads, nil if none does.
func (r *historyRack) leaderBoard() *historyBoard {
	for _, b := range r.boards {
		if s := b.current(); s != nil && s.ledger.Status().Leading {
			return b
		}
	}
	return nil
}

// pauseBoard cuts a board off as a pause of its process does, or delays what it says.
func (r *historyRack) pauseBoard(b *historyBoard) {
	if r.chance(2) {
		r.net.Partition([]string{b.name}, r.namesWithout(b))
		return
	}
	for _, n := range r.namesWithout(b) {
		r.net.Delay(b.name, n, r.draw(20, 400))
		r.net.Delay(n, b.name, r.draw(20, 400))
	}
}

// stepClock sets the clock of one board wrong, and those of the others right. Every second time the
// board also starts with it.
func (r *historyRack) stepClock(b *historyBoard) {
	for _, each := range r.boards {
		each.skew.Store(0)
	}
	steps := [...]time.Duration{2 * time.Hour, -2 * time.Hour, 400 * historyDay, -400 * historyDay}
	step := steps[r.random.IntN(len(steps))]
	b.skew.Store(int64(step))
	r.logf("the clock of %s steps by %v", b.name, step)
	if r.chance(2) {
		r.kill(b)
		r.start(b)
	}
}

// changeBoard changes a board that is off.
func (r *historyRack) changeBoard(kind historyFault, b *historyBoard) {
	if kind == faultWipe || kind == faultReplace {
		if err := os.RemoveAll(b.dir); err != nil {
			r.t.Fatal(err)
		}
		b.dir, b.lost = r.newCard(), true
	}
	if kind == faultRename || kind == faultReplace {
		old := b.name
		b.name = r.freeName()
		r.logf("%s is %s now", old, b.name)
	}
	if kind == faultReplace {
		b.skew.Store(0)
	}
	if b.max < orders.MaxRules && r.chance(2) {
		b.max++
		r.logf("%s is upgraded to rules %d", b.name, b.max)
	}
}

// freeName returns a name that no board has now. A board that is gone may have had it.
func (r *historyRack) freeName() string {
	for {
		name := historyName(1 + r.random.IntN(2*r.size))
		if !slices.Contains(r.namesWithout(), name) {
			return name
		}
	}
}
