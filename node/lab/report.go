package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// startReport is all that a lab prints of itself when it is up.
type startReport struct {
	plan     *Plan
	folder   string // the lab's folder
	results  []startResult
	took     time.Duration
	password bool // the console asks for one
}

// printReport prints the sheet as a table or as JSON.
func printReport(o Options, s startReport) error {
	if o.JSON {
		return json.NewEncoder(o.Out).Encode(s.summary())
	}
	_, err := io.WriteString(o.Out, s.text(o.Program))
	return err
}

// Summary is what --json prints, in one line: where each board is.
type Summary struct {
	Console string         `json:"console"` // URL of the lab's console
	State   string         `json:"state"`   // folder with a folder for each board
	Boards  []BoardSummary `json:"boards"`  // board-1 first
}

// BoardSummary is one board of a Document. The field names that package
// console uses too mean the same.
type BoardSummary struct {
	Name       string `json:"name"`
	HTTPURL    string `json:"http_url"`
	ConsoleURL string `json:"console_url"`
	Gossip     string `json:"gossip"` // IP:PORT
	Link       string `json:"link"`   // IP:PORT
	PID        int    `json:"pid"`    // 0 if it has died already
	Ready      bool   `json:"ready"`
	Log        string `json:"log"` // path
}

func (s startReport) summary() Summary {
	d := Summary{Console: localURL(s.plan.Console), State: s.folder}
	for _, f := range s.results {
		d.Boards = append(d.Boards, BoardSummary{
			Name: f.addrs.Name, HTTPURL: localURL(f.addrs.HTTP), ConsoleURL: localURL(f.addrs.Console),
			Gossip: f.addrs.Gossip.String(), Link: f.addrs.Link.String(),
			PID: f.pid, Ready: f.ready, Log: f.log,
		})
	}
	return d
}

// defaultConsole is what the commands ask if they are told nothing else.
const defaultConsole = "http://127.0.0.1:8080"

// text is the sheet for a person, at most 80 columns wide unless an address
// or self is unusually long. self is how this program is called.
func (s startReport) text(self string) string {
	ready, first := 0, s.results[0]
	for _, f := range s.results {
		if f.ready {
			if ready++; ready == 1 {
				first = f
			}
		}
	}
	where := ""
	if console := localURL(s.plan.Console); console != defaultConsole {
		where = " --console " + console
	}
	var b strings.Builder
	fmt.Fprintf(&b, "A rack of %s, %d ready after %.1f s.\n\n", pluralize(len(s.results), "1 board", "%d boards"), ready, s.took.Seconds())
	b.WriteString(s.boardTable())
	fmt.Fprintf(&b, "\nConsole of the whole rack: %s\n", localURL(s.plan.Console))
	if s.password {
		b.WriteString("It asks for the user bramble and the password under [console]; the commands\n" +
			"below take it from the variable BRAMBLE_CONSOLE_PASSWORD.\n")
	}
	fmt.Fprintf(&b, `
What to try:
  - Open the shop on any board, and order: %s/
  - Count the orders:
      %s orders%s list
  - Kill %s.
  - See the rack in this terminal:
      %s status%s
  - Make the rack forget a page, or all of them:
      %s purge%s /
      %s purge%s --all
  - Take a board out without an error to anyone, and put it back:
      %s drain%s %s
      %s drain%s --undo %s

Ctrl-C stops the rack.
`, localURL(first.addrs.HTTP),
		self, where,
		pluralize(len(s.results), "it on the console, and revive it", "a board on the console, and see the others serve on"),
		self, where, self, where, self, where,
		self, where, first.addrs.Name, self, where, first.addrs.Name)
	return b.String()
}

// pluralize is one for one, and many, with the number in it, for more.
func pluralize(n int, one, many string) string {
	if n == 1 {
		return one
	}
	if strings.Contains(many, "%d") {
		return fmt.Sprintf(many, n)
	}
	return many
}

// boardTable is the table proper. Long addresses are shortened to fit a terminal.
func (s startReport) boardTable() string {
	rows := [][]string{{"board", "pages", "its own console", "process", "state"}}
	for _, f := range s.results {
		state, pid := "not ready", fmt.Sprint(f.pid)
		switch {
		case f.ready:
			state = "ready"
		case f.dead:
			state, pid = "dead", "-"
		}
		console := localURL(f.addrs.Console)
		if len(localURL(s.plan.Console)) > len(defaultConsole)+1 {
			console = fmt.Sprintf("same, port %d", f.addrs.Console.Port())
		}
		rows = append(rows, []string{f.addrs.Name, localURL(f.addrs.HTTP), console, pid, state})
	}
	return alignColumns(rows)
}

// alignColumns pads the columns of a table to the same width.
func alignColumns(rows [][]string) string {
	width := map[int]int{}
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += fmt.Sprintf("%-*s  ", width[i], cell)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
