package gpio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Config is what a Panel is made of.
type Config struct {
	Clock   Clock
	Drivers []Driver // all play the same Input, each on its own number of lamps
	Key     Key      // nil: no button
	// Pressed is told of each press, by the goroutine of Run: it must not wait.
	// Acknowledging and telling the address are done by then.
	Pressed func(Press)
	// Failed is told of a driver or key that has failed and is left alone from
	// then on; the rest goes on.
	Failed func(error)
}

// Panel plays what a board tells it on all lamps, and reads the button, in one
// goroutine: that of Run. It belongs to who made it, who also calls Close.
type Panel struct {
	clock   Clock
	pressed func(Press)
	failed  func(error)

	mu    sync.Mutex
	told  Input // guarded by mu: what the board said last
	shown Input // guarded by mu: that, with what the button adds

	// What follows is touched by the goroutine of Run only.
	players []*player
	key     Key
	button  Button
	acked   Faults
	asked   time.Duration // Elapsed at which the address was asked for; 0 for not
	askedAt time.Duration // the same, as Pattern.At counts
	last    Input         // settled: what the players' shows were made of
	begun   bool
}

// player plays a show on one driver.
type player struct {
	driver Driver
	health bool
	bar    int
	show   Show
	lamps  []lampState // the health lamp first
	begun  bool
	broken bool
}

// lampState is a lamp's level and the time, as Pattern.At counts, that the show
// gives it: until then the pattern need not be asked again. On a board without a
// divider, asking takes a thousand instructions.
type lampState struct {
	level       Level
	from, until time.Duration
}

// NewPanel makes a panel that is dark until it is told something.
func NewPanel(c Config) *Panel {
	p := &Panel{clock: c.Clock, key: c.Key, pressed: c.Pressed, failed: c.Failed}
	for _, d := range c.Drivers {
		health, bar := d.Lamps()
		bar = min(max(bar, 0), MaxLamps)
		p.players = append(p.players, &player{driver: d, health: health, bar: bar, lamps: make([]lampState, 1+bar)})
	}
	return p
}

// Tell says what the board knows of itself; the lamps follow within a beat (an
// eighth of a second). Now need not be set, nor what the button does: Acked,
// Address. Any goroutine may call it, as often as it likes.
func (p *Panel) Tell(in Input) {
	p.mu.Lock()
	p.told = in
	p.mu.Unlock()
}

// Input is what the lamps show: what was told, with what the button added. Who
// draws the same panel elsewhere makes a Show of it.
func (p *Panel) Input() Input {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown
}

// Run plays until ctx ends.
func (p *Panel) Run(ctx context.Context) {
	for {
		if p.clock.Sleep(ctx, p.Tick()) != nil {
			return
		}
	}
}

// Tick does what is due now and returns how long nothing will be. It allocates
// nothing unless something new is told.
func (p *Panel) Tick() time.Duration {
	now, elapsed := p.clock.Now(), p.clock.Elapsed()
	at := sinceEpoch(now)
	p.mu.Lock()
	in := p.told
	p.mu.Unlock()

	wait := time.Duration(beat * time.Millisecond)
	if p.key != nil {
		p.readKey(in, elapsed, at)
		if wait = buttonPoll; p.button.resting() {
			wait = buttonRest
		}
	}
	in.Now = at
	in = p.withButton(in, elapsed)
	if s := in.settled(); !p.begun || s != p.last {
		p.begun, p.last = true, s
		for _, pl := range p.players {
			pl.show = Tell(in, pl.bar)
			for i := range pl.lamps {
				pl.lamps[i].until = pl.lamps[i].from
			}
		}
		p.mu.Lock()
		p.shown = in
		p.mu.Unlock()
	}
	for _, pl := range p.players {
		wait = min(wait, p.play(pl, at))
	}
	return wait
}

// readKey samples the button and does what a press means to the lamps.
func (p *Panel) readKey(told Input, elapsed, at time.Duration) {
	down, err := p.key.Down()
	if err != nil {
		p.fail(fmt.Errorf("panel: %v cannot be read and is left alone: %w", p.key, err))
		_ = p.key.Close() // it has failed already
		p.key = nil
		return
	}
	press := p.button.Sample(down, elapsed)
	switch press {
	case NoPress:
		return
	case DoublePress:
		p.asked, p.askedAt = max(elapsed, 1), at
	case ShortPress:
		if p.asked != 0 {
			p.asked = 0
		} else if !told.Locate {
			p.acked = p.acked | told.Faults
		}
	}
	if p.pressed != nil {
		p.pressed(press)
	}
}

// addressRounds is how often an address is told before the lamps go back to what
// they said.
const addressRounds = 2

// withButton adds what somebody at the panel has asked for.
func (p *Panel) withButton(in Input, elapsed time.Duration) Input {
	if p.button.Stuck() {
		in.Faults = in.Faults.With(ButtonStuck)
	}
	p.acked &= in.Faults // what has gone and comes back is news
	in.Acked |= p.acked
	if p.asked != 0 {
		if elapsed-p.asked < addressRounds*addressTime(in.Octet) {
			in.Address, in.Asked = true, p.askedAt
		} else {
			p.asked = 0
		}
	}
	// Who holds the button sees what it will be to let go now.
	switch p.button.Held(elapsed) {
	case LongPress:
		in.Locate, in.Address = true, false
	case DrainPress:
		in = Input{Health: Draining, Load: in.Load}
	case ShutdownPress:
		in = Input{Health: Drained}
	}
	return in
}

// play sets the lamps that change, and returns how long they will not.
func (p *Panel) play(pl *player, at time.Duration) time.Duration {
	wait := time.Duration(beat * time.Millisecond)
	if pl.broken {
		return wait
	}
	changed := false
	for i := range pl.lamps {
		lamp := &pl.lamps[i]
		if at >= lamp.from && at < lamp.until {
			wait = min(wait, lamp.until-at)
			continue
		}
		pattern := &pl.show.Health
		if i != HealthLamp {
			pattern = &pl.show.Bar[i-1]
		} else if !pl.health {
			continue
		}
		level, left := pattern.at(at)
		wait = min(wait, left)
		lamp.from, lamp.until = at, at+min(left, time.Hour)
		if pl.begun && level == lamp.level {
			continue
		}
		if err := pl.driver.Set(i, level); err != nil {
			p.breaks(pl, err)
			return wait
		}
		lamp.level, changed = level, true
	}
	pl.begun = true
	if changed {
		if err := pl.driver.Flush(); err != nil {
			p.breaks(pl, err)
		}
	}
	return wait
}

func (p *Panel) breaks(pl *player, err error) {
	pl.broken = true
	p.fail(fmt.Errorf("panel: %v has failed and is left alone: %w", pl.driver, err))
}

func (p *Panel) fail(err error) {
	if p.failed != nil {
		p.failed(err)
	}
}

// Close lets go of all lamps and of the button, after Run. A board that is
// drained leaves "safe to unplug" on the lamps that can go on alone.
func (p *Panel) Close() error {
	var all []error
	for _, pl := range p.players {
		if k, ok := pl.driver.(Keeper); ok && !pl.broken && p.last.Health == Drained {
			all = append(all, k.Keep(healthPattern(Drained)))
			continue
		}
		all = append(all, pl.driver.Close())
	}
	if p.key != nil {
		all = append(all, p.key.Close())
	}
	return errors.Join(all...)
}
