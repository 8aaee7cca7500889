package main

import (
	"slices"
	"time"
)

// scenario is a history that once went wrong. The seed disturbs only the network.
type scenario struct {
	name string
	run  func(*world)
}

var scenarios = []scenario{
	{"blank card grants the old one's vote", blankCardVotes},
	{"log cut back", logCutBack},
	{"lone board's card re-made", loneCard},
	{"two of three cards re-made", twoCards},
	{"joined, and nothing arrived", joinedBare},
	{"old leader cut off with a follower", oldLeader},
	{"voter that one board does not know yet", unknownVoter},
	{"leader suspended at a commit", suspendedLeader},
	{"older copy of a card put back", forgetful((*world).putBack)},
	{"synced end of the log gone", forgetful(func(w *world, s *site) { w.cutLog(s, 4, false) })},
	{"synced end of the log and its mark gone", endAndMark},
	{"power cut in a snapshot", cutInSnapshot},
	{"upgrades, and one board goes back", upgrades},
	{"all cards full, and free again", fullCards},
	{"all cards full, started, and free again", startedFull},
}

// begin starts a rack of n boards and waits until it has taken an order.
func (w *world) begin(n int) {
	w.build(n)
	for _, s := range w.sites {
		w.start(s)
	}
	w.mustOrder(w.sites[0])
	time.Sleep(3 * time.Second)
	w.look()
}

// mustOrder places an order that a board must take.
func (w *world) mustOrder(s *site) *order {
	for range 10 {
		if o, err := w.submit(s.run, 5*time.Second); err == nil {
			return o
		}
		time.Sleep(200 * time.Millisecond)
	}
	w.failf("%s takes no order: %s", s.name, w.describe())
	return &order{}
}

// wait lets the rack run.
func (w *world) wait(d time.Duration) {
	time.Sleep(d)
	w.look()
}

// killAll kills boards at once.
func (w *world) killAll(kind int, sites ...*site) {
	for _, s := range sites {
		w.kill(s, kind)
	}
}

// blankCardVotes: board A is paused while an order is taken, all are killed, B's card is
// re-made, and A and B start before C.
func blankCardVotes(w *world) {
	w.begin(3)
	a, b, c := w.sites[0], w.sites[1], w.sites[2]
	w.hold(a, true)
	w.wait(2 * time.Second)
	w.mustOrder(c)
	w.killAll(keepAll, a, b, c)
	w.hold(a, false)
	w.replaceCard(b, false)
	w.start(a)
	w.start(b)
	w.wait(3 * time.Second)
	w.start(c)
	w.wait(3 * time.Second)
	w.conclude()
}

// logCutBack: Z is killed, five orders are taken by X and Y, both are killed, Y's card is
// re-made, and Y and Z start before X.
func logCutBack(w *world) {
	w.begin(3)
	x, y, z := w.sites[0], w.sites[1], w.sites[2]
	w.kill(z, keepAll)
	for range 5 {
		w.mustOrder(x)
	}
	w.killAll(keepAll, x, y)
	w.replaceCard(y, false)
	w.start(y)
	w.start(z)
	w.wait(8 * time.Second)
	w.start(x)
	w.wait(8 * time.Second)
	w.conclude()
}

// loneCard: a rack of one whose card is re-made sells nothing again.
func loneCard(w *world) {
	w.begin(1)
	s := w.sites[0]
	w.kill(s, keepAll)
	w.replaceCard(s, true)
	w.start(s)
	w.wait(10 * time.Second)
	w.conclude()
}

// twoCards: two of three cards are re-made, and their boards start before the third.
func twoCards(w *world) {
	w.begin(3)
	w.killAll(keepAll, w.sites...)
	w.replaceCard(w.sites[1], false)
	w.replaceCard(w.sites[2], false)
	w.start(w.sites[1])
	w.start(w.sites[2])
	w.wait(10 * time.Second)
	w.start(w.sites[0])
	w.wait(5 * time.Second)
	w.conclude()
}

