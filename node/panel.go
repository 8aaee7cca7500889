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

const (
	purgeWaveStep    = 125 * time.Millisecond // from a board to its neighbour, so that a purge runs along the rack as a wave
	maxQueuedPresses = 4                      // of the button, that wait to be handled
)

// panelState is the board's panel of LEDs and its button. A board without LEDs computes
// what they would show, for the console.
type panelState struct {
	panel   *gpio.Panel
	meter   gpio.LoadMeter // used by the heartbeat only
	located atomic.Bool
	purged  atomic.Int64 // when a purge was last applied, Unix nanoseconds by this board's clock
	presses chan gpio.ButtonPress
}

// OpenPanel opens the lamps and the button of the settings. The error names each
// part that cannot be opened, a sentence each; the rest works. A machine that is not
// a Pi has no panel unless the settings name pins.
func OpenPanel(cfg config.PanelSettings) (pins.PanelParts, error) {
	host := pins.NewPinHost()
	wiring, hasPanel := panelPins(cfg, host.Model)
	if !hasPanel {
		return pins.PanelParts{}, nil
	}
	opened, err := pins.Open(wiring, host)
	problems := []error{err}
	for _, w := range wiring.Warnings(host.Model) {
		problems = append(problems, errors.New("panel: "+w))
	}
	return opened, errors.Join(problems...)
}

