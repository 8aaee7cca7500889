//go:build !race

package front

// raceEnabled reports whether the race detector is on, under which stacks and heap are
// larger.
const raceEnabled = false
