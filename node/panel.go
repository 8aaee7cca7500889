package node

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bramble/cluster"
	"bramble/gpio"
	"bramble/gpio/pins"
	"bramble/node/config"
	"bramble/node/desk"
	"bramble/node/orders"
)

// waveStep is how much later each board of a rack shows a purge than the one
// before it, so that the wave is seen to run along the rack.
const waveStep = 125 * time.Millisecond

// maxPresses is how many presses of the button may wait to be obeyed.
const maxPresses = 4

// lamps are the board's panel: the third journey's last step. Without any lamp
// there is still what they would do, which the console shows.
type lamps struct {
	panel   *gpio.Panel
	meter   gpio.Meter // of the beat alone
	located atomic.Bool
	purged  atomic.Int64 // when a purge was last obeyed, Unix nanoseconds by this board's clock
	presses chan gpio.Press
}

// OpenPanel opens the lamps and the button that the settings ask for. What
// cannot be had is in the error, one sentence each, and the rest is there. A
// machine that is no Pi has none unless pins are named.
func OpenPanel(cfg config.Panel) (pins.Opened, error) {
	host := pins.NewHost()
	s, ask := panelPins(cfg, host.Model)
	if !ask {
		return pins.Opened{}, nil
	}
	opened, err := pins.Open(s, host)
	said := []error{err}
	for _, w := range s.Warnings(host.Model) {
		said = append(said, errors.New("panel: "+w))
	}
	return opened, errors.Join(said...)
}

// panelPins fills in what the settings leave to the board's model. ask is false
// if there is nothing to be opened.
func panelPins(cfg config.Panel, model string) (s pins.Settings, ask bool) {
	if model != "" {
		s = pins.Defaults(model)
	}
	pick := func(to *string, word string) {
		switch word {
		case config.PinAuto:
		case config.PinNone:
			*to = ""
		default:
			*to = word
		}
	}
	pick(&s.Health, cfg.Health)
	pick(&s.Button, cfg.Button)
	pick(&s.LED, cfg.LED)
	switch {
	case slices.Equal(cfg.Bar, []string{config.PinNone}):
		s.Bar = nil
	case !slices.Equal(cfg.Bar, []string{config.PinAuto}):
		s.Bar = cfg.Bar
	}
	s.ActiveLow, s.PWM, s.Strip = cfg.ActiveLow, cfg.PWM, cfg.Strip
	return s, s.Strip || s.Health != "" || s.Button != "" || s.LED != "" || len(s.Bar) > 0
}

// openLamps opens the panel. A part that cannot be had is one line in the log,
// and the board serves on.
func (b *board) openLamps(log *slog.Logger) {
	opened, err := OpenPanel(b.cfg.Panel)
	if err != nil {
		log.Warn("the panel is not whole", "error", err)
	}
	b.lamps.presses = make(chan gpio.Press, maxPresses)
	b.lamps.panel = gpio.NewPanel(gpio.Config{
		Clock: gpio.NewWallClock(b.counter.clockLead), Drivers: opened.Drivers, Key: opened.Key,
		Pressed: b.pressed,
		Failed:  func(err error) { log.Warn("a part of the panel has failed and is left alone", "error", err) },
	})
}

// clockLead is how far the ledger's clock is ahead of this board's: lamps play
// by it, in step over the rack.
func (c *counter) clockLead() time.Duration {
	if c == nil {
		return 0
	}
	now, known := c.ledger.Now()
	if !known {
		return 0
	}
	return time.Until(now)
}

// pressed is told of each press of the button by the goroutine that plays the
// lamps, which must not wait: who presses faster than the board can follow has
// pressed for nothing.
func (b *board) pressed(p gpio.Press) {
	select {
	case b.lamps.presses <- p:
	default:
	}
}

// obeyButton does what the button asks for, until ctx ends.
func (b *board) obeyButton(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-b.lamps.presses:
			b.press(p)
		}
	}
}

func (b *board) press(p gpio.Press) {
	switch p {
	case gpio.ShortPress:
		b.locate(true)
	case gpio.LongPress:
		b.locate(false)
	case gpio.DrainPress:
		b.drain(false)
	case gpio.ShutdownPress:
		b.halt()
	}
}

