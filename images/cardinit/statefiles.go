package cardinit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Names of the state files, by which the card's init reports to the board's program.
const (
	clockStateFile      = "clock"       // exists once the clock was set; the number of servers that agree, wall clock and uptime then in ms; their names
	clockFaultStateFile = "clock-fault" // why the time servers are not believed
	restartsStateFile   = "restarts"    // how often the program has ended unexpectedly, in words, and its last lines
	recreatedStateFile  = "recreated"   // when and why the data partition was recreated; saved on the card too
	noCardStateFile     = "no-card"     // why the data partition cannot be used
	stickFaultStateFile = "usb-fault"   // why a USB stick that is plugged in cannot be used
)

// ClockIsSet reports whether a time server has set the clock since power-on.
func ClockIsSet(p Paths) bool {
	_, err := os.Stat(p.StateFile(clockStateFile))
	return err == nil
}

// TimeServers returns the number of time servers that agreed when the clock was last
// corrected; 0 before that, while they do not agree, and after somebody else has set the clock.
func TimeServers(p Paths) int {
	text, _ := os.ReadFile(p.StateFile(clockStateFile)) // without the file: 0
	n, at, up := 0, int64(0), int64(0)
	if _, err := fmt.Sscanf(string(text), "%d %d %d\n", &n, &at, &up); err != nil {
		return 0
	}
	byWall, byUptime := time.Now().UnixMilli()-at, uptime(p).Milliseconds()-up
	if time.Duration(byWall-byUptime).Abs() > maxLoneStep/time.Millisecond {
		return 0
	}
	return max(n, 0)
}

// uptime returns the time since the kernel started, which no step of the clock changes; 0 if
// it is unknown.
func uptime(p Paths) time.Duration {
	text, _ := os.ReadFile(filepath.Join(p.Proc, "uptime"))
	seconds := 0.0
	_, _ = fmt.Sscan(string(text), &seconds)
	return time.Duration(seconds * float64(time.Second))
}

// LostData returns why the data partition was made again, "" if it never was.
func LostData(p Paths) string {
	text, err := os.ReadFile(p.StateFile(recreatedStateFile))
	if err != nil {
		return ""
	}
	_, why, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return "the card's data partition was beyond repair and was made again: " + replaceControls(why)
}

// Notices returns the card's problems for the operator, a sentence or two each.
func Notices(p Paths) []string {
	var all []string
	for _, n := range []struct{ file, before, after string }{
		{clockFaultStateFile, "This board's clock is not corrected: ", ". Check the time servers in [network] ntp."},
		{restartsStateFile, "This board's program has ended unexpectedly ", ""},
		{noCardStateFile, "This board's card cannot be used, and the board accepts no orders: ", "."},
		{stickFaultStateFile, "This board: ", "."},
	} {
		if text, err := os.ReadFile(p.StateFile(n.file)); err == nil && len(text) > 0 {
			all = append(all, n.before+replaceControls(strings.TrimSpace(string(text)))+n.after)
		}
	}
	text, err := os.ReadFile(p.StateFile(clockStateFile))
	if lines := splitLines(string(text)); err == nil && len(lines) > 1 && strings.HasPrefix(lines[0], "1 ") {
		all = append(all, "This board's clock depends on one time server alone, "+replaceControls(lines[1])+": if it is wrong, nobody notices. Name two more in [network] ntp.")
	}
	if text, err := os.ReadFile(p.StateFile(recreatedStateFile)); err == nil {
		when, why, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		if at, err := time.Parse(time.RFC3339, when); err != nil || at.Before(earliestTime()) {
			when = "a day on which the clock was not set"
		}
		all = append(all, "The data on this board's card was beyond repair and was recreated empty on "+when+"; if the rack has other boards with the orders, they send them again. Reason: "+replaceControls(why)+".")
	}
	return all
}

func splitLines(text string) []string {
	return strings.Split(strings.TrimRight(text, "\n"), "\n")
}
