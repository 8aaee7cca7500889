//go:build unix

package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/node/sockets/socketstest"
)

// The public test suite of HTTP caches (an npm package) against real boards. The
// expected results are in testdata/http-cache-tests.txt, which may only get better.
const (
	suiteFolder = "../.ci/http-cache-tests/node_modules/http-cache-tests"
	suiteTable  = "testdata/http-cache-tests.txt"
	// suiteTime bounds one run; it sleeps for most of it.
	suiteTime = 5 * time.Minute
	// suiteAgain bounds the repetitions of a test that got worse. The suite measures
	// time on a machine that others use too.
	suiteAgain = 3
)

// suite is the installed suite, with its origin server running.
type suite struct {
	t      *testing.T
	node   string
	origin string // its server's URL
}

func startSuite(t *testing.T) suite {
	t.Helper()
	missing := ""
	node, err := exec.LookPath("node")
	if err != nil {
		missing = "node, the JavaScript runtime (Debian package nodejs)"
	} else if _, err := os.Stat(suiteFolder); err != nil {
		missing = "the suite: run npm install in .ci/http-cache-tests"
	}
	if missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this test needs %s", missing)
		}
		t.Skipf("this test needs %s", missing)
	}
	port := socketstest.FreePorts(t, 1)
	s := suite{t: t, node: node, origin: fmt.Sprintf("http://127.0.0.1:%d", port)}
	server := exec.Command(node, "server/server.mjs")
	server.Dir = suiteFolder
	server.Env = append(os.Environ(), "npm_config_protocol=http", fmt.Sprintf("npm_config_port=%d", port),
		"npm_config_pidfile="+filepath.Join(t.TempDir(), "pid"))
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	eventually(t, "the suite's origin", func() (bool, string) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false, err.Error()
		}
		conn.Close()
		return true, ""
	})
	return s
}

// run runs the whole suite, or one test of it, against a board and returns the
// outcome of each test: "pass" or "fail".
func (s suite) run(base, id string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), suiteTime)
	defer cancel()
	// The suite's own program prints one test's outcome for people to read, so
	// both cases go through its library.
	const program = `
import { runTests, getResults } from './client/runner.mjs'
import fetch from 'node-fetch'
import tests from './tests/index.mjs'
const id = process.argv[2]
// A request that is never answered, or whose body never ends, fails its own test. Without a limit Node
// ends with status 13 once nothing else is left to do, and does not name the test.
const limit = 20_000
const settle = (promise, what) => {
  let timer
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(what + ' took more than 20 s')), limit) })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
const boundedFetch = async (url, init) => {
  const response = await settle(fetch(url, init), 'a request')
  for (const read of ['text', 'json', 'arrayBuffer']) {
    const method = response[read].bind(response)
    response[read] = () => settle(method(), 'a body')
  }
  return response
}
const chosen = id ? tests.map(s => ({ ...s, tests: s.tests.filter(t => t.id === id) })).filter(s => s.tests.length) : tests
await runTests(chosen, boundedFetch, false, process.argv[1])
console.log(JSON.stringify(getResults()))
`
	cmd := exec.CommandContext(ctx, s.node, "--no-warnings", "--input-type=module", "--eval", program, "--", base, id)
	cmd.Dir = suiteFolder
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running the suite: %w: %s", err, complaints.String())
	}
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	var results map[string]json.RawMessage
	if err := json.Unmarshal(lines[len(lines)-1], &results); err != nil {
		return nil, fmt.Errorf("reading the suite's results: %w", err)
	}
	outcomes := make(map[string]string, len(results))
	for id, raw := range results {
		outcomes[id] = "fail"
		if string(raw) == "true" {
			outcomes[id] = "pass"
		}
	}
	return outcomes, nil
}

// updating reports whether to write the table instead of comparing with it.
func updating() bool { return os.Getenv("BRAMBLE_UPDATE_TABLE") != "" }

// expectation is a line of the table.
type expectation struct {
	outcome string
	why     string // of a failure
}

func readTable(t *testing.T) map[string]expectation {
	t.Helper()
	text, err := os.ReadFile(suiteTable)
	if err != nil && !updating() {
		t.Fatal(err)
	}
	table := map[string]expectation{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		id, rest, _ := strings.Cut(line, "\t")
		outcome, why, _ := strings.Cut(rest, "\t")
		table[id] = expectation{outcome, why}
	}
	return table
}

// compare returns the tests with a worse outcome than the table's, after repetitions,
// and those with a better one.
func (s suite) compare(base string, got map[string]string, table map[string]expectation) (worse, better []string) {
	for _, id := range slices.Sorted(maps.Keys(table)) {
		want := table[id].outcome
		outcome, ran := got[id]
		for again := 0; again < suiteAgain && want == "pass" && outcome != "pass"; again++ {
			results, err := s.run(base, id)
			if err != nil {
				s.t.Fatal(err)
			}
			outcome = results[id]
		}
		switch {
		case !ran, want == "pass" && outcome != "pass":
			worse = append(worse, id)
		case want != "pass" && outcome == "pass":
			better = append(better, id)
		}
	}
	return worse, better
}

func TestPublicCacheTestSuite(t *testing.T) {
	s := startSuite(t)
	table := readTable(t)
	// The suite's example of an unsafe method that a cache does not know is M-SEARCH.
	site := fmt.Sprintf("[origin]\nurl = %q\nmethods = [\"M-SEARCH\"]\n", s.origin)
	one, five := startRack(t, 1, site), startRack(t, 5, site)
	bases := map[string]string{"one board": one.boards[0].http, "a rack of five": five.boards[0].http}
	outcomes := map[string]map[string]string{}
	var (
		mu sync.Mutex // guards outcomes
		wg sync.WaitGroup
	)
	for name, base := range bases {
		wg.Go(func() {
			got, err := s.run(base, "")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			outcomes[name] = got
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for name, base := range bases {
		got := outcomes[name]
		passed := 0
		for _, outcome := range got {
			if outcome == "pass" {
				passed++
			}
		}
		t.Logf("%s passes %d of %d tests", name, passed, len(got))
		if updating() {
			continue
		}
		if len(got) < len(table) {
			t.Errorf("%s: the suite ran %d tests, the table has %d", name, len(got), len(table))
		}
		worse, better := s.compare(base, got, table)
		if len(worse) > 0 {
			t.Errorf("%s fails tests that it used to pass: %s", name, strings.Join(worse, ", "))
		}
		if len(better) > 0 {
			t.Logf("%s passes what it once failed; write it into %s: %s", name, suiteTable, strings.Join(better, ", "))
		}
	}
	if updating() {
		writeTable(t, outcomes["one board"], table)
	}
}

// writeTable writes the table and preserves the remarks of each test.
func writeTable(t *testing.T, got map[string]string, old map[string]expectation) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# What one board gives in each test of the suite http-cache-tests 0.4.5, and why where it is no pass;\n" +
		"# informative tests ask which of two allowed things a cache does.\n" +
		"# Made by: BRAMBLE_UPDATE_TABLE=1 go test ./node -run TestPublicCacheTestSuite\n" +
		"# A line may only change from fail to pass.\n")
	for _, id := range slices.Sorted(maps.Keys(got)) {
		fmt.Fprintf(&b, "%s\t%s", id, got[id])
		if why := old[id].why; why != "" && got[id] != "pass" {
			b.WriteString("\t" + why)
		}
		b.WriteString("\n")
	}
	if err := os.MkdirAll(filepath.Dir(suiteTable), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(suiteTable, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