// locate has the health lamp blink until it is undone.
func (b *board) locate(undo bool) {
	b.lamps.located.Store(!undo)
	b.announce()
	b.light(b.members.Self().Meta.Vitals)
}

// wave has the lamps show a purge.
func (b *board) wave(at time.Time) { b.lamps.purged.Store(at.UnixNano()) }

// beatLamps is what a beat tells the lamps.
func (b *board) beatLamps(v cluster.Vitals, at time.Time) {
	in := b.panelInput(v, at)
	in.Load, in.Peak = b.lamps.meter.Add(in.Load, time.Duration(at.UnixNano()))
	b.lamps.panel.Tell(in)
}

// light tells the lamps of something between two beats.
func (b *board) light(v cluster.Vitals) {
	in := b.panelInput(v, time.Now())
	was := b.lamps.panel.Input()
	in.Load, in.Peak = was.Load, was.Peak
	b.lamps.panel.Tell(in)
}

// lampsOf is what a board's lamps tell now. Of another board it is what can be
// known from here: all but what is pressed on its button.
func (b *board) lampsOf(other cluster.Board) gpio.Input {
	if other.Self {
		return b.lamps.panel.Input()
	}
	return b.tells(other, time.Now())
}

// panelInput is all that this board's own lamps tell.
func (b *board) panelInput(v cluster.Vitals, at time.Time) gpio.Input {
	self := b.members.Self()
	self.Meta.Vitals, self.Meta.Marks = v, b.marks()
	return b.tells(self, at)
}

// marks are what others see of this board's lamps beside its vitals.
func (b *board) marks() cluster.Marks {
	var m cluster.Marks
	if b.lamps.located.Load() {
		m |= cluster.Located
	}
	if b.counter != nil && b.counter.ledger.Status().Leading {
		m |= cluster.Leading
	}
	return m
}

// tells is what the lamps of a board of this rack tell, as far as this board knows.
func (b *board) tells(of cluster.Board, at time.Time) gpio.Input {
	in := panelInput(of.Meta.Vitals)
	in.Locate = of.Meta.Marks&cluster.Located != 0
	in.Leader = of.Meta.Marks&cluster.Leading != 0
	lead := b.counter.clockLead()
	in.Now = time.Duration(at.Add(lead).UnixNano())
	if octets := of.Addr.Addr().AsSlice(); len(octets) > 0 {
		in.Octet = octets[len(octets)-1]
	}
	var order []string
	dead := map[string]bool{}
	for _, other := range b.members.Boards() { // sorted by name, as boards stand in a rack
		order = append(order, other.Name)
		dead[other.Name] = !other.Alive && !other.Left
	}
	in.Points = gpio.SideOf(order, of.Name, func(board string) bool { return dead[board] })
	if purged := b.lamps.purged.Load(); purged != 0 {
		place := time.Duration(max(slices.Index(order, of.Name), 0))
		in.Purged = time.Duration(purged) + lead + place*waveStep
	}
	if b.counter != nil {
		in.SoldOut, in.Opens = saleLamps(b.counter.desk)
	}
	return in
}

// saleLamps reports whether there is something on sale and nothing left of it,
// and when the next sale opens, 0 for none.
func saleLamps(d *desk.Desk) (soldOut bool, opens time.Duration) {
	left := false
	for _, s := range d.Sales() {
		switch s.State {
		case orders.SaleSoldOut:
			soldOut = true
		case orders.SaleInStock, orders.SaleOpen:
			left = true
		case orders.SaleUpcoming:
			at := time.Duration(s.Opens.UnixNano())
			if opens == 0 || at < opens {
				opens = at
			}
		}
	}
	return soldOut && !left, opens
}

// runLamps plays until ctx ends. A board that is drained goes on saying so after
// its program, where a lamp can.
func (b *board) runLamps(ctx context.Context, log *slog.Logger) {
	var obeying sync.WaitGroup
	obeying.Go(func() { b.obeyButton(ctx) })
	b.lamps.panel.Run(ctx)
	obeying.Wait()
	if err := b.lamps.panel.Close(); err != nil {
		log.Warn("closing the panel", "error", err)
	}
}
