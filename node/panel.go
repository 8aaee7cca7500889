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
	"bramble/node/orders"
	"bramble/node/orderservice"
)

// purgeWaveStep is how much later each board of a rack shows a purge than the one
// before it, so that the wave is seen to run along the rack.
const purgeWaveStep = 125 * time.Millisecond

// maxQueuedPresses is how many presses of the button may wait to be obeyed.
const maxQueuedPresses = 4

// panelState are the board's panel: the third journey's last step. Without any lamp
// there is still what they would do, which the console shows.
type panelState struct {
	panel   *gpio.Panel
	meter   gpio.LoadMeter // of the beat alone
	located atomic.Bool
	purged  atomic.Int64 // when a purge was last obeyed, Unix nanoseconds by this board's clock
	presses chan gpio.ButtonPress
}

// OpenPanel opens the lamps and the button that the settings ask for. What
// cannot be had is in the error, one sentence each, and the rest is there. A
// machine that is no Pi has none unless pins are named.
func OpenPanel(cfg config.PanelSettings) (pins.PanelParts, error) {
	host := pins.NewPinHost()
	s, ask := panelPins(cfg, host.Model)
	if !ask {
		return pins.PanelParts{}, nil
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
func panelPins(cfg config.PanelSettings, model string) (s pins.Wiring, ask bool) {
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
	pick(&s.Health, cfg.HealthPin)
	pick(&s.Button, cfg.ButtonPin)
	pick(&s.LED, cfg.KernelLED)
	switch {
	case slices.Equal(cfg.BarPins, []string{config.PinNone}):
		s.Bar = nil
	case !slices.Equal(cfg.BarPins, []string{config.PinAuto}):
		s.Bar = cfg.BarPins
	}
	s.ActiveLow, s.PWM, s.Strip = cfg.ActiveLow, cfg.PWM, cfg.Blinkt
	return s, s.Strip || s.Health != "" || s.Button != "" || s.LED != "" || len(s.Bar) > 0
}

// openPanel opens the panel. A part that cannot be had is one line in the log,
// and the board serves on.
func (b *board) openPanel(log *slog.Logger) {
	opened, err := OpenPanel(b.cfg.Panel)
	if err != nil {
		log.Warn("the panel is not whole", "error", err)
	}
	b.panel.presses = make(chan gpio.ButtonPress, maxQueuedPresses)
	b.panel.panel = gpio.NewPanel(gpio.Config{
		Clock: gpio.NewWallClock(b.counter.clockLead), Drivers: opened.Drivers, Contact: opened.Contact,
		OnPress:   b.queuePress,
		OnFailure: func(err error) { log.Warn("a part of the panel has failed and is left alone", "error", err) },
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

// queuePress is told of each press of the button by the goroutine that plays the
// lamps, which must not wait: who presses faster than the board can follow has
// pressed for nothing.
func (b *board) queuePress(p gpio.ButtonPress) {
	select {
	case b.panel.presses <- p:
	default:
	}
}

// handlePresses does what the button asks for, until ctx ends.
func (b *board) handlePresses(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-b.panel.presses:
			b.handlePress(p)
		}
	}
}

func (b *board) handlePress(p gpio.ButtonPress) {
	switch p {
	case gpio.ShortPress:
		b.locateBoard(true)
	case gpio.LongPress:
		b.locateBoard(false)
	case gpio.DrainPress:
		b.drainBoard(false)
	case gpio.ShutdownPress:
		b.haltBoard()
	}
}

// locateBoard has the health lamp blink until it is undone.
func (b *board) locateBoard(undo bool) {
	b.panel.located.Store(!undo)
	b.announceState()
	b.refreshPanel(b.members.Self().Meta.Vitals)
}

// showPurge has the lamps show a purge.
func (b *board) showPurge(at time.Time) { b.panel.purged.Store(at.UnixNano()) }

// updatePanel is what a beat tells the lamps.
func (b *board) updatePanel(v cluster.Vitals, at time.Time) {
	in := b.ownPanelInput(v, at)
	in.Load, in.Peak = b.panel.meter.Add(in.Load, time.Duration(at.UnixNano()))
	b.panel.panel.Update(in)
}

// refreshPanel tells the lamps of something between two beats.
func (b *board) refreshPanel(v cluster.Vitals) {
	in := b.ownPanelInput(v, time.Now())
	was := b.panel.panel.Input()
	in.Load, in.Peak = was.Load, was.Peak
	b.panel.panel.Update(in)
}

// panelInputOf is what a board's lamps tell now. Of another board it is what can be
// known from here: all but what is pressed on its button.
func (b *board) panelInputOf(other cluster.Board) gpio.Input {
	if other.Self {
		return b.panel.panel.Input()
	}
	return b.buildPanelInput(other, time.Now())
}

// ownPanelInput is all that this board's own lamps tell.
func (b *board) ownPanelInput(v cluster.Vitals, at time.Time) gpio.Input {
	self := b.members.Self()
	self.Meta.Vitals, self.Meta.Flags = v, b.currentMarks()
	return b.buildPanelInput(self, at)
}

// currentMarks are what others see of this board's lamps beside its vitals.
func (b *board) currentMarks() cluster.Flags {
	var m cluster.Flags
	if b.panel.located.Load() {
		m |= cluster.Located
	}
	if b.counter != nil && b.counter.ledger.Status().Leading {
		m |= cluster.Leading
	}
	return m
}

// buildPanelInput is what the lamps of a board of this rack tell, as far as this board knows.
func (b *board) buildPanelInput(of cluster.Board, at time.Time) gpio.Input {
	in := vitalsToPanel(of.Meta.Vitals)
	in.Locate = of.Meta.Flags&cluster.Located != 0
	in.Leader = of.Meta.Flags&cluster.Leading != 0
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
	in.DeadSide = gpio.SideOf(order, of.Name, func(board string) bool { return dead[board] })
	if purged := b.panel.purged.Load(); purged != 0 {
		place := time.Duration(max(slices.Index(order, of.Name), 0))
		in.PurgedAt = time.Duration(purged) + lead + place*purgeWaveStep
	}
	if b.counter != nil {
		in.SoldOut, in.OpensAt = saleIndicators(b.counter.desk)
	}
	return in
}

// saleIndicators reports whether there is something on sale and nothing left of it,
// and when the next sale opens, 0 for none.
func saleIndicators(d *orderservice.Service) (soldOut bool, opens time.Duration) {
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

// runPanel plays until ctx ends. A board that is drained goes on saying so after
// its program, where a lamp can.
func (b *board) runPanel(ctx context.Context, log *slog.Logger) {
	var obeying sync.WaitGroup
	obeying.Go(func() { b.handlePresses(ctx) })
	b.panel.panel.Run(ctx)
	obeying.Wait()
	if err := b.panel.panel.Close(); err != nil {
		log.Warn("closing the panel", "error", err)
	}
}
