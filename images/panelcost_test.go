//go:build linux

package images

import (
	"fmt"
	"testing"
	"time"
)

const (
	// countedTurns is the number of starts of the board's program with each panel, all on
	// one board, so that nothing else differs; medians are reported.
	countedTurns = 3
	// panelRest is the time that a program gets to finish its start, and panelIdle the time
	// of a measurement, both by the board's clock.
	panelRest = 20 * time.Second
	panelIdle = 40
	// lowestLamp is the pin of the bar's first lamp on all boards.
	lowestLamp = 17
)

// panelParts are the panels that are measured, the smallest first.
type panelParts struct{ name, lamps, button string }

// TestPanelInstructionsOnABoard reports what a panel costs: the instructions of an
// idle board that has one as wired by default, less those of one that has none;
// the lamps without the button; and all of it while the lamps blink fast:
//
//	go test ./images -run TestPanelInstructionsOnABoard -v -instructions -timeout 30m
func TestPanelInstructionsOnABoard(t *testing.T) {
	skipUnlessCounting(t)
	image, inside := inNamespace(t, 28*time.Minute)
	if !inside {
		return
	}
	loopbackUp(t)
	all := figures{}
	b := countedBoard(t, image, countingScript(t), "[orders]\nenabled = false\n")
	for range countedTurns {
		rates := map[string]int64{}
		for _, p := range []panelParts{{"no panel", "none", "none"}, {"lamps", "auto", "none"}, {"lamps and button", "auto", "auto"}} {
			s := b.startWith(p)
			rates[p.name] = s.idle(panelIdle)
			if p.button != "none" {
				b.runShell("bramble locate --config /run/bramble.toml " + b.hostName())
				rates[p.name+" that blink fast"] = s.idle(panelIdle / 2)
			}
		}
		none := rates["no panel"]
		all.add("idle with no panel, a second", none)
		delete(rates, "no panel")
		for name, rate := range rates {
			all.add("idle with "+name+", a second", rate)
			all.add(name+" alone, a second", rate-none)
		}
	}
	all.log(t)
}

// startWith restarts the board's program with another panel, and waits until it is idle.
func (e *emulatedBoard) startWith(p panelParts) counted {
	e.t.Helper()
	pid := e.nodePID()
	e.runShell(fmt.Sprintf(`sed -i '/^\[panel\]/,/^\[network\]/{s/^\(health_pin\|kernel_led\) = .*/\1 = "%[1]s"/;s/^bar_pins = .*/bar_pins = ["%[1]s"]/;s/^button_pin = .*/button_pin = "%[2]s"/}' /run/bramble.toml; kill %[3]s`,
		p.lamps, p.button, pid))
	waitUntil(e.t, bootLimit, "the board's program to be another", func() error {
		if now := e.nodePID(); now == pid {
			return fmt.Errorf("it is still process %s", now)
		}
		return nil
	})
	e.waitBoardTime(panelRest)
	if is, want := e.registers.isOutput(lowestLamp), p.lamps != "none"; is != want {
		e.t.Fatalf("a board with %s: that GPIO%d is an output is %t", p.name, lowestLamp, is)
	}
	return counted{e, p.name, e.nodePID(), "", ""}
}
