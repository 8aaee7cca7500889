//go:build race

package front

import (
	"fmt"
	"slices"
)

// checksTransitions: programs with the race detector, which tests are, stop at a
// transition that DESIGN.md does not draw.
const checksTransitions = true

func checkTransition(from, to connState) {
	if !slices.Contains(from.mayFollow(), to) {
		panic(fmt.Sprintf("a connection goes from state %d to state %d", from, to))
	}
}
