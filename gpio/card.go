package gpio

// Line is one line of the card that explains the language of the lamps.
type Line struct {
	Pattern Pattern // of the health lamp
	Means   string  // what it tells, in a few words
}

// Card lists the language: every state, then every fault as a serving board
// flashes it, then what the button asks for. It is made by Tell itself, so that it cannot lie about the lamps.
func Card() []Line {
	var lines []Line
	add := func(in Input, means string) {
		lines = append(lines, Line{Render(in, 0).Health, means})
	}
	add(Input{Health: Serving}, "serving")
	add(Input{Health: Starting}, "starting")
	add(Input{Health: Joining}, "joining: looks for its rack")
	add(Input{Health: Draining}, "draining: finishes what it has")
	add(Input{Health: Drained}, "drained: safe to unplug")
	add(Input{Health: Serving, Locate: true}, "locate: this one here")
	add(Input{Health: Stopped}, "nothing runs here")
	for f := firstFault; f <= lastFault; f++ {
		add(Input{Health: Serving, Faults: NewFaultSet(f)}, "serving; "+f.String())
	}
	known := NewFaultSet(TooHot)
	add(Input{Health: Serving, Faults: known, Acknowledged: known}, "serving; a fault that is acknowledged")
	add(Input{Health: Serving, Address: true, Octet: 203}, "address: ends in 203")
	return lines
}
