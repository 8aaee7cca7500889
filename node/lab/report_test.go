package lab

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func sampleSheet(t *testing.T, addr string) startReport {
	t.Helper()
	p, err := NewPlan(3, addr)
	if err != nil {
		t.Fatal(err)
	}
	s := startReport{plan: p, folder: "/tmp/lab", took: 1234 * time.Millisecond}
	for i, b := range p.Boards {
		s.results = append(s.results, startResult{addrs: b, pid: 100 + i, ready: i > 0, log: "/tmp/lab/" + b.Name + "/log"})
	}
	s.results[0].dead, s.results[0].pid = true, 0
	return s
}

func TestReport(t *testing.T) {
	want := `A rack of 3 boards, 2 ready after 1.2 s.

board    pages                  its own console        process  state
board-1  http://127.0.0.1:8081  http://127.0.0.1:8084  -        dead
board-2  http://127.0.0.1:8082  http://127.0.0.1:8085  101      ready
board-3  http://127.0.0.1:8083  http://127.0.0.1:8086  102      ready

Console of the whole rack: http://127.0.0.1:8080

What to try:
  - Open the shop on any board and place an order: http://127.0.0.1:8082/
  - List the orders:
      bramble orders list
  - Kill a board on the console and see the others keep serving.
  - See the rack in this terminal:
      bramble status
  - Purge one page, or all pages, from the caches of the rack:
      bramble purge /
      bramble purge --all
  - Take a board out of service without an error for anyone, and put it back:
      bramble drain board-2
      bramble drain --undo board-2

Ctrl-C stops the rack.
`
	if got := sampleSheet(t, "127.0.0.1:8080").text("bramble"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	wide := sampleSheet(t, "192.168.100.200:60000").text("go run ./cmd/bramble")
	if !strings.Contains(wide, "\n      go run ./cmd/bramble status --console https://192.168.100.200:60000\n") {
		t.Errorf("--console is missing in\n%s", wide)
	}
	for _, line := range strings.Split(wide, "\n") {
		if len(line) > 80 && !strings.Contains(line, " drain ") { // a command is not broken
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
}

func TestReportOfOneBoard(t *testing.T) {
	s := sampleSheet(t, "127.0.0.1:8080")
	s.results = s.results[1:2]
	got := s.text("bramble")
	for _, want := range []string{"A rack of 1 board, 1 ready after", "  - Kill it on the console, then revive it.\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

func TestReportAsJSON(t *testing.T) {
	got, err := json.Marshal(sampleSheet(t, "127.0.0.1:8080").summary())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"console":"http://127.0.0.1:8080","state":"/tmp/lab","boards":[` +
		`{"name":"board-1","http_url":"http://127.0.0.1:8081","console_url":"http://127.0.0.1:8084","gossip":"127.0.0.1:8087","link":"127.0.0.1:8090","pid":0,"ready":false,"log":"/tmp/lab/board-1/log"},` +
		`{"name":"board-2","http_url":"http://127.0.0.1:8082","console_url":"http://127.0.0.1:8085","gossip":"127.0.0.1:8088","link":"127.0.0.1:8091","pid":101,"ready":true,"log":"/tmp/lab/board-2/log"},` +
		`{"name":"board-3","http_url":"http://127.0.0.1:8083","console_url":"http://127.0.0.1:8086","gossip":"127.0.0.1:8089","link":"127.0.0.1:8092","pid":102,"ready":true,"log":"/tmp/lab/board-3/log"}]}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestExplainFailures(t *testing.T) {
	found := []startResult{
		{addrs: BoardAddrs{Name: "board-1"}, ready: true},
		{addrs: BoardAddrs{Name: "board-2"}, reason: "it is still looking for its rack.", log: "none/log"},
		{addrs: BoardAddrs{Name: "board-3"}, dead: true, reason: "it died unexpectedly (exit status 1)", log: "none/log"},
	}
	got := explainFailures(found, 30*time.Second)
	for _, want := range []string{
		"board-2 is not ready after 30s: it is still looking for its rack.\n",
		"board-3 is not running: it died unexpectedly (exit status 1).\n",
		"The end of its log:\n    its log cannot be read",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "board-1") {
		t.Errorf("a ready board is reported as not ready:\n%s", got)
	}
}
