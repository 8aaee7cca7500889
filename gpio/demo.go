package gpio

import (
	"context"
	"fmt"
	"time"
)

// demoInterval is how often a scene that moves is told anew, walkLamp how long each
// lamp has its turn, walkKey how long the button is listened to.
const (
	demoInterval = 100 * time.Millisecond
	lampTime     = time.Second
	buttonTime   = 25 * time.Second // longer than stuckFrom
)

// Demo plays every scene on a panel and says its name when it begins. It ends
// with the last scene or with ctx, of which it then returns the error. The
// driver stays open.
func Demo(ctx context.Context, clock Clock, d Driver, say func(string)) error {
	var broken error
	from := &sceneClock{Clock: clock}
	p := NewPanel(Config{Clock: from, Drivers: []Driver{d}, OnFailure: func(err error) { broken = err }})
	for _, scene := range Scenes() {
		say(scene.Title())
		from.begun = clock.Elapsed()
		for since := time.Duration(0); since < scene.Duration; since = clock.Elapsed() - from.begun {
			p.Update(scene.At(0, since))
			wait := min(p.Tick(), demoInterval)
			if broken != nil {
				return broken
			}
			if err := clock.Sleep(ctx, wait); err != nil {
				return err
			}
		}
	}
	return nil
}

// sceneClock counts from the beginning of a scene, so that each one is seen from
// its own beginning.
type sceneClock struct {
	Clock
	begun time.Duration // by Elapsed
}

func (c *sceneClock) Now() time.Time { return time.Unix(0, int64(c.Elapsed()-c.begun)) }

// CheckWiring lights one lamp after the other, then all, and says which, for the one
// who has just soldered: a lamp that stays dark, lights with another or lights
// when its name is not called is wired wrongly. With a key it then listens to
// the button for a while and says what it hears. Driver and key stay open.
func CheckWiring(ctx context.Context, clock Clock, d Driver, key Contact, say func(string)) error {
	health, bar := d.Lamps()
	var lamps []int
	if health {
		lamps = append(lamps, HealthLamp)
	}
	for i := range bar {
		lamps = append(lamps, i+1)
	}
	set := func(level Level, which ...int) error {
		for _, lamp := range which {
			if err := d.Set(lamp, level); err != nil {
				return err
			}
		}
		return d.Flush()
	}
	say("all lamps dark")
	if err := set(Off, lamps...); err != nil {
		return err
	}
	if err := clock.Sleep(ctx, lampTime); err != nil {
		return err
	}
	for i, lamp := range lamps {
		name := fmt.Sprintf("lamp %d of the bar", lamp)
		if lamp == HealthLamp {
			name = "the health lamp"
		}
		say(fmt.Sprintf("%d of %d: %s, at %s", i+1, len(lamps), name, d.Where(lamp)))
		if err := set(Full, lamp); err != nil {
			return err
		}
		if err := clock.Sleep(ctx, lampTime); err != nil {
			return err
		}
		if err := set(Off, lamp); err != nil {
			return err
		}
	}
	say("all lamps lit")
	if err := set(Full, lamps...); err != nil {
		return err
	}
	if err := clock.Sleep(ctx, 2*lampTime); err != nil {
		return err
	}
	if err := set(Off, lamps...); err != nil || key == nil {
		return err
	}
	return checkButton(ctx, clock, key, say)
}

func checkButton(ctx context.Context, clock Clock, key Contact, say func(string)) error {
	say(fmt.Sprintf("now the button, %v, for %v: press it once, twice, or hold it; nothing but these words will happen", key, buttonTime))
	var b Button
	wasDown, wasStuck, heard := false, false, false
	for from := clock.Elapsed(); clock.Elapsed()-from < buttonTime; {
		down, err := key.Down()
		if err != nil {
			return fmt.Errorf("the button, %v: %w", key, err)
		}
		press := b.Sample(down, clock.Elapsed())
		if down != wasDown {
			heard = true
		}
		wasDown = down
		if press != NoPress {
			say("heard: " + press.String())
		}
		if b.IsStuck() && !wasStuck {
			say("the button is stuck: it is closed all the time; it should close to ground only while pressed")
		}
		wasStuck = b.IsStuck()
		if err := clock.Sleep(ctx, buttonPoll); err != nil {
			return err
		}
	}
	if !heard {
		say("nothing heard of the button: look whether it joins its pin to ground")
	}
	return nil
}
