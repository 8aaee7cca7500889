package main

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"bramble/node/console"
	"bramble/node/console/client"
)

func statusCommand() command {
	return command{
		name:  "status",
		short: "show the boards of the rack and their states",
		long: `
Show the boards of the rack, as one board or the lab sees them now:

  STATE    the board's own report, or the other boards' about it: left means
           that it was stopped in order, dead that it does not answer
  RESP/s   responses per second; CACHED is the fraction from its own memory
  RSS      memory of the process; CACHE is the size of its cache
  OPEN     client connections
  SHARE    the share of the pages that the board owns
  UP       time since the process started`,
		examples: `
  bramble status
  bramble status --config bramble.toml --console https://192.168.1.5:8080
  bramble status --json`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			asJSON := fs.Bool("json", false, "print the answer of the console's API, as one line of JSON")
			return func(ctx context.Context, w world, _ []string) error {
				return connect(w, func(c *client.Client) error {
					s, err := c.Rack(ctx)
					if err != nil {
						return err
					}
					if *asJSON {
						return printJSON(w, s)
					}
					fmt.Fprint(w.out, statusTable(s))
					return nil
				})
			}
		},
	}
}

const maxShownName = 15 // bounds a name, so that the table fits 80 columns

// statusTable is the rack as a table of at most 80 columns.
func statusTable(s console.RackView) string {
	rows := [][]string{{"BOARD", "STATE", "RESP/s", "CACHED", "CPU", "RSS", "OPEN", "CACHE", "SHARE", "UP"}}
	var responses float64
	serving := 0
	var faults []string
	for _, b := range s.Boards {
		v := b.Vitals
		row := []string{truncateCell(b.Name, maxShownName), b.State}
		if v == (console.VitalsView{}) { // no vitals yet
			row = append(row, "-", "-", "-", "-", "-", "-")
		} else {
			row = append(row, formatRate(v.ResponsesPerSecond), formatPercent(v.HitRatio), formatPercent(v.CPUCores),
				formatBytes(v.MemoryBytes), formatCount(v.Connections), formatBytes(v.CacheBytes))
		}
		rows = append(rows, append(row, formatPercent(b.RingShare), formatUptime(v.UptimeSeconds)))
		responses += v.ResponsesPerSecond
		if b.State == "serving" {
			serving++
		}
		if len(b.Faults) > 0 {
			faults = append(faults, b.Name+": "+strings.Join(b.Faults, ", "))
		}
	}
	var b strings.Builder
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		fmt.Fprintf(&b, "%-*s  %-*s", width[0], row[0], width[1], row[1])
		for i, cell := range row[2:] { // numbers are right-aligned
			fmt.Fprintf(&b, "  %*s", width[i+2], cell)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n%d of %d boards serving, %s responses/s, as seen by %s at %s\n",
		serving, len(s.Boards), formatRate(responses), truncateCell(s.Observer, maxShownName), s.At.Local().Format("15:04:05"))
	for _, text := range append(faults, s.Notices...) {
		b.WriteString(strings.Join(wrapText(text, helpWidth), "\n") + "\n")
	}
	return b.String()
}

// truncateCell shortens a text that would break a table.
func truncateCell(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}

func formatRate(v float64) string {
	if v < 9.95 && v > 0 {
		return fmt.Sprintf("%.1f", v)
	}
	return formatCount(int64(v + 0.5))
}

// formatCount formats a number in at most five columns.
func formatCount(n int64) string {
	switch {
	case n < 100_000:
		return fmt.Sprint(n)
	case n < 10_000_000:
		return fmt.Sprintf("%dk", n/1000)
	default:
		return fmt.Sprintf("%dM", n/1_000_000)
	}
}

func formatPercent(ratio float64) string { return fmt.Sprintf("%.0f%%", ratio*100) }

// formatBytes formats a number of bytes in at most five columns.
func formatBytes(n int64) string {
	units := []string{"B", "kB", "MB", "GB"}
	v, i := float64(n), 0
	for v >= 999.5 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	if i > 1 && v < 9.95 {
		return fmt.Sprintf("%.1f%s", v, units[i])
	}
	return fmt.Sprintf("%.0f%s", v, units[i])
}

// formatUptime formats a duration in at most four columns.
func formatUptime(seconds int64) string {
	switch {
	case seconds == 0:
		return "-"
	case seconds < 120:
		return fmt.Sprintf("%ds", seconds)
	case seconds < 2*3600:
		return fmt.Sprintf("%dm", seconds/60)
	case seconds < 2*86400:
		return fmt.Sprintf("%dh", seconds/3600)
	default:
		return fmt.Sprintf("%dd", seconds/86400)
	}
}
