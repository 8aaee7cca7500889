//go:build linux

package images

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"bramble/gpio"
	"bramble/node/console"
)

// shopping makes a board request a page from itself, over and over with a pause. Pages
// through the emulated network adapter take so long that eight shoppers there leave the
// bar empty.
const shopping = `touch /tmp/shopping; (while [ -e /tmp/shopping ]; do wget -q -O /dev/null http://127.0.0.1/p/berry; usleep 3000; done) & true`

// TestABarShowsTheLoad makes a board serve pages, and compares the pins of its bar with
// the bar on its console while that is not empty.
func TestABarShowsTheLoad(t *testing.T) {
	skipUnlessBoards(t)
	image, inside := inNamespace(t, 15*time.Minute)
	if !inside {
		return
	}
	b, ops, numbers := oneBoard(t, image, lanAddress)
	b.runShell(shopping)
	waitSelf(t, ops, "the lowest lamp of the bar", func(s console.BoardView) bool { return lampsLit(s.Panel) > 0 })
	show := b.comparePins(t, ops, numbers)
	if lampsLit(show) == 0 {
		t.Errorf("the bar of a board at work is empty: %s", barNames(show))
	}
	t.Logf("lit by the load: %d of %d", lampsLit(show), len(show.Bar))
	b.runShell("rm /tmp/shopping")
	waitUntil(t, pinsLimit, "the bar to be empty again", func() error {
		s, err := ownBoard(t.Context(), ops)
		if err == nil && lampsLit(s.Panel) > 0 {
			err = fmt.Errorf("%d of its lamps are lit", lampsLit(s.Panel))
		}
		return err
	})
	b.comparePins(t, ops, numbers)
}

// lampsLit counts the lamps of a bar that are lit more often than not.
func lampsLit(show gpio.Show) int {
	n := 0
	for _, p := range show.Bar {
		lit := 0
		line := newPinLamp(0, false, p).line
		for _, is := range line {
			if is {
				lit++
			}
		}
		if lit > len(line)/2 {
			n++
		}
	}
	return n
}

// oneBoard switches on a rack of one board, and waits until it takes orders. timeFrom is
// its time server.
func oneBoard(t *testing.T, image, timeFrom string) (b *emulatedBoard, ops string, numbers []int) {
	t.Helper()
	b = newBoard(t, image, serials()[0], lanUp(t, 1)[0]...)
	b.writeSettings("expected_boards = 1", fmt.Sprintf("ntp = [%q]", timeFrom), "[cards.0001.network]\naddress = \"10.77.0.1/24\"")
	b.start()
	ops = "https://10.77.0.1:8080"
	waitWholeRack(t, []*emulatedBoard{b}, []string{"http://10.77.0.1"}, []string{ops})
	return b, ops, b.lampPins(t)
}

// TestAPanelObeysItsButton presses the button of an emulated board, by the register that
// a closed contact would change, and reads the panel's reaction from the pins. Between
// them is everything that a Pi has: kernel, periph and the board's program.
func TestAPanelObeysItsButton(t *testing.T) {
	skipUnlessBoards(t)
	image, inside := inNamespace(t, 25*time.Minute)
	if !inside {
		return
	}
	const nobody, octet = "10.77.0.253", 1
	b, _, numbers := oneBoard(t, image, nobody) // nobody tells it the time: that is a fault
	unset := gpio.NewFaultSet(gpio.ClockNotSet)
	says := func(in gpio.Input) {
		t.Helper()
		in.Health, in.Leader = gpio.Serving, true
		b.waitPins(t, numbers, in)
	}
	says(gpio.Input{Faults: unset})

	const short, gap = 150 * time.Millisecond, 150 * time.Millisecond
	b.holdButton(short)
	says(gpio.Input{Faults: unset, Acknowledged: unset})

	address := gpio.Render(gpio.Input{Health: gpio.Serving, Address: true, Octet: octet}, len(numbers)-1)
	waitUntil(t, pinsLimit, "the address, after a double press", func() error {
		b.holdButton(short)
		b.waitBoardTime(gap)
		b.holdButton(short)
		b.waitBoardTime(time.Second) // two short presses would be one long since
		return b.checkPins(numbers, address, address.Health.Period())
	})
	t.Logf("after a double press: %s", address.Summary)
	says(gpio.Input{Faults: unset, Acknowledged: unset}) // it is told twice

	b.holdButton(1500 * time.Millisecond)
	says(gpio.Input{Locate: true})
	b.holdButton(short)
	says(gpio.Input{Faults: unset, Acknowledged: unset})

	b.setButton(true)
	b.waitBoardTime(21 * time.Second)
	says(gpio.Input{Faults: unset.With(gpio.ButtonStuck), Acknowledged: unset})
	b.setButton(false)
	says(gpio.Input{Faults: unset, Acknowledged: unset}) // and was no shutdown
}

