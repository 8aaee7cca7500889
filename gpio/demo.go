package gpio

import (
	"context"
	"fmt"
	"time"
)

const (
	demoInterval = 100 * time.Millisecond // between two Updates of a scene that moves
	lampTime     = time.Second            // for each lamp of CheckWiring
	buttonTime   = 25 * time.Second       // for the button of CheckWiring; longer than stuckAfter
)

// Demo plays every scene on a panel and announces each by its title. It returns after
// the last scene, or with ctx's error when ctx ends. The driver stays open.
func Demo(ctx context.Context, clock Clock, d Driver, announce func(string)) error {
	var failure error
	scenes := &sceneClock{Clock: clock}
	p := NewPanel(Config{Clock: scenes, Drivers: []Driver{d}, OnFailure: func(err error) { failure = err }})
	for _, scene := range Scenes() {
		announce(scene.Title())
		scenes.begun = clock.Elapsed()
		for since := time.Duration(0); since < scene.Duration; since = clock.Elapsed() - scenes.begun {
			p.Update(scene.At(0, since))
			wait := min(p.Tick(), demoInterval)
			if failure != nil {
				return failure
			}
			if err := clock.Sleep(ctx, wait); err != nil {
				return err
			}
		}
	}
	return nil
}

// sceneClock counts from the beginning of a scene, so that each scene plays from its
// beginning.
type sceneClock struct {
	Clock
	begun time.Duration // by Elapsed
}

func (c *sceneClock) Now() time.Time { return time.Unix(0, int64(c.Elapsed()-c.begun)) }

// CheckWiring tests new wiring: it lights one lamp after another, then all, and announces
// which. A lamp that stays dark, or is lit when another is named, is wired wrongly. With a button
// it then announces the presses for a while. Driver and button stay open.
func CheckWiring(ctx context.Context, clock Clock, d Driver, button Contact, announce func(string)) error {
	w := wiringCheck{ctx, clock, d, announce}
	if err := w.checkLamps(); err != nil || button == nil {
		return err
	}
	return w.checkButton(button)
}

type wiringCheck struct {
	ctx      context.Context
	clock    Clock
	driver   Driver
	announce func(string)
}

func (w wiringCheck) checkLamps() error {
	health, bar := w.driver.Lamps()
	var lamps []int
	if health {
		lamps = append(lamps, HealthLamp)
	}
	for i := range bar {
		lamps = append(lamps, i+1)
	}
	w.announce("all lamps dark")
	if err := w.setFor(lampTime, Off, lamps...); err != nil {
		return err
	}
	for i, lamp := range lamps {
		name := fmt.Sprintf("lamp %d of the bar", lamp)
		if lamp == HealthLamp {
			name = "the health lamp"
		}
		w.announce(fmt.Sprintf("%d of %d: %s, at %s", i+1, len(lamps), name, w.driver.Where(lamp)))
		if err := w.setFor(lampTime, Full, lamp); err != nil {
			return err
		}
		if err := w.setFor(0, Off, lamp); err != nil {
			return err
		}
	}
	w.announce("all lamps lit")
	if err := w.setFor(2*lampTime, Full, lamps...); err != nil {
		return err
	}
	return w.setFor(0, Off, lamps...)
}

func (w wiringCheck) setFor(d time.Duration, level Level, lamps ...int) error {
	for _, lamp := range lamps {
		if err := w.driver.Set(lamp, level); err != nil {
			return err
		}
	}
	if err := w.driver.Flush(); err != nil || d == 0 {
		return err
	}
	return w.clock.Sleep(w.ctx, d)
}

func (w wiringCheck) checkButton(button Contact) error {
	w.announce(fmt.Sprintf("now the button, %v, for %v: press it once, twice, or hold it; a press is only announced here, and does nothing", button, buttonTime))
	var b Button
	wasDown, wasStuck, heard := false, false, false
	for from := w.clock.Elapsed(); w.clock.Elapsed()-from < buttonTime; {
		down, err := button.Down()
		if err != nil {
			return fmt.Errorf("the button, %v: %w", button, err)
		}
		press := b.Sample(down, w.clock.Elapsed())
		heard = heard || down != wasDown
		wasDown = down
		if press != NoPress {
			w.announce("heard: " + press.String())
		}
		if b.IsStuck() && !wasStuck {
			w.announce("the button is stuck: it is closed all the time; it should close to ground only while pressed")
		}
		wasStuck = b.IsStuck()
		if err := w.clock.Sleep(w.ctx, buttonPoll); err != nil {
			return err
		}
	}
	if !heard {
		w.announce("nothing heard of the button: check that it joins its pin to ground")
	}
	return nil
}