// joinedBare: a blank board has joined the ledger, and nothing has arrived there, when the
// other two lose their cards. An operator can found again.
func joinedBare(w *world) {
	w.begin(3)
	a, b, c := w.sites[0], w.sites[1], w.sites[2]
	w.kill(c, keepAll)
	w.replaceCard(c, false)
	for _, o := range w.sites[:2] {
		w.net.set(link{o.name, c.name}, func(l *linkState) { l.stalls = true })
	}
	w.start(c)
	if !w.await("it joins", func() bool { return c.run.Status().Founded }) {
		return
	}
	w.killAll(keepAll, w.sites...)
	w.net.heal()
	w.replaceCard(a, false)
	w.replaceCard(b, false)
	w.startInOrder(b, c, a)
	w.conclude()
}

func (w *world) startInOrder(sites ...*site) {
	for _, s := range sites {
		w.start(s)
		w.wait(3 * time.Second)
	}
}

// forgetful: board A forgets what it and C acknowledged, and starts with B, which lacks that:
// they must take nothing before C is back.
func forgetful(forget func(*world, *site)) func(*world) {
	return func(w *world) {
		a, b, c := w.beginForked(forget)
		for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			for _, s := range []*site{a, b} {
				if s.run == nil { // it opens its files again
					continue
				}
				if o, err := w.submit(s.run, time.Second); err == nil {
					w.failf("%s took %s without the board that has the last orders", s.name, o.text())
					return
				}
			}
		}
		w.start(c)
		w.wait(3 * time.Second)
		w.conclude()
	}
}

// beginForked starts a rack whose boards A and C alone have the last orders. A forgets them,
// and starts with B.
func (w *world) beginForked(forget func(*world, *site)) (a, b, c *site) {
	w.begin(3)
	a, b, c = w.sites[0], w.sites[1], w.sites[2]
	w.kill(a, keepAll)
	w.imageCard(a)
	w.start(a)
	w.mustOrder(a)
	w.await("the others know the start of A", func() bool { return w.isSeen(a) })
	w.hold(b, true)
	w.wait(3 * time.Second)
	w.mustOrder(c)
	w.mustOrder(c)
	w.wait(2 * time.Second)
	w.killAll(keepAll, a, b, c)
	w.hold(b, false)
	forget(w, a)
	w.start(a)
	w.start(b)
	return a, b, c
}

// endAndMark: A and B cannot know that anything is gone, and elect a leader. C knows that
// its last orders were acknowledged: the rack stops, and goes on from C by an operator's word.
func endAndMark(w *world) {
	_, _, c := w.beginForked(func(w *world, s *site) { w.cutLog(s, 4, true) })
	w.wait(5 * time.Second)
	w.start(c)
	if !w.await("C keeps what the leader lacks", func() bool { return c.run.Status().Kept != "" }) {
		return
	}
	w.wait(2 * time.Second)
	w.checkStopped()
	w.recover()
	w.conclude()
}

// cutInSnapshot: two boards drop their logs, and the power of one ends while it writes the
// snapshot. The third was away, and its power ends while it installs that.
func cutInSnapshot(w *world) {
	w.begin(3)
	a, b, c := w.sites[0], w.sites[1], w.sites[2]
	w.kill(c, keepAll)
	w.mustOrder(a)
	w.compact(a)
	w.wait(5 * time.Second)
	w.cutsPowerOf = b.run
	w.compact(b)
	w.await("its power ends", func() bool { return b.run == nil })
	w.start(b)
	go w.cutInstallation(c)
	w.start(c)
	w.wait(5 * time.Second)
	w.start(c) // if its power ended
	w.wait(3 * time.Second)
	w.conclude()
}

