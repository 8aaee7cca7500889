package node

const (
	// calm is the load up to which missed answers are not the shoppers' doing, but
	// a dead board's or a bad wire's.
	calm = 0.5
	// unwellFrom and unwellTo are the parts of memberlist's awareness at which
	// shoppers begin to be shed, and all are that memory cannot serve: a single
	// missed answer is an accident.
	unwellFrom, unwellTo = 0.25, 0.75
)

// strain is front.Config.Pressure; the front asks once it serves.
func (b *board) strain() float64 {
	return strain(b.members.Unwell(), float64(b.members.Self().Meta.Vitals.Load))
}

// strain is how much the rack's own traffic suffers from this board's load, 0 to
// 1, going by the answers that gossip has missed. What the scheduler delays, the
// front measures itself.
func strain(unwell, load float64) float64 {
	if load < calm {
		return 0
	}
	return min(max((unwell-unwellFrom)/(unwellTo-unwellFrom), 0), 1)
}
