package lab

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/console/consoletest"

	"go.uber.org/goleak"
)

// The test binary runs as the boards of the labs under test, and once as a lab that
// is killed: it starts itself with one of these arguments.
const (
	asBoard = "play-board" // MODE, then the board's file
	asLab   = "play-lab"   // the lab's folder
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case asBoard:
			playBoard(os.Args[2], os.Args[3])
			return
		case asLab:
			playLab(os.Args[2])
			return
		}
	}
	goleak.VerifyTestMain(m)
}

// boardCommand returns the command that runs a board of the given mode: "good";
// "stubborn" does not stop when requested; "deaf" never becomes ready.
func boardCommand(t testing.TB, mode string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{exe, asBoard, mode}
}

// playBoard is a board without a rack: it has a fake's console, and stops as
// a board does, by SIGTERM or when its lab's pipe closes.
func playBoard(mode, file string) {
	cfg, err := config.Load(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if mode == "broken" || mode == "one-broken" && cfg.Board.Name == "board-2" {
		fmt.Fprintln(os.Stderr, "this board is broken by design")
		os.Exit(3)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	fake := consoletest.NewFake(3)
	c, err := console.New(console.Config{
		Source: fake, Control: fake, LocalSteers: true,
		Ready: func() (bool, string) { return mode != "deaf", "it is deaf by design" },
	})
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", cfg.Console.Listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go c.Run(context.Background())
	go http.Serve(l, c)
	fmt.Fprintln(os.Stderr, "serving as", cfg.Board.Name)
	for {
		select {
		case <-signals:
			if mode == "stubborn" {
				fmt.Fprintln(os.Stderr, "refusing to stop")
				continue
			}
			fmt.Fprintln(os.Stderr, "left cleanly")
			os.Exit(0)
		case <-gone:
			os.Exit(0)
		}
	}
}

// playLab runs a lab until a signal ends it.
func playLab(state string) {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	err = Run(context.Background(), Options{
		Boards: 3, ListenAddr: "127.0.0.1:0", State: state, JSON: true,
		Command: []string{exe, asBoard, "good"}, Out: os.Stdout, Err: os.Stderr,
		Logger: slog.New(slog.DiscardHandler),
	})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// lines is a writer that passes on whole lines.
type lines struct {
	rest string
	ch   chan string
}

func newLines() *lines { return &lines{ch: make(chan string, 1000)} }

func (l *lines) Write(p []byte) (int, error) {
	l.rest += string(p)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			return len(p), nil
		}
		l.rest = rest
		l.ch <- line
	}
}

// next waits for a line that contains text.
func (l *lines) next(t testing.TB, text string) string {
	t.Helper()
	give := time.After(20 * time.Second)
	for {
		select {
		case line := <-l.ch:
			if strings.Contains(line, text) {
				return line
			}
		case <-give:
			t.Fatalf("no line with %q came", text)
		}
	}
}

// eventually waits until ok, for at most 20 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen: %s", what)
}

// newFleet makes a fleet of n boards of a mode with its own folder and ports.
func newFleet(t *testing.T, n int, mode string, grace time.Duration, hurry chan struct{}) *fleet {
	t.Helper()
	plan, err := NewPlan(n, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	if _, err := writeBoards(state, plan, config.NewRackKey(), nil); err != nil {
		t.Fatal(err)
	}
	s := newStarter()
	t.Cleanup(s.close)
	f := &fleet{starter: s, leaveTimeout: grace, killNow: hurry, events: new(console.Broadcaster), printLine: func(string) {}}
	for _, p := range plan.Boards {
		dir := filepath.Join(state, p.Name)
		f.boards = append(f.boards, &labBoard{
			addrs: p, dir: dir, state: stopped,
			command: append(boardCommand(t, mode), filepath.Join(dir, configFile)),
		})
	}
	return f
}
