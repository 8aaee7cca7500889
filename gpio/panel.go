package gpio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Config are the parts of a Panel.
type Config struct {
	Clock   Clock
	Drivers []Driver // all play the same Input, each on its own number of lamps
	Contact Contact  // nil: no button
	// OnPress is called with each press, by the goroutine of Run; it must not block.
	// The panel itself acknowledges faults and shows the address.
	OnPress func(ButtonPress)
	// OnFailure is called when a driver or the contact has failed. The panel stops using
	// it and continues with the others.
	OnFailure func(error)
}

// Panel plays an Input on all lamps and reads the button, in one goroutine: that of
// Run. The caller of NewPanel calls Close after Run.
type Panel struct {
	clock     Clock
	onPress   func(ButtonPress)
	onFailure func(error)

	mu     sync.Mutex
	latest Input // guarded by mu: of the last Update
	shown  Input // guarded by mu: latest, with the effect of the button

	// What follows is used by the goroutine of Run only.
	players      []*player
	contact      Contact
	button       Button
	acknowledged FaultSet
	addressUntil time.Duration // the Elapsed until which the address is shown; 0: it was not requested
	addressSince time.Duration // when it was requested, as Pattern.At counts
	rendered     Input         // normalized: of the players' shows
	begun        bool
}

// player plays a show on one driver.
type player struct {
	driver Driver
	health bool
	bar    int
	show   Show
	lamps  []lampState // the health lamp first
	begun  bool
	failed bool
}

// lampState caches a lamp's level and the time span, as Pattern.At counts, for which it
// lasts. On a processor without a divider, computing the level takes a thousand
// instructions.
type lampState struct {
	level       Level
	from, until time.Duration
}

// NewPanel returns a panel that is dark until the first Update.
func NewPanel(c Config) *Panel {
	p := &Panel{clock: c.Clock, contact: c.Contact, onPress: c.OnPress, onFailure: c.OnFailure}
	for _, d := range c.Drivers {
		health, bar := d.Lamps()
		bar = min(max(bar, 0), MaxLamps)
		p.players = append(p.players, &player{driver: d, health: health, bar: bar, lamps: make([]lampState, 1+bar)})
	}
	return p
}

// Update sets the state that the lamps show; they follow within a beat (an eighth of a
// second). The panel sets Now, and by the button Acknowledged and Address. Any
// goroutine may call Update at any time.
func (p *Panel) Update(in Input) {
	p.mu.Lock()
	p.latest = in
	p.mu.Unlock()
}

// Input returns the state that the lamps show: that of the last Update, with the effect
// of the button. To draw the same panel elsewhere, Render it.
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

// Tick samples the button, renders a changed Input, sets the lamps, and returns the time
// until the next Tick is due. It allocates nothing unless the Input changes.
func (p *Panel) Tick() time.Duration {
	at, elapsed := time.Duration(p.clock.Now().UnixNano()), p.clock.Elapsed()
	p.mu.Lock()
	in := p.latest
	p.mu.Unlock()

	wait := time.Duration(beat * time.Millisecond)
	if p.contact != nil {
		p.readButton(in, elapsed, at)
		if wait = buttonPoll; p.button.isIdle() {
			wait = idlePoll
		}
	}
	in.Now = at
	in = p.applyButton(in, elapsed)
	if s := in.normalized(); !p.begun || s != p.rendered {
		p.begun, p.rendered = true, s
		for _, pl := range p.players {
			pl.show = Render(in, pl.bar)
			for i := range pl.lamps {
				pl.lamps[i].until = pl.lamps[i].from
			}
		}
		p.mu.Lock()
		p.shown = in
		p.mu.Unlock()
	}
	for _, pl := range p.players {
		wait = min(wait, p.updateLamps(pl, at))
	}
	return wait
}

// readButton samples the button and applies a press to the lamps.
func (p *Panel) readButton(in Input, elapsed, at time.Duration) {
	down, err := p.contact.Down()
	if err != nil {
		p.notifyFailure(fmt.Errorf("panel: %v cannot be read and is not used any more: %w", p.contact, err))
		_ = p.contact.Close() // it has failed already
		p.contact = nil
		return
	}
	press := p.button.Sample(down, elapsed)
	switch press {
	case NoPress:
		return
	case DoublePress:
		p.addressUntil, p.addressSince = elapsed+addressRounds*addressPattern(in.Octet, 0).Period(), at
	case ShortPress:
		if elapsed < p.addressUntil {
			p.addressUntil = 0
		} else if !in.Locate {
			p.acknowledged = p.acknowledged | in.Faults
		}
	}
	if p.onPress != nil {
		p.onPress(press)
	}
}

// addressRounds is the number of times that the address is shown before the lamps go back to what
// they showed.
const addressRounds = 2

func (p *Panel) applyButton(in Input, elapsed time.Duration) Input {
	if p.button.IsStuck() {
		in.Faults = in.Faults.With(ButtonStuck)
	}
	p.acknowledged &= in.Faults // a fault that ends and comes back is a new one
	in.Acknowledged |= p.acknowledged
	if elapsed < p.addressUntil {
		in.Address, in.AddressSince = true, p.addressSince
	}
	// While the button is down, the lamps show the effect of releasing it now.
	switch p.button.Pending(elapsed) {
	case LongPress:
		in.Locate, in.Address = true, false
	case DrainPress:
		in = Input{Health: Draining, Load: in.Load}
	case ShutdownPress:
		in = Input{Health: Drained}
	}
	return in
}

// updateLamps sets the lamps that change, and returns the time until the next change.
func (p *Panel) updateLamps(pl *player, at time.Duration) time.Duration {
	wait := time.Duration(beat * time.Millisecond)
	if pl.failed {
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
		level, left := pattern.levelAt(at)
		wait = min(wait, left)
		lamp.from, lamp.until = at, at+min(left, time.Hour)
		if pl.begun && level == lamp.level {
			continue
		}
		if err := pl.driver.Set(i, level); err != nil {
			p.disableDriver(pl, err)
			return wait
		}
		lamp.level, changed = level, true
	}
	pl.begun = true
	if changed {
		if err := pl.driver.Flush(); err != nil {
			p.disableDriver(pl, err)
		}
	}
	return wait
}

func (p *Panel) disableDriver(pl *player, err error) {
	pl.failed = true
	p.notifyFailure(fmt.Errorf("panel: %v has failed and is not used any more: %w", pl.driver, err))
}

func (p *Panel) notifyFailure(err error) {
	if p.onFailure != nil {
		p.onFailure(err)
	}
}

// Close releases all lamps and the button, after Run. A drained board leaves "safe to
// unplug" on the lamps that can continue without the program.
func (p *Panel) Close() error {
	var all []error
	for _, pl := range p.players {
		if persister, ok := pl.driver.(Persister); ok && !pl.failed && p.rendered.Health == Drained {
			all = append(all, persister.Persist(healthPattern(Drained)))
			continue
		}
		all = append(all, pl.driver.Close())
	}
	if p.contact != nil {
		all = append(all, p.contact.Close())
	}
	return errors.Join(all...)
}
