package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"bramble/cluster/ledger"
)

// card is a board's disk. A card that was re-made or damaged is lost, and its board goes
// on with another one.
type card struct {
	number int
	run    int  // the directory's number: one for each start
	isLost bool // what it held is gone, or may be
	// mayForget: its log lost its end, and nothing on the card shows that.
	mayForget bool
	ledger    string // the identity of the ledger that it holds
	// holds are the cards whose content it has, as bits: its own, and those of which it is a
	// copy in the same life.
	holds uint64
	full  *filling // nil if it has room
}

func (c *card) dir() string { return fmt.Sprintf("/%d.%d", c.number, c.run) }

// site is a place in the rack: a board with its name, its clock and its card.
type site struct {
	world *world
	name  string
	card  *card
	// image is a copy of the card imageOf, nil if there is none.
	image, imageOf *card
	clock          *boardClock
	slow           time.Duration // of each sync
	rules          uint32        // the highest rules version that its program knows
	// marker is the board's ledger.Config.Marker: on another file system of the same card.
	marker string
	// isBlank: nothing on the board shows that it ever had a ledger.
	isBlank bool
	run     *boardRun // nil while the board is off
	// refusal is why the ledger did not open at the last start.
	refusal error
}

// boardRun is a board from its start until it is killed. Goroutines of a killed board go
// on for a moment, with a network that is unplugged and files that nobody reads.
type boardRun struct {
	*ledger.Ledger
	name   string
	site   *site
	card   *card
	shelf  *shelf
	isDead bool
	*process
	cancel context.CancelFunc
	live   map[string]time.Time // when gossip last saw each board
	// voters are the server ids of the configuration with which raft began, or that the
	// board set as the leader.
	voters []string
}

// boardClock is a board's own clock.
type boardClock struct {
	skew     time.Duration
	wasWrong bool // it was stepped once
}

// now returns the time with the skew. Its monotonic part has none.
func (b *boardClock) now() time.Time {
	skewClock(b.skew)
	t := time.Now()
	skewClock(0)
	return t
}

func (w *world) newCard() *card {
	c := &card{number: len(w.cards)}
	c.holds = 1 << c.number
	w.cards = append(w.cards, c)
	w.must(os.Mkdir(c.dir(), 0o755))
	return c
}

func (w *world) newSite(name string) *site {
	dir := fmt.Sprintf("/boot%d", len(w.sites))
	w.must(os.Mkdir(dir, 0o755))
	s := &site{world: w, name: name, card: w.newCard(), clock: &boardClock{}, slow: w.slow, rules: 1,
		marker: filepath.Join(dir, "ledger"), isBlank: true}
	w.sites = append(w.sites, s)
	return s
}

// start switches a board on.
func (w *world) start(s *site) {
	if s.run != nil {
		return
	}
	w.logf("start %s from card %d.%d", s.name, s.card.number, s.card.run)
	b := &boardRun{name: s.name, site: s, card: s.card, process: &process{}, live: map[string]time.Time{}}
	b.shelf = &shelf{world: w, run: b, has: map[string]bool{}}
	b.shelf.Rules = s.rules
	enter(b.process)
	defer enter(nil)
	l, err := ledger.Open(ledger.Config{
		Name: s.name, Dir: s.card.dir(), Boards: w.planned, StateMachine: b.shelf,
		Transport: boardTransport{w.net, b}, Live: func() []string { return w.liveOf(b) },
		Logger: slog.New(traceHandler{b}), Timing: w.timing, Clock: s.clock.now, SlowSync: s.slow,
		Marker: s.marker,
	})
	if s.refusal = err; err != nil {
		w.logf("%s does not open: %v", s.name, err)
		switch {
		case errors.Is(err, syscall.ENOSPC): // its program tries it again every 30 s
			w.did("not opened on a full card")
		case strings.Contains(err.Error(), syscall.ENOSPC.Error()):
			w.failf("%s waits for no space, because the error does not wrap ENOSPC: %v", s.name, err)
		}
		return
	}
	b.Ledger = l
	id := l.Status().Server
	switch before := w.cardOf[id]; {
	case before == nil:
		s.card.isLost = false // also an older copy, from now on
	case before != s.card && !s.card.isLost: // the life goes on
		s.card.holds |= before.holds
		s.card.ledger = before.ledger
	}
	for other, c := range w.cardOf {
		if c == s.card && other != id { // this start set that life's files aside
			w.cardOf[other] = &card{isLost: true}
		}
	}
	w.cardOf[id] = s.card
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	s.run = b
	w.net.plugIn(b)
	go func() {
		err := l.Run(ctx)
		switch {
		case b.isDead:
		case errors.Is(err, ledger.ErrRestart):
			w.restart(b)
		case errors.Is(err, syscall.ENOSPC):
			w.superviseFull(b, err)
		case err != nil:
			w.failf("run %s: %v", b.name, err)
		}
	}()
}