// upgrades: the rules rise under load when the last board has the newer program, and not
// before. A board that goes back then applies nothing; the others go on.
func upgrades(w *world) {
	w.begin(3)
	go w.runClient(w.sites[0])
	for i, s := range w.sites {
		w.upgrade(s, 2)
		w.wait(6 * time.Second)
		if got := w.mustOrder(s); (w.rulesAt[got.index] == 2) != (i == 2) {
			w.failf("%s is under rules %d, with %d of 3 boards upgraded", got.text(), w.rulesAt[got.index], i+1)
		}
	}
	old := w.sites[2]
	w.upgrade(old, 1)
	w.wait(3 * time.Second)
	w.mustOrder(w.sites[0])
	if s := old.run.Status(); s.Halted == "" {
		w.failf("a program that does not know the rules in force goes on: %+v", s)
	}
	w.conclude()
}

// suspendedLeader: the leader stands still just after it applied an order, the others go on,
// and it answers nothing old when it goes on: five times, for longer and longer.
func suspendedLeader(w *world) {
	w.begin(3)
	for i := range 5 {
		if !w.await("a board leads", func() bool { return w.leader() != nil }) {
			return
		}
		old := w.leader()
		other := w.sites[(slices.Index(w.sites, old)+1)%3]
		w.suspendsAtCommit = old.run
		answered := make(chan struct{})
		go func() {
			w.submit(old.run, 20*time.Second)
			close(answered)
		}()
		if !w.await("it is suspended", func() bool { return old.run.isSuspended != 0 }) {
			return
		}
		time.Sleep(time.Duration(i*i) * 500 * time.Millisecond)
		if i >= 3 { // long enough for another leader
			w.mustOrder(other)
		}
		w.resume(old.run)
		w.read(old.run)
		<-answered
		w.mustOrder(old)
	}
	w.conclude()
}

// oldLeader: the leader and a board without a vote are cut off. Reads there never miss what
// the others acknowledge meanwhile.
func oldLeader(w *world) {
	w.begin(4)
	w.wait(5 * time.Second)
	leader, voters, others := w.roles()
	if leader == nil {
		return
	}
	follower := others[0]
	for _, s := range voters {
		for _, old := range []*site{leader, follower} {
			for _, l := range []link{{s.name, old.name}, {old.name, s.name}} {
				w.net.set(l, func(l *linkState) { l.isCut = true })
			}
		}
	}
	go func() {
		for !w.isEnding {
			w.clients.Add(1)
			w.read(follower.run)
			w.clients.Done()
			time.Sleep(20 * time.Millisecond)
		}
	}()
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		w.submit(voters[0].run, time.Second)
	}
	w.conclude()
}

// roles returns the board that leads, the other voters and the boards without a vote.
func (w *world) roles() (leader *site, voters, others []*site) {
	if !w.await("a board leads", func() bool {
		leader = w.leader()
		return leader != nil
	}) {
		return nil, nil, nil
	}
	for _, s := range w.sites {
		switch {
		case s == leader:
		case slices.Contains(leader.run.Status().Voters, s.name):
			voters = append(voters, s)
		default:
			others = append(others, s)
		}
	}
	return leader, voters, others
}

// unknownVoter: a voter lags when another board is promoted in its place. The leader dies
// before it has demoted the one that lags. The promoted board has the longest log, so it
// alone can win, and it needs the vote of the board that does not know it as a voter.
func unknownVoter(w *world) {
	w.begin(4)
	w.wait(5 * time.Second)
	leader, voters, others := w.roles()
	if leader == nil {
		return
	}
	current, lagging, promoted := voters[0], voters[1], others[0]
	cut := func(a, b *site) {
		for _, l := range []link{{a.name, b.name}, {b.name, a.name}} {
			w.net.set(l, func(l *linkState) { l.isCut = true })
		}
	}
	for _, s := range w.sites {
		if s != lagging {
			cut(lagging, s)
		}
	}
	if !w.await("a board is promoted", func() bool { return len(leader.run.Status().Voters) == 4 }) {
		return
	}
	cut(leader, current)
	w.submit(leader.run, 500*time.Millisecond) // it reaches the promoted board alone
	w.kill(leader, keepAll)
	w.net.heal()
	w.wait(3 * time.Second)
	w.mustOrder(promoted)
	w.conclude()
}
