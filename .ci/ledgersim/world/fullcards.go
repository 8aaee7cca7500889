package main

import (
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"bramble/cluster/ledger"
)

// filling is how a card is full.
type filling struct {
	free int64 // bytes
	kind int   // as bits
	book bool  // the state machine's working copy has no room either
}

// The bits of filling.kind: see fillKind of the machine.
const (
	fillNames = 1 << iota // no file gets a new name
	fillHoles             // the log's files have no blocks beyond what was written
)

func drawFilling(rng *rand.Rand) *filling {
	f := &filling{kind: rng.IntN(4), book: rng.IntN(3) == 0}
	if rng.IntN(2) == 0 {
		f.free = rng.Int64N(32 << 10)
	}
	return f
}

// setFilling makes a card full, or gives it room.
func (w *world) setFilling(c *card, f *filling) {
	if c.full == f {
		return
	}
	c.full = f
	if f == nil {
		w.logf("card %d has room again", c.number)
		fillVolume(c.number, c.run, -1, 0)
		return
	}
	w.did("card full")
	w.logf("card %d has %d bytes left; names: %v, log allocated: %v, working copy: %v",
		c.number, f.free, f.kind&fillNames == 0, f.kind&fillHoles == 0, !f.book)
	fillVolume(c.number, c.run, f.free, f.kind)
}

// freeCards gives the cards of some boards room.
func (w *world) freeCards(sites ...*site) {
	for _, s := range sites {
		w.setFilling(s.card, nil)
	}
}

// superviseDelay is the pause before a program that ended is started again.
const superviseDelay = time.Second

// superviseFull does what a board's supervisor does when its program ended because the card is
// full. With room again, startAll starts it.
func (w *world) superviseFull(b *boardRun, err error) {
	s := b.site
	w.logf("the program of %s ends: %v", b.name, err)
	w.did("program ended on a full card")
	w.kill(s, keepAll)
	time.Sleep(superviseDelay)
	if s.run == nil && s.card == b.card && s.card.full != nil && !w.isEnding {
		w.start(s)
	}
}

// fillSome lets one card, the leader's, those of the others, or all be full for a while, in
// which boards may lose power, start, and drop their logs.
func (w *world) fillSome(s *site) {
	var full []*site
	leader := w.leader()
	switch w.rng.IntN(4) {
	case 0:
		full = []*site{s}
	case 1:
		full = []*site{s}
		if leader != nil {
			full[0] = leader
		}
	case 2:
		for _, o := range w.sites {
			if o != leader {
				full = append(full, o)
			}
		}
	}
	if len(full) == 0 {
		full = w.sites
	}
	for _, o := range full {
		w.setFilling(o.card, drawFilling(w.rng))
		w.pause(2 * time.Second)
	}
	for range w.rng.IntN(4) {
		w.pause(8 * time.Second)
		s := full[w.rng.IntN(len(full))]
		switch w.rng.IntN(4) {
		case 0:
			w.kill(s, w.rng.IntN(4))
			w.pause(4 * time.Second)
			w.startAll()
		case 1:
			w.killAll(w.rng.IntN(4), w.sites...)
			w.startAll()
		case 2:
			if s.run != nil {
				w.compact(s)
			}
		}
	}
	w.pause(10 * time.Second)
	w.shuffleSites(func(s *site) {
		w.freeCards(s)
		w.pause(2 * time.Second)
	})
	w.startAll() // also a board that did not open its files on the full card, as its program does every 30 s
}

// fullCards: all cards fill up, no order is taken and each answer says why, and with room
// again every board takes orders in the same process.
func fullCards(w *world) {
	w.begin(3)
	w.fillUntilRefused(&filling{free: blockSize, kind: fillHoles})
	w.wait(10 * time.Second)
	before := []*boardRun{}
	for _, s := range w.sites {
		before = append(before, s.run)
	}
	w.freeCards(w.sites...)
	for i, s := range w.sites {
		w.mustTakeSoon(s)
		if s.run != before[i] {
			w.failf("%s was started again", s.name)
		}
	}
	w.conclude()
}

// startedFull: all boards start again while all cards are full.
func startedFull(w *world) {
	w.begin(3)
	w.fillUntilRefused(&filling{kind: fillHoles | fillNames})
	w.killAll(keepPrefix, w.sites...)
	w.startInOrder(w.sites...)
	w.wait(10 * time.Second)
	w.refuse()
	w.freeCards(w.sites...)
	w.startInOrder(w.sites...)
	for _, s := range w.sites {
		w.mustTakeSoon(s)
	}
	w.conclude()
}

// blockSize is a block of the machine's cards.
const blockSize = 4096

// fillUntilRefused fills all cards and orders until no board takes one.
func (w *world) fillUntilRefused(f *filling) {
	for _, s := range w.sites {
		w.setFilling(s.card, f)
	}
	w.await("the cards are full", func() bool {
		_, err := w.submit(w.sites[0].run, time.Second)
		return err != nil
	})
	w.refuse()
}

// refuse checks that no board takes an order while the cards are full, and that the status of
// one that runs says why.
func (w *world) refuse() {
	isTold := len(w.running()) == 0
	for _, s := range w.sites {
		if s.run == nil {
			continue
		}
		for range 3 {
			o, err := w.submit(s.run, 2*time.Second)
			if err == nil {
				w.failf("%s took %s on full cards", s.name, o.text())
			} else if !errors.Is(err, ledger.ErrUncertain) && !errors.Is(err, ledger.ErrNoMajority) && !errors.Is(err, ledger.ErrHalted) {
				w.failf("%s refused %s on full cards with %v", s.name, o.text(), err)
			}
		}
		isTold = isTold || strings.Contains(s.run.Status().Trouble, syscall.ENOSPC.Error())
	}
	if !isTold {
		w.failf("no board says that its card is full: %s", w.describe())
	}
}

// mustTakeSoon expects an order to be taken within settleTime.
func (w *world) mustTakeSoon(s *site) {
	w.await(s.name+" takes orders with room again", func() bool {
		if s.run == nil {
			return false
		}
		_, err := w.submit(s.run, 5*time.Second)
		return err == nil
	})
}
