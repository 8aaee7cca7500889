package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// sheet is all that a lab prints of itself when it is up.
type sheet struct {
	plan     *Plan
	state    string // the lab's folder
	found    []finding
	took     time.Duration
	password bool // the console asks for one
}

// present prints the sheet as a table or as JSON.
func present(o Options, s sheet) error {
	if o.JSON {
		return json.NewEncoder(o.Out).Encode(s.document())
	}
	_, err := io.WriteString(o.Out, s.table(o.Self))
	return err
}

// Document is what --json prints, in one line: where each board is.
type Document struct {
	Console string          `json:"console"` // URL of the lab's console
	State   string          `json:"state"`   // folder with a folder for each board
	Boards  []DocumentBoard `json:"boards"`  // board-1 first
}

// DocumentBoard is one board of a Document. The field names that package
// console uses too mean the same.
type DocumentBoard struct {
	Name       string `json:"name"`
	HTTPURL    string `json:"http_url"`
	ConsoleURL string `json:"console_url"`
	Gossip     string `json:"gossip"` // IP:PORT
	Link       string `json:"link"`   // IP:PORT
	PID        int    `json:"pid"`    // 0 if it has died already
	Ready      bool   `json:"ready"`
	Log        string `json:"log"` // path
}

func (s sheet) document() Document {
	d := Document{Console: url(s.plan.Console), State: s.state}
	for _, f := range s.found {
		d.Boards = append(d.Boards, DocumentBoard{
			Name: f.place.Name, HTTPURL: url(f.place.HTTP), ConsoleURL: url(f.place.Console),
			Gossip: f.place.Gossip.String(), Link: f.place.Link.String(),
			PID: f.pid, Ready: f.ready, Log: f.log,
		})
	}
	return d
}

// defaultConsole is what the commands ask if they are told nothing else.
const defaultConsole = "http://127.0.0.1:8080"

// table is the sheet for a person, at most 80 columns wide unless an address
// or self is unusually long. self is how this program is called.
func (s sheet) table(self string) string {
	ready, first := 0, s.found[0]
	for _, f := range s.found {
		if f.ready {
			if ready++; ready == 1 {
				first = f
			}
		}
	}
	where := ""
	if console := url(s.plan.Console); console != defaultConsole {
		where = " --console " + console
	}
	var b strings.Builder
	fmt.Fprintf(&b, "A rack of %s, %d ready after %.1f s.\n\n", several(len(s.found), "1 board", "%d boards"), ready, s.took.Seconds())
	b.WriteString(s.boards())
	fmt.Fprintf(&b, "\nConsole of the whole rack: %s\n", url(s.plan.Console))
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
`, url(first.place.HTTP),
		self, where,
		several(len(s.found), "it on the console, and revive it", "a board on the console, and see the others serve on"),
		self, where, self, where, self, where,
		self, where, first.place.Name, self, where, first.place.Name)
	return b.String()
}

// several is one for one, and many, with the number in it, for more.
func several(n int, one, many string) string {
	if n == 1 {
		return one
	}
	if strings.Contains(many, "%d") {
		return fmt.Sprintf(many, n)
	}
	return many
}

// boards is the table proper. Long addresses are shortened to fit a terminal.
func (s sheet) boards() string {
	rows := [][]string{{"board", "pages", "its own console", "process", "state"}}
	for _, f := range s.found {
		state, pid := "not ready", fmt.Sprint(f.pid)
		switch {
		case f.ready:
			state = "ready"
		case f.dead:
			state, pid = "dead", "-"
		}
		console := url(f.place.Console)
		if len(url(s.plan.Console)) > len(defaultConsole)+1 {
			console = fmt.Sprintf("same, port %d", f.place.Console.Port())
		}
		rows = append(rows, []string{f.place.Name, url(f.place.HTTP), console, pid, state})
	}
	return align(rows)
}

// align pads the columns of a table to the same width.
func align(rows [][]string) string {
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
