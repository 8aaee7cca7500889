package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"time"
)

// runRandom lets the seed disturb a rack under load.
func (w *world) runRandom() {
	n := []int{1, 2, 3, 3, 3, 3, 4, 5}[w.rng.IntN(8)]
	w.slow = time.Duration(w.rng.IntN(30)) * time.Millisecond
	w.pace = 300 + w.rng.IntN(1500)
	w.build(n)
	w.shuffleSites(func(s *site) {
		w.start(s)
		w.pause(3 * time.Second)
	})
	for _, s := range w.sites {
		go w.runClient(s)
		go w.runClient(s)
	}
	isHeavy := w.rng.IntN(4) == 0 // more cards are lost than the rack survives
	steps := 3 + w.rng.IntN(5)
	for range steps {
		w.pause(3 * time.Second)
		w.disturb(isHeavy)
	}
	w.pause(2 * time.Second)
	w.conclude()
}

// pause waits for a random time, mostly short.
func (w *world) pause(most time.Duration) {
	d := time.Duration(w.rng.Int64N(int64(most)))
	if w.rng.IntN(2) == 0 {
		d /= 10
	}
	time.Sleep(d)
}

func (w *world) shuffleSites(do func(*site)) {
	for _, i := range w.rng.Perm(len(w.sites)) {
		do(w.sites[i])
	}
}

func (w *world) anySite() *site { return w.sites[w.rng.IntN(len(w.sites))] }

// disturb does one thing to the rack.
func (w *world) disturb(isHeavy bool) {
	s := w.anySite()
	switch w.rng.IntN(25) {
	case 0, 1: // some boards lose power; they start again in any order
		w.shuffleSites(func(s *site) {
			if w.rng.IntN(2) == 0 {
				w.kill(s, w.rng.IntN(4))
			}
		})
		w.pause(4 * time.Second)
		w.startAll()
	case 2:
		w.killAll(w.rng.IntN(4), w.sites...)
		w.pause(time.Second)
		w.startAll()
	case 3: // one is away for long
		w.kill(s, w.rng.IntN(4))
	case 4:
		w.did("held messages")
		w.hold(s, true)
		w.pause(6 * time.Second)
		w.hold(s, false)
	case 5, 6, 7:
		w.loseCard(s, isHeavy)
	case 8:
		w.rename(s)
	case 9:
		w.cut()
		w.pause(5 * time.Second)
		w.logf("healed")
		w.net.heal()
	case 10:
		w.slowDown()
	case 11:
		step := time.Duration(w.rng.NormFloat64() * float64(time.Hour))
		w.logf("the clock of %s steps by %v", s.name, step)
		s.clock.skew += step
		s.clock.wasWrong = true
		w.did("clock step")
	case 22, 23, 24:
		w.fillSome(s)
	case 12, 13, 21:
		w.suspendFor(s)
	case 14, 15, 16:
		w.forget(s)
	case 17, 18: // a board that is behind gets a snapshot
		w.kill(s, w.rng.IntN(4))
		w.pause(3 * time.Second)
		for _, b := range w.running() {
			if w.cutsPowerOf = nil; w.rng.IntN(3) == 0 {
				w.cutsPowerOf = b
			}
			w.compact(b.site)
		}
		w.pause(2 * time.Second)
		if w.rng.IntN(2) == 0 {
			w.kill(w.anySite(), w.rng.IntN(4)) // perhaps while the log is emptied
			go w.cutInstallation(s)
		}
		w.startAll()
	case 19, 20: // a newer program on all boards, one after another; one may go back
		for _, s := range w.sites {
			w.upgrade(s, s.rules+1)
			w.pause(2 * time.Second)
		}
		w.pause(8 * time.Second) // until the rules rise
		if w.rng.IntN(2) == 0 {
			w.upgrade(s, max(1, s.rules-1))
		}
	}
}

// upgrade starts a board with a program that knows other rules. With an older one it
// applies nothing once the rules have risen; in the end all get the newest.
func (w *world) upgrade(s *site, rules uint32) {
	w.did("upgrade")
	if rules < s.rules {
		w.did("older program again")
	}
	w.kill(s, keepAll)
	s.rules, w.newestRules = rules, max(w.newestRules, rules)
	w.logf("%s knows rules %d", s.name, rules)
	w.start(s)
}

// compact lets a board drop its log behind a snapshot, as erasing a person does.
func (w *world) compact(s *site) {
	w.did("compact")
	b := s.run
	go func() {
		enter(b.process)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		w.logf("%s compacts: %v", s.name, b.Compact(ctx))
	}()
}

// cutInstallation takes a board's power away while it receives a snapshot.
func (w *world) cutInstallation(s *site) {
	for range 3000 {
		time.Sleep(time.Millisecond)
		if files, _ := filepath.Glob(s.card.dir() + "/now/snapshots/*.tmp"); len(files) > 0 && s.run != nil && !w.isEnding {
			w.did("power cut in an installation")
			w.kill(s, w.rng.IntN(4))
			return
		}
	}
}