// panelPins completes the settings with the defaults of the board's model. hasPanel
// is false if there is nothing to open.
func panelPins(cfg config.PanelSettings, model string) (wiring pins.Wiring, hasPanel bool) {
	if model != "" {
		wiring = pins.Defaults(model)
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
	pick(&wiring.Health, cfg.HealthPin)
	pick(&wiring.Button, cfg.ButtonPin)
	pick(&wiring.LED, cfg.KernelLED)
	switch {
	case slices.Equal(cfg.BarPins, []string{config.PinNone}):
		wiring.Bar = nil
	case !slices.Equal(cfg.BarPins, []string{config.PinAuto}):
		wiring.Bar = cfg.BarPins
	}
	wiring.ActiveLow, wiring.PWM, wiring.Strip = cfg.ActiveLow, cfg.PWM, cfg.Blinkt
	return wiring, wiring.Strip || wiring.Health != "" || wiring.Button != "" || wiring.LED != "" || len(wiring.Bar) > 0
}

// openPanel opens the panel. A part that cannot be opened costs a line in the log,
// and the board serves without it.
func (b *board) openPanel(log *slog.Logger) {
	opened, err := OpenPanel(b.cfg.Panel)
	if err != nil {
		log.Warn("a part of the panel cannot be opened", "error", err)
	}
	b.panel.presses = make(chan gpio.ButtonPress, maxQueuedPresses)
	b.panel.panel = gpio.NewPanel(gpio.Config{
		Clock: gpio.NewWallClock(b.orders.clockLead), Drivers: opened.Drivers, Contact: opened.Contact,
		OnPress:   b.queuePress,
		OnFailure: func(err error) { log.Warn("a part of the panel has failed and is off now", "error", err) },
	})
}

// clockLead returns the difference of the ledger's clock and this board's. The lamps of
// a rack follow the ledger's clock, and so blink in step.
func (s *orderStack) clockLead() time.Duration {
	if s == nil {
		return 0
	}
	now, known := s.ledger.Now()
	if !known {
		return 0
	}
	return time.Until(now)
}

// queuePress queues a press of the button. The goroutine that plays the lamps calls
// it and must not wait, so presses that do not fit are dropped.
func (b *board) queuePress(p gpio.ButtonPress) {
	select {
	case b.panel.presses <- p:
	default:
	}
}

func (b *board) handlePresses(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case press := <-b.panel.presses:
			switch press {
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
	}
}

// locateBoard makes the health lamp blink, or, with undo, stops that.
func (b *board) locateBoard(undo bool) {
	b.panel.located.Store(!undo)
	b.announceState()
	b.refreshPanel(b.members.Self().Meta.Vitals)
}

// updatePanel shows a sample of vitals: the panel's goroutine (runPanel) renders it at
// its next Tick.
func (b *board) updatePanel(v cluster.Vitals, at time.Time) {
	in := b.ownPanelInput(v, at)
	in.Load, in.Peak = b.panel.meter.Add(in.Load, time.Duration(at.UnixNano()))
	b.panel.panel.Update(in)
}

// refreshPanel shows a change between two samples.
func (b *board) refreshPanel(v cluster.Vitals) {
	in := b.ownPanelInput(v, time.Now())
	last := b.panel.panel.Input()
	in.Load, in.Peak = last.Load, last.Peak
	b.panel.panel.Update(in)
}

// panelInputOf returns what a board's lamps show now. For another board it returns what
// this one knows: everything except the presses of its button.
func (b *board) panelInputOf(other cluster.Board) gpio.Input {
	if other.Self {
		return b.panel.panel.Input()
	}
	return b.buildPanelInput(other, time.Now())
}

func (b *board) ownPanelInput(v cluster.Vitals, at time.Time) gpio.Input {
	self := b.members.Self()
	self.Meta.Vitals, self.Meta.Flags = v, b.currentFlags()
	return b.buildPanelInput(self, at)
}

func (b *board) currentFlags() cluster.Flags {
	var flags cluster.Flags
	if b.panel.located.Load() {
		flags |= cluster.Located
	}
	if b.orders.status().Leading {
		flags |= cluster.Leading
	}
	return flags
}

// buildPanelInput returns the input of a board's lamps, as this board knows it.
func (b *board) buildPanelInput(of cluster.Board, at time.Time) gpio.Input {
	in := vitalsToPanel(of.Meta.Vitals)
	in.Locate = of.Meta.Flags&cluster.Located != 0
	in.Leader = of.Meta.Flags&cluster.Leading != 0
	lead := b.orders.clockLead()
	in.Now = time.Duration(at.Add(lead).UnixNano())
	if octets := of.Addr.Addr().AsSlice(); len(octets) > 0 {
		in.Octet = octets[len(octets)-1]
	}
	var order []string
	dead := map[string]bool{}
	for _, other := range b.members.Boards() { // sorted by name, as boards stand in a rack
		order = append(order, other.Name)
		dead[other.Name] = !other.Alive && !other.Departed
	}
	in.DeadSide = gpio.SideOf(order, of.Name, func(board string) bool { return dead[board] })
	if purged := b.panel.purged.Load(); purged != 0 {
		position := time.Duration(max(slices.Index(order, of.Name), 0))
		in.PurgedAt = time.Duration(purged) + lead + position*purgeWaveStep
	}
	if b.orders != nil {
		in.SoldOut, in.OpensAt = saleIndicators(b.orders.service)
	}
	return in
}

// vitalsToPanel converts a board's vitals to its panel's input. Faults become the codes
// that the lamps flash: both CutOff and NoMajority mean that too few boards can be
// reached and are shown as gpio.NoMajority; NameTaken has no code, and only the log and
// the console report it.
func vitalsToPanel(v cluster.Vitals) gpio.Input {
	health := map[cluster.State]gpio.Health{
		cluster.Starting: gpio.Starting, cluster.Joining: gpio.Joining, cluster.Serving: gpio.Serving,
		cluster.Draining: gpio.Draining, cluster.Stopping: gpio.Draining, cluster.Drained: gpio.Drained,
	}
	in := gpio.Input{Load: float64(v.Load), Health: health[v.State]}
	for _, pair := range [...]struct {
		fault cluster.Faults
		shown gpio.FaultCode
	}{
		{cluster.PeerLost, gpio.PeerLost},
		{cluster.OriginDown, gpio.OriginDown},
		{cluster.ClockNotSet, gpio.ClockNotSet},
		{cluster.CutOff, gpio.NoMajority},
		{cluster.CardFailing, gpio.CardFailing},
		{cluster.NoMajority, gpio.NoMajority},
		{cluster.PowerLow, gpio.PowerLow},
		{cluster.TooHot, gpio.TooHot},
	} {
		if v.Faults&pair.fault != 0 {
			in.Faults = in.Faults.With(pair.shown)
		}
	}
	return in
}

// saleIndicators reports whether everything on sale is sold out, and when the next
// sale opens, 0 for none.
func saleIndicators(service *orderservice.Service) (soldOut bool, opens time.Duration) {
	available := false
	for _, sale := range service.Sales() {
		switch sale.State {
		case orders.SaleSoldOut:
			soldOut = true
		case orders.SaleInStock, orders.SaleOpen:
			available = true
		case orders.SaleUpcoming:
			at := time.Duration(sale.Opens.UnixNano())
			if opens == 0 || at < opens {
				opens = at
			}
		}
	}
	return soldOut && !available, opens
}

// runPanel plays the lamps until ctx ends. The lamps of a drained board continue
// to show that after its program has ended, if the hardware can.
func (b *board) runPanel(ctx context.Context, log *slog.Logger) {
	var pressing sync.WaitGroup
	pressing.Go(func() { b.handlePresses(ctx) })
	b.panel.panel.Run(ctx)
	pressing.Wait()
	if err := b.panel.panel.Close(); err != nil {
		log.Warn("closing the panel", "error", err)
	}
}
