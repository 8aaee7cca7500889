package node

const (
	// minOverloadLoad is the load up to which missed answers are not the shoppers' doing, but
	// a dead board's or a bad wire's.
	minOverloadLoad = 0.5
	// minGossipHealth and unwellTo are the parts of memberlist's awareness at which
	// shoppers begin to be shed, and all are that memory cannot serve: a single
	// missed answer is an accident.
	minGossipHealth, maxGossipHealth = 0.25, 0.75
)

// overload is front.Config.Pressure; the front asks once it serves.
func (b *board) overload() float64 {
	return overloadLevel(b.members.HealthScore(), float64(b.members.Self().Meta.Vitals.Load))
}

// overloadLevel is how much the rack's own traffic suffers from this board's load, 0 to
// 1, going by the answers that gossip has missed. What the scheduler delays, the
// front measures itself.
func overloadLevel(unwell, load float64) float64 {
	if load < minOverloadLoad {
		return 0
	}
	return min(max((unwell-minGossipHealth)/(maxGossipHealth-minGossipHealth), 0), 1)
}