// forget lets a board's card lose the synced end of its log, or puts an older copy of it
// back. The others know that it had more, so nothing is lost.
func (w *world) forget(s *site) {
	if !w.isFounded() || !w.mayLose(s.card) || s.run == nil {
		w.startAll()
		return
	}
	if s.imageOf != s.card || s.image == nil {
		w.kill(s, keepAll)
		w.imageCard(s)
		w.start(s)
		w.pause(8 * time.Second)
	}
	cut := w.rng.IntN(2) == 0
	for range 100 {
		if s.run == nil || !w.mayLose(s.card) || w.isEnding {
			break
		}
		isReady := w.isSeen(s) && s.imageOf == s.card
		if cut {
			isReady = w.isLevel()
		}
		if !isReady {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if w.rng.IntN(2) == 0 {
			w.kill(s, keepAll)
		} else {
			w.killAll(keepAll, w.sites...)
		}
		if cut {
			w.cutLog(s, 1+w.rng.IntN(8), w.rng.IntN(2) == 0)
		} else {
			w.putBack(s)
		}
		break
	}
	w.startAll()
}

// suspendFor lets a board stand still while other things happen: often the leader, when it
// has just applied an order, or while its followers write one.
func (w *world) suspendFor(s *site) {
	if l := w.leader(); l != nil && w.rng.IntN(3) > 0 {
		s = l
	}
	b := s.run
	if b == nil {
		w.startAll()
		return
	}
	d := time.Duration(0.1 * math.Pow(300, w.rng.Float64()) * float64(time.Second)) // to 30 s, mostly short
	switch w.rng.IntN(3) {
	case 0:
		w.suspend(b)
	case 1:
		w.suspendsAtCommit = b
	case 2:
		go w.submit(b, w.drawPatience())
		time.Sleep(time.Duration(w.rng.Int64N(int64(3*w.slow + 20*time.Millisecond))))
		w.suspend(b)
	}
	go func() {
		time.Sleep(d)
		if w.suspendsAtCommit == b {
			w.suspendsAtCommit = nil
		}
		w.resume(b)
	}()
}

// leader returns the board that leads, as far as it knows itself.
func (w *world) leader() *site {
	for _, s := range w.sites {
		if s.run != nil && s.run.isSuspended == 0 && s.run.Status().Leading {
			return s
		}
	}
	return nil
}

func (w *world) startAll() {
	w.shuffleSites(func(s *site) {
		w.start(s)
		w.pause(4 * time.Second)
	})
}

// loseCard kills one board or all, and one loses its card. They start again in any order.
func (w *world) loseCard(s *site, isHeavy bool) {
	w.look()
	if !w.isFounded() || (!isHeavy && !w.mayLose(s.card)) {
		w.startAll()
		return
	}
	kind := w.rng.IntN(4)
	switch w.rng.IntN(3) {
	case 0:
		w.kill(s, kind)
	case 1:
		w.killAll(kind, w.sites...)
	case 2: // one board has less than the others when all are killed
		behind := w.anySite()
		if behind != s {
			w.hold(behind, true)
		}
		w.pause(4 * time.Second)
		w.killAll(kind, w.sites...)
		w.hold(behind, false)
	}
	w.pause(2 * time.Second)
	w.loseContent(s)
	for _, o := range w.sites {
		if isHeavy && o != s && w.rng.IntN(3) == 0 {
			w.kill(o, kind)
			w.loseContent(o)
		}
	}
	w.startAll()
}

func (w *world) loseContent(s *site) {
	if w.rng.IntN(3) == 0 {
		w.damageCard(s)
	} else {
		w.replaceCard(s, w.rng.IntN(2) == 0)
	}
}

// rename gives a board another name, and perhaps another card too.
func (w *world) rename(s *site) {
	w.look()
	w.kill(s, w.rng.IntN(4))
	if w.isFounded() && w.mayLose(s.card) && w.rng.IntN(2) == 0 {
		w.replaceCard(s, w.rng.IntN(2) == 0)
	}
	w.did("rename")
	old := s.name
	w.names++
	s.name = fmt.Sprintf("n%d", w.names)
	w.logf("%s is called %s now", old, s.name)
	w.pause(2 * time.Second)
	w.startAll()
}

// cut cuts the rack in two, or one direction between two boards.
func (w *world) cut() {
	w.did("cut")
	if w.rng.IntN(3) == 0 {
		a, b := w.anySite(), w.anySite()
		w.logf("cut from %s to %s", a.name, b.name)
		w.net.set(link{a.name, b.name}, func(l *linkState) { l.isCut = true })
		return
	}
	side := map[string]bool{}
	for _, s := range w.sites {
		side[s.name] = w.rng.IntN(2) == 0
	}
	w.logf("cut in two: %v", side)
	for _, a := range w.sites {
		for _, b := range w.sites {
			if side[a.name] != side[b.name] {
				w.net.set(link{a.name, b.name}, func(l *linkState) { l.isCut = true })
			}
		}
	}
}

// slowDown makes some links slow and lossy until the next heal. Streams stand still on
// some of them for a while, though calls pass.
func (w *world) slowDown() {
	w.did("slow links")
	stalled := []link{}
	for _, a := range w.sites {
		for _, b := range w.sites {
			if a == b || w.rng.IntN(2) == 0 {
				continue
			}
			delay := time.Duration(w.rng.IntN(400)) * time.Millisecond
			loss := w.rng.Float64() / 3
			stalls := w.rng.IntN(3) == 0
			w.logf("%s to %s: up to %v later, %.0f %% of the calls lost, streams stand still: %v", a.name, b.name, delay, 100*loss, stalls)
			l := link{a.name, b.name}
			w.net.set(l, func(s *linkState) { s.delay, s.loss, s.stalls = delay, loss, stalls })
			if stalls {
				stalled = append(stalled, l)
			}
		}
	}
	w.pause(10 * time.Second)
	for _, l := range stalled {
		w.net.set(l, func(s *linkState) { s.stalls = false })
	}
}
