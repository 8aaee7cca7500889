//go:build !race

package front

// raceEnabled is whether the race detector is on, under which stacks and heap are larger.
const raceEnabled = false
