package cluster

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Helpers of the tests: real boards on loopback, and bounded waits.

// patience bounds every wait of these tests; they end long before unless something is broken.
const patience = 20 * time.Second

// quick is a timing that finds dead boards fast enough for a test.
func quick() GossipTiming {
	return GossipTiming{
		ProbeInterval:    100 * time.Millisecond,
		ProbeTimeout:     60 * time.Millisecond,
		SuspicionMult:    3,
		SuspicionMaxMult: 2,
		AwarenessMax:     4,
		GossipInterval:   20 * time.Millisecond,
		PushPullInterval: time.Second,
		StreamTimeout:    2 * time.Second,
		RejoinMin:        50 * time.Millisecond,
		RejoinMax:        200 * time.Millisecond,
	}
}

func rackKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// processKey is the rack key of this process's tests. Another process that runs them at the same time has boards
// with the same names, and may get a port that a board here still tries.
func processKey() []byte { return binary.BigEndian.AppendUint64(rackKey(1)[:24], uint64(os.Getpid())) }

// lines is a log that a test reads.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// testConfig configures a serving board on a free loopback port. Its log is printed if the test fails.
func testConfig(t *testing.T, name string, join ...string) (MembersConfig, *lines) {
	log := new(lines)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, log)
		}
	})
	return MembersConfig{
		Name:   name,
		Bind:   "127.0.0.1:0",
		Keys:   [][]byte{processKey()},
		Join:   join,
		Meta:   Meta{Weight: OrdinaryWeight, LinkPort: 7947, Vitals: Vitals{State: Serving}},
		Timing: quick(),
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}, log
}

// mustStart starts a board. If its address comes from an earlier start, another connection may have taken the port
// meanwhile. mustStart then waits until the port is free again.
func mustStart(t *testing.T, cfg MembersConfig) *Members {
	t.Helper()
	m, err := Start(t.Context(), cfg)
	for end := time.Now().Add(patience); err != nil && strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		m, err = Start(t.Context(), cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func startBoard(t *testing.T, name string, join ...string) *Members {
	t.Helper()
	cfg, _ := testConfig(t, name, join...)
	return mustStart(t, cfg)
}

// board returns what m knows about a board, or the zero Board.
func board(m *Members, name string) Board {
	for _, b := range m.Boards() {
		if b.Name == name {
			return b
		}
	}
	return Board{}
}

func gossipAddr(m *Members) string {
	for _, b := range m.Boards() {
		if b.Self {
			return b.Addr.String()
		}
	}
	return ""
}

// eventually polls until ok, and fails the test when patience ends.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

func ringOf(m *Members) string {
	var names []string
	for _, b := range m.Ring().members {
		if b.Weight > 0 {
			names = append(names, b.Name)
		}
	}
	return strings.Join(names, " ")
}

// await waits for an event of this kind about this board.
func await(t *testing.T, events <-chan Event, kind EventKind, name string) Event {
	t.Helper()
	return awaitAny(t, events, name, kind)
}

// awaitAny waits for the first event of a board of one of these kinds.
func awaitAny(t *testing.T, events <-chan Event, name string, kinds ...EventKind) Event {
	t.Helper()
	end := time.After(patience)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("the watch ended before %s %v", name, kinds)
			}
			if e.Board == name && slices.Contains(kinds, e.Kind) {
				return e
			}
		case <-end:
			t.Fatalf("no event: %s %v", name, kinds)
		}
	}
}

func noLeaks(t *testing.T) {
	// Registered first, so run last. Goroutines of earlier tests are ignored.
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		// On a busy machine the last goroutines of a board take longer than goleak waits.
		err := goleak.Find(before)
		for end := time.Now().Add(patience); err != nil && time.Now().Before(end); {
			err = goleak.Find(before)
		}
		if err != nil {
			t.Error(err)
		}
	})
}
