package front

import "testing"

func TestAStateKnowsItsAge(t *testing.T) {
	for _, sweep := range []uint32{0, 5, 1<<27 - 2, 1<<27 - 1} {
		w := packState(stateReading, sweep) | probedBit
		if stateOf(w) != stateReading || sweepsSince(w, sweep) != 0 || sweepsSince(w, sweep+3) != 3 {
			t.Errorf("since sweep %d: state %d, %d and %d sweeps", sweep, stateOf(w), sweepsSince(w, sweep), sweepsSince(w, sweep+3))
		}
	}
}