// TestABoardIsShutDownByItsButton holds the button of an emulated board, first to
// drain it and then to shut it down, and checks for "safe to unplug" on the pins when
// the board's program has ended.
func TestABoardIsShutDownByItsButton(t *testing.T) {
	skipUnlessBoards(t)
	image, inside := inNamespace(t, 15*time.Minute)
	if !inside {
		return
	}
	b, ops, numbers := oneBoard(t, image, lanAddress)
	b.waitPins(t, numbers, gpio.Input{Health: gpio.Serving, Leader: true})

	b.setButton(true)
	b.waitBoardTime(3300 * time.Millisecond)
	draining, err := gpio.Render(gpio.Input{Health: gpio.Draining}, len(numbers)-1), errors.New("nobody looked")
	for try := 0; err != nil && try < 3; try++ { // more would be eight seconds
		err = b.checkPins(numbers, draining, 1400*time.Millisecond)
	}
	if err != nil {
		t.Errorf("the lamps do not show that the board drains: %v", err)
	}
	b.setButton(false)
	b.waitPins(t, numbers, gpio.Input{Health: gpio.Drained})
	if s, err := ownBoard(t.Context(), ops); err != nil || s.State != "drained" {
		t.Errorf("held for three seconds, the board is %s: %v", s.State, err)
	}
	if strings.Contains(b.serialText(), "shut down") {
		t.Error("held for three seconds, the board shut down")
	}

	b.holdButton(9 * time.Second)
	b.waitSerial(bootLimit, `bramble: board has shut down; it is safe to unplug`)
	b.waitPins(t, numbers, gpio.Input{Health: gpio.Drained})
	b.waitBoardTime(30 * time.Second)
	b.waitPins(t, numbers, gpio.Input{Health: gpio.Drained})
}

// TestPanelsShowThatTheWireIsCut cuts the wire between two boards, one of which
// nobody can ask then, and reads off the pins of both that a board of the rack is
// lost and on which side, and that the ledger has no majority.
func TestPanelsShowThatTheWireIsCut(t *testing.T) {
	skipUnlessBoards(t)
	image, inside := inNamespace(t, 30*time.Minute)
	if !inside {
		return
	}
	rack, shops, consoles := rackOf(t, image, 2)
	numbers := rack[0].lampPins(t)
	joined := func() {
		t.Helper()
		for i, b := range rack {
			waitSelf(t, consoles[i], b.name+" without a fault", func(s console.BoardView) bool { return len(s.Faults) == 0 })
			b.comparePins(t, consoles[i], numbers)
		}
	}
	joined()
	runHost(t, "ip link set port2 down")
	lost := gpio.Input{Health: gpio.Serving, Faults: gpio.NewFaultSet(gpio.PeerLost, gpio.NoMajority), DeadSide: gpio.After}
	waitSelf(t, consoles[0], "the board to miss the other", func(s console.BoardView) bool { return s.Panel.Summary == gpio.Render(lost, 0).Summary })
	rack[0].waitPins(t, numbers, lost)
	rack[0].comparePins(t, consoles[0], numbers)
	lost.DeadSide = gpio.Before
	rack[1].waitPins(t, numbers, lost)
	runHost(t, "ip link set port2 up")
	waitWholeRack(t, rack, shops, consoles)
	joined()
}
