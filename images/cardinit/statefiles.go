package cardinit

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Files of the state folder: what aboard tells the board's program.
const (
	clockStateFile    = "clock"    // is there when a time server was believed
	restartsStateFile = "restarts" // how often the program ended unasked, and its last words
	remadeStateFile   = "re-made"  // when and why the data partition was made anew; kept on the card too
	noCardStateFile   = "no-card"  // why the data partition cannot be used
)

// ClockIsSet reports whether a time server was believed since the power came.
func ClockIsSet(p Paths) bool {
	_, err := os.Stat(p.StateFile(clockStateFile))
	return err == nil
}

// Notices are what a person must know of the card, a sentence each.
func Notices(p Paths) []string {
	var all []string
	if text, err := os.ReadFile(p.StateFile(restartsStateFile)); err == nil {
		if n, words := parseRestarts(string(text)); n > 0 {
			all = append(all, fmt.Sprintf("This board's program ended by itself %d times since its power came, and was started again. It said last: %s",
				n, strings.Join(words, " / ")))
		}
	}
	if text, err := os.ReadFile(p.StateFile(remadeStateFile)); err == nil {
		when, why, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		if at, err := time.Parse(time.RFC3339, when); err != nil || at.Before(earliestTime()) {
			when = "a day when its clock was not set"
		}
		all = append(all, "The data on this board's card was beyond repair and made anew on "+when+"; other boards give it the orders back. It was: "+replaceControls(why)+".")
	}
	if text, err := os.ReadFile(p.StateFile(noCardStateFile)); err == nil {
		all = append(all, "This board's card cannot be used, and the board takes no orders: "+replaceControls(strings.TrimSpace(string(text)))+".")
	}
	return all
}
