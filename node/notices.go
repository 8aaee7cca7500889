package node

import (
	"strings"

	"bramble/cluster"
	"bramble/node/host"
)

// collectNotices returns what an operator at the console must know about this board, a
// sentence each.
func (b *board) collectNotices() []string {
	var all []string
	name := b.cfg.Board.Name
	faults := cluster.Faults(b.faults.Load())
	addIf := func(isTrue bool, notice string) {
		if isTrue {
			all = append(all, notice)
		}
	}
	addIf(faults&cluster.CutOff != 0, name+" reaches only half of its rack or less: it asks the origin before it shows a stored page.")
	addIf(faults&cluster.OriginDown != 0, "The origin "+strings.Join(b.sites.Down(), ", ")+" does not answer as it should: stored pages are shown as long as their rules allow.")
	addIf(faults&cluster.NameTaken != 0, "Another board uses the name "+name+": give one of them another [board] name.")
	addIf(faults&cluster.ClockNotSet != 0 && !b.clockState().Set,
		"The clock of "+name+" is not set: no time server has answered, or too few agree. Check its network, and the time servers in [network] ntp.")
	all = append(all, piNotices(name, b.piHealth())...)
	exposed, _ := b.cfg.FindExposed(b.ConfigFile)
	for _, text := range exposed {
		all = append(all, "On "+name+" "+text+".")
	}
	addIf(b.cardUnusable.Load(), "The card of "+name+" cannot be used: it serves pages and accepts no orders. Its log has the reason.")
	if b.CardHost != nil {
		all = append(all, b.CardHost.Notices()...)
	}
	if b.certs != nil {
		all = append(all, b.certs.Notices()...)
	}
	return append(all, b.orders.notices(name)...)
}

// piNotices returns what to do about a Pi's faults, a sentence each.
func piNotices(board string, h host.PiHealth) []string {
	var all []string
	if h.PowerLow {
		all = append(all, "The power supply of "+board+" is too weak: use one of 1 A or more, and a short cable.")
	}
	if h.TooHot {
		all = append(all, board+" is hotter than 80 °C and slows down: give it air.")
	}
	if h.Card != "" {
		all = append(all, "The card of "+board+" "+h.Card+".")
	}
	return all
}
