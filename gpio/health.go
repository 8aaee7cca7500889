// Package gpio is the panel: lamps that show a board's load and health, and a button.
//
// A pure function, Render, turns an Input (the state of the board) into a Show (a
// pattern for each lamp, as plain data). Every display — header pins, the strip on a
// HAT, a terminal, the console's page — plays the same Show by the same rule,
// Pattern.At, so that no two of them can disagree.
//
// The language needs no colour and works on a single lamp. Steady light means
// serving, a slow blink of 1 Hz means in transition, a fast blink of 4 Hz means
// "look here", a short flash every three seconds means standby, dark means that
// nothing runs. A fault adds a burst of short flashes to be counted.
//
// A lamp is one light of the panel, an LED is the part that it is made of. The
// drivers for real lamps are in gpio/pins; the Driver interface and the terminal's
// driver are here, the fakes for tests in gpio/gpiotest.
package gpio

import "strings"

// Health is the state of a board's life cycle. The zero value is Stopped: a panel
// without an Input is dark.
type Health uint8

// The states of health, in the order of a board's life.
const (
	Stopped  Health = iota // nothing runs: dark
	Starting               // the program is up and reads its settings
	Joining                // looking for its rack
	Serving                // answers clients
	Draining               // takes no new clients, finishes what it has
	Drained                // has no clients: safe to unplug
)

// String returns the state in one lower-case word.
func (h Health) String() string {
	words := [...]string{
		Stopped: "stopped", Starting: "starting", Joining: "joining", Serving: "serving", Draining: "draining", Drained: "drained",
	}
	if int(h) >= len(words) {
		return "unknown"
	}
	return words[h]
}

// FaultCode is one fault of a board that still runs, as its lamps show it. Its number is
// the number of flashes. Codes begin at two, because a single flash cannot be recognised
// as a count.
type FaultCode uint8

// The faults, by their number of flashes.
const (
	PeerLost    FaultCode = 2 // a board of the rack has died and not come back
	OriginDown  FaultCode = 3 // pages that are not in memory cannot be fetched
	ClockNotSet FaultCode = 4 // the date cannot be trusted
	CardFailing FaultCode = 5 // the SD card is read-only, full or failing
	PowerLow    FaultCode = 6 // under-voltage, or throttled because of it
	TooHot      FaultCode = 7 // over temperature
	NoMajority  FaultCode = 8 // the ledger has no majority
	ButtonStuck FaultCode = 9 // the panel's button is held down, or shorted, for longer than any press

	BadSettings FaultCode = 10 // the settings cannot be read, and the board does not start

	firstFault = PeerLost
	lastFault  = BadSettings
)

// inWords returns a fault in words, and what to check first.
func (f FaultCode) inWords() (name, advice string) {
	words := [...][2]string{
		PeerLost:    {"peer lost", "a board of the rack has died: its neighbours' bars point at it"},
		OriginDown:  {"origin down", "pages not in memory cannot be fetched: check the shop's server"},
		ClockNotSet: {"clock not set", "the date is not certain: check the network and the time server"},
		CardFailing: {"card failing", "the SD card is read-only, full or failing: replace it"},
		PowerLow:    {"power low", "too little voltage: use a stronger supply or a shorter cable"},
		TooHot:      {"too hot", "hotter than 80 °C: give it air"},
		NoMajority:  {"no majority", "too few boards to take orders: switch boards on again"},
		ButtonStuck: {"button stuck", "something holds the button down: check the switch and its wires"},
		BadSettings: {"settings broken", "bramble.toml has a mistake: the board's page names the line"},
	}
	if f < firstFault || f > lastFault {
		return "unknown fault", ""
	}
	return words[f][0], words[f][1]
}

// String returns the fault in two or three lower-case words.
func (f FaultCode) String() string {
	name, _ := f.inWords()
	return name
}

// Advice returns what to check first, "" for an unknown fault.
func (f FaultCode) Advice() string {
	_, advice := f.inWords()
	return advice
}

// FaultSet is a set of faults, one bit each, small enough to be gossiped and
// comparable so that a driver can see at once that nothing has changed. Bits
// that stand for no fault known here are ignored.
type FaultSet uint16

// NewFaultSet returns the set of the given faults.
func NewFaultSet(list ...FaultCode) FaultSet {
	var s FaultSet
	for _, f := range list {
		s = s.With(f)
	}
	return s
}

// With returns the set with f added; an unknown f changes nothing.
func (s FaultSet) With(f FaultCode) FaultSet {
	if f < firstFault || f > lastFault {
		return s
	}
	return s | 1<<f
}

// Has reports whether f is in the set.
func (s FaultSet) Has(f FaultCode) bool { return f >= firstFault && f <= lastFault && s&(1<<f) != 0 }

// Len counts the faults in the set.
func (s FaultSet) Len() int { return len(s.List()) }

// List returns the faults in the order in which they are flashed, fewest flashes
// first.
func (s FaultSet) List() []FaultCode {
	var list []FaultCode
	for f := firstFault; f <= lastFault; f++ {
		if s.Has(f) {
			list = append(list, f)
		}
	}
	return list
}

// Words returns the faults in words, in the order of List; nil if there are none.
func (s FaultSet) Words() []string {
	var words []string
	for _, f := range s.List() {
		words = append(words, f.String())
	}
	return words
}

// String returns the words with commas between them, "" if there are none.
func (s FaultSet) String() string { return strings.Join(s.Words(), ", ") }
