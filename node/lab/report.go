package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// startReport is the data of the report that a lab prints when it is up.
type startReport struct {
	plan     *Plan
	folder   string // the lab's folder
	results  []startResult
	took     time.Duration
	password bool // the console requires one
}

func printReport(o Options, s startReport) error {
	if o.JSON {
		return json.NewEncoder(o.Out).Encode(s.summary())
	}
	_, err := io.WriteString(o.Out, s.text(o.Program))
	return err
}

// Summary is the output of --json, on one line: the addresses of each board.
type Summary struct {
	Console string         `json:"console"` // URL of the lab's console
	State   string         `json:"state"`   // folder with a folder for each board
	Boards  []BoardSummary `json:"boards"`  // board-1 first
}

// BoardSummary is one board of a Summary. Fields that package console has too have
// the same meaning.
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
	d := Summary{Console: consoleURL(s.plan.Console), State: s.folder}
	for _, r := range s.results {
		d.Boards = append(d.Boards, BoardSummary{
			Name: r.addrs.Name, HTTPURL: localURL(r.addrs.HTTP), ConsoleURL: consoleURL(r.addrs.Console),
			Gossip: r.addrs.Gossip.String(), Link: r.addrs.Link.String(),
			PID: r.pid, Ready: r.ready, Log: r.log,
		})
	}
	return d
}

// defaultConsole is the console that the commands use by default.
const defaultConsole = "http://127.0.0.1:8080"

// text returns the report for a person, at most 80 columns wide unless an address
// or program is unusually long. program is the command that runs this program.
func (s startReport) text(program string) string {
	ready, first := 0, s.results[0]
	for _, r := range s.results {
		if r.ready {
			if ready++; ready == 1 {
				first = r
			}
		}
	}
	where := ""
	if console := consoleURL(s.plan.Console); console != defaultConsole {
		where = " --console " + console
	}
	var b strings.Builder
	fmt.Fprintf(&b, "A rack of %s, %d ready after %.1f s.\n\n", pluralize(len(s.results), "1 board", "%d boards"), ready, s.took.Seconds())
	b.WriteString(s.boardTable())
	fmt.Fprintf(&b, "\nConsole of the whole rack: %s\n", consoleURL(s.plan.Console))
	if !s.plan.Console.Addr().IsLoopback() {
		fmt.Fprintf(&b, "It speaks https. The commands below need the rack key; add\n--config %s\n", filepath.Join(s.folder, s.plan.Boards[0].Name, configFile))
	}
	if s.password {
		b.WriteString("Its user is bramble and its password the one under [console]. The commands below\n" +
			"read the password from the variable BRAMBLE_CONSOLE_PASSWORD.\n")
	}
	fmt.Fprintf(&b, `
What to try:
  - Open the shop on any board and place an order: %s/
  - List the orders:
      %s orders%s list
  - Kill %s.
  - See the rack in this terminal:
      %s status%s
  - Purge one page, or all pages, from the caches of the rack:
      %s purge%s /
      %s purge%s --all
  - Take a board out of service without an error for anyone, and put it back:
      %s drain%s %s
      %s drain%s --undo %s

Ctrl-C stops the rack.
`, localURL(first.addrs.HTTP),
		program, where,
		pluralize(len(s.results), "it on the console, then revive it", "a board on the console and see the others keep serving"),
		program, where, program, where, program, where,
		program, where, first.addrs.Name, program, where, first.addrs.Name)
	return b.String()
}

// pluralize returns one if n is 1, and otherwise many, with n in place of %d.
func pluralize(n int, one, many string) string {
	if n == 1 {
		return one
	}
	if strings.Contains(many, "%d") {
		return fmt.Sprintf(many, n)
	}
	return many
}

// boardTable returns the table of the boards. Long addresses are shortened to fit a
// terminal.
func (s startReport) boardTable() string {
	rows := [][]string{{"board", "pages", "its own console", "process", "state"}}
	for _, r := range s.results {
		state, pid := "not ready", fmt.Sprint(r.pid)
		switch {
		case r.ready:
			state = "ready"
		case r.dead:
			state, pid = "dead", "-"
		}
		console := consoleURL(r.addrs.Console)
		if len(consoleURL(s.plan.Console)) > len(defaultConsole)+1 {
			console = fmt.Sprintf("https, port %d", r.addrs.Console.Port())
		}
		rows = append(rows, []string{r.addrs.Name, localURL(r.addrs.HTTP), console, pid, state})
	}
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	table.Flush() // a strings.Builder takes all
	return b.String()
}

const (
	readyInterval = 100 * time.Millisecond // between two checks of a board
	tailLines     = 8                      // of the log of a board that is not ready
	reasonLimit   = 200                    // characters of a board's own reason
)

type startResult struct {
	addrs  BoardAddrs
	pid    int
	ready  bool
	dead   bool   // its process has ended
	reason string // why it is not ready
	log    string // path of its log
}

// awaitReady waits until each board serves or has died, for at most timeout or until
// ctx ends.
func awaitReady(ctx context.Context, f *fleet, consoles map[string]boardConsole, timeout time.Duration) []startResult {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results := make([]startResult, len(f.boards))
	var all sync.WaitGroup
	for i, b := range f.boards {
		b.mu.Lock()
		p := b.proc
		b.mu.Unlock()
		results[i] = startResult{addrs: b.addrs, pid: p.pid(), log: filepath.Join(b.dir, logFile)}
		all.Go(func() { results[i].waitReady(ctx, p, consoles[b.addrs.Name]) })
	}
	all.Wait()
	return results
}

// waitReady checks one board until it serves or has died, or ctx ends.
func (s *startResult) waitReady(ctx context.Context, p *boardProcess, at boardConsole) {
	s.reason = "it has not answered yet"
	ticker := time.Tick(readyInterval)
	for {
		ok, reason, err := at.Ready(ctx)
		switch {
		case ok:
			s.ready = true
			return
		case err == nil && reason != "":
			s.reason = truncateText(reason, reasonLimit)
		}
		select {
		case <-p.exited:
			s.dead, s.pid, s.reason = true, 0, "it died unexpectedly"
			if p.err != nil {
				s.reason += " (" + p.err.Error() + ")"
			}
			return
		case <-ctx.Done():
			return
		case <-ticker:
		}
	}
}

// explainFailures returns which boards are not ready, why, and their last log lines; ""
// if all are ready.
func explainFailures(results []startResult, timeout time.Duration) string {
	var b strings.Builder
	for _, f := range results {
		if f.ready {
			continue
		}
		if f.dead {
			fmt.Fprintf(&b, "%s is not running: %s.\n", f.addrs.Name, f.reason)
		} else {
			fmt.Fprintf(&b, "%s is not ready after %v: %s.\n", f.addrs.Name, timeout, strings.TrimSuffix(f.reason, "."))
		}
		b.WriteString("The end of its log:\n")
		for _, line := range lastLines(f.log, tailLines) {
			fmt.Fprintf(&b, "    %s\n", truncateText(line, reasonLimit))
		}
	}
	return b.String()
}