// restart opens a board's ledger again, as its program does when Run asks for it. It may
// begin a new life, so its card counts as another one.
func (w *world) restart(b *boardRun) {
	w.logf("%s opens its ledger again", b.name)
	w.net.unplug(b, false)
	b.isDead, b.site.run = true, nil
	w.takeAsNewCard(b.site)
	w.start(b.site)
}

// kill takes a board's power away.
func (w *world) kill(s *site, kind int) {
	b := s.run
	if b == nil {
		return
	}
	w.logf("kill %s (%s)", s.name, crashNames[kind])
	if kind != keepAll {
		w.did("power cut")
	}
	crashCard(s.card.number, s.card.run, kind)
	s.card.run++
	s.run, b.isDead = nil, true
	w.net.unplug(b, kind != keepAll)
	b.cancel()
	b.resume() // so that its goroutines end
}

// The kinds of crash: what is left of the writes that no sync followed.
const (
	keepAll = iota // the process was killed: everything
	keepNothing
	keepPrefix
	keepSectors
)

var crashNames = []string{"process", "power, unsynced lost", "power, torn", "power, sectors"}

// replaceCard gives a board that is off a blank card, or makes only the ledger's file
// system again.
func (w *world) replaceCard(s *site, keepMarker bool) {
	w.logf("card %d of %s is lost, its marker stays: %v", s.card.number, s.name, keepMarker)
	w.did("card lost")
	s.card.isLost = true
	s.card = w.newCard()
	if !keepMarker {
		if err := os.Remove(s.marker); !errors.Is(err, fs.ErrNotExist) {
			w.must(err)
		}
	}
	_, err := os.Stat(s.marker)
	s.isBlank = err != nil
}

// damageCard flips a bit in a file of a board that is off.
func (w *world) damageCard(s *site) {
	var files []string
	filepath.WalkDir(filepath.Join(s.card.dir(), "now"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, p)
		}
		return nil
	})
	if len(files) == 0 {
		return
	}
	p := files[w.rng.IntN(len(files))]
	b, err := os.ReadFile(p)
	w.must(err)
	end := len(b)
	for end > 0 && b[end-1] == 0 {
		end--
	}
	if end == 0 {
		return
	}
	at := w.rng.IntN(end)
	b[at] ^= 1 << w.rng.IntN(8)
	w.must(writeSynced(p, b))
	w.logf("byte %d of %s is damaged", at, p)
	w.did("card damaged")
	w.takeAsNewCard(s)
}

// takeAsNewCard makes a card that was damaged, or whose board has another name, a new one
// for the count of losses: its board begins a new life with it.
func (w *world) takeAsNewCard(s *site) {
	old := s.card
	fresh := w.newCard()
	w.must(copyTree(fresh.dir(), old.dir()))
	old.isLost = true
	s.card = fresh
	w.setFilling(fresh, old.full)
}

func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		dest := filepath.Join(to, rest)
		if d.IsDir() {
			if err := os.Mkdir(dest, 0o755); !errors.Is(err, fs.ErrExist) {
				return err
			}
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return writeSynced(dest, b)
	})
}

// Times of the simulated gossip.
const (
	gossipInterval = 250 * time.Millisecond
	gossipMemory   = 2 * time.Second // a board that was not seen for this long seems dead
)

// runGossip keeps every board's list of live boards.
func (w *world) runGossip() {
	for {
		time.Sleep(gossipInterval)
		now := time.Now()
		for _, a := range w.running() {
			for _, b := range w.running() {
				if a != b && a.isSuspended+b.isSuspended == 0 && w.net.reaches(a.name, b.name) {
					a.live[b.name] = now
				}
			}
		}
	}
}

func (w *world) liveOf(b *boardRun) []string {
	names := []string{b.name}
	for name, seen := range b.live {
		if time.Since(seen) < gossipMemory {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// running returns the boards that are on.
func (w *world) running() []*boardRun {
	var all []*boardRun
	for _, s := range w.sites {
		if s.run != nil {
			all = append(all, s.run)
		}
	}
	return all
}

// suspend stops a board's process, as SIGSTOP does: its timers and what arrives wait.
func (w *world) suspend(b *boardRun) {
	w.logf("suspend %s", b.name)
	w.did("suspension")
	b.suspend()
}

// resume lets a board's process go on.
func (w *world) resume(b *boardRun) {
	w.logf("resume %s", b.name)
	b.resume()
}

// hold lets everything from and to a board wait, as a board that stands still does.
func (w *world) hold(s *site, held bool) {
	w.logf("hold %s: %v", s.name, held)
	for _, o := range w.sites {
		if o != s {
			w.net.set(link{s.name, o.name}, func(l *linkState) { l.isHeld = held })
			w.net.set(link{o.name, s.name}, func(l *linkState) { l.isHeld = held })
		}
	}
}
