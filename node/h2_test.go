//go:build unix

package node_test

import (
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// h2specTime bounds a run of h2spec, which waits in many of its tests.
const h2specTime = 3 * time.Minute

// knownH2 lists h2spec's tests that Go's HTTP/2 does not pass, and why that is fine.
func knownH2() map[string]string {
	return map[string]string{
		// By RFC 9113 §6.5.3 the last value counts. Go ends the connection: only a client
		// with bad intentions sends the same setting twice in one frame.
		"Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE": "Go's",
		// Both are malformed requests, which §8.1.1 allows to be answered before the
		// stream ends: Go answers 400.
		"Sends a HEADERS frame that contains the connection-specific header field":                     "allowed",
		`Sends a HEADERS frame that contains the TE header field with any value other than "trailers"`: "allowed",
	}
}

func TestH2Spec(t *testing.T) {
	h2spec := server(t, "h2spec")
	r, addrs := secureRack(t, 1, "")
	r.boards[0].start()
	r.boards[0].waitReady()
	host, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(h2spec, "-h", host, "-p", port, "-t", "-k", "-P", "/", "-o", "5", "--strict")
	stop := time.AfterFunc(h2specTime, func() { _ = cmd.Process.Kill() })
	text, err := cmd.CombinedOutput() // it fails if one of its tests does
	stop.Stop()
	_, failures, _ := strings.Cut(string(text), "Failures:")
	if !strings.Contains(string(text), "146 tests, ") {
		t.Fatalf("h2spec did not run to its end: %v\n%s", err, text)
	}
	known := knownH2()
	var failed []string
	for line := range strings.Lines(failures) {
		if _, name, found := strings.Cut(line, "× "); found {
			_, name, _ = strings.Cut(strings.TrimSpace(name), ": ")
			failed = append(failed, name)
		}
	}
	slices.Sort(failed)
	for _, name := range slices.Compact(failed) {
		if known[name] == "" {
			t.Errorf("h2spec: %s", name)
		}
	}
	if t.Failed() {
		t.Logf("%s", failures)
	}
}
