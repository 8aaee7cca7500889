//go:build unix

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bramble/node/console"
	"bramble/node/console/client"
)

// exists reports whether a process exists that is not a zombie of ours.
func exists(pid int) bool { return syscall.Kill(pid, 0) == nil }

// serving waits until a board has opened its console.
func serving(t *testing.T, f *fleet, i int) {
	t.Helper()
	eventually(t, "a board serves", func() bool {
		resp, err := http.Get(localURL(f.boards[i].addrs.Console) + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		return resp.StatusCode == http.StatusOK
	})
}

func TestStopKillPauseRevive(t *testing.T) {
	f := newFleet(t, 3, "good", 10*time.Second, nil)
	heard, unsubscribe := f.events.Subscribe()
	defer unsubscribe()
	if err := f.startAll(); err != nil {
		t.Fatal(err)
	}
	defer f.stopAll()
	for i := range f.boards {
		serving(t, f, i)
	}
	do := func(board, action string) {
		t.Helper()
		if err := f.Do(t.Context(), board, action); err != nil {
			t.Fatalf("%s %s: %v", action, board, err)
		}
		if e := <-heard; e.Board != board || e.Kind != "lab" {
			t.Errorf("%s %s: event %+v", action, board, e)
		}
	}
	refuse := func(board, action, want string, kind error) {
		t.Helper()
		err := f.Do(t.Context(), board, action)
		if err == nil || err.Error() != want || !errors.Is(err, kind) {
			t.Errorf("%s %s: got %v\nwant %s", action, board, err, want)
		}
	}
	state := func(i int, want runState) {
		t.Helper()
		if got := f.boardStatuses()[i]; got.state != want {
			t.Errorf("%s is %s, want %s", got.addrs.Name, got.state, want)
		}
	}
	pids := make([]int, 3)
	for i, s := range f.boardStatuses() {
		pids[i] = s.pid
	}

	refuse("board-2", "revive", "not possible now: board-2 is already running", console.ErrUnavailable)
	refuse("board-9", "kill", `unknown board: the lab has board-1 to board-3, not "board-9"`, console.ErrUnknownBoard)
	refuse("board-1", "boil", `bad request: the actions on a board are stop, kill, pause and revive, not "boil"`, console.ErrBadRequest)

	do("board-1", "stop")
	state(0, stopped)
	if exists(pids[0]) {
		t.Error("a stopped board has a process")
	}
	if log := lastLines(filepath.Join(f.boards[0].dir, logFile), 1)[0]; log != "left cleanly" {
		t.Errorf("a stopped board logged last %q", log)
	}
	refuse("board-1", "stop", "not possible now: board-1 is already stopped; revive starts it", console.ErrUnavailable)
	refuse("board-1", "pause", "not possible now: board-1 is not running; revive starts it", console.ErrUnavailable)
	do("board-1", "revive")
	state(0, running)
	serving(t, f, 0)

	do("board-2", "kill")
	state(1, dead)
	if exists(pids[1]) {
		t.Error("a killed board has a process")
	}
	refuse("board-2", "kill", "not possible now: board-2 is already dead; revive starts it", console.ErrUnavailable)

	do("board-3", "pause")
	state(2, paused)
	refuse("board-3", "pause", "not possible now: board-3 is already paused; revive continues it", console.ErrUnavailable)
	refuse("board-3", "stop", "not possible now: board-3 is paused; revive it first, or kill it", console.ErrUnavailable)
	do("board-3", "revive")
	if s := f.boardStatuses()[2]; s.state != running || s.pid != pids[2] {
		t.Errorf("after a pause board-3 is %+v, and was process %d", s, pids[2])
	}
	serving(t, f, 2)
	do("board-3", "pause")
	do("board-3", "kill")
	state(2, dead)
	do("board-3", "revive")
	do("board-3", "pause") // stopAll must end a paused board too

	f.stopAll()
	refuse("board-1", "revive", "not possible now: board-1 is ending with its lab", console.ErrUnavailable)
	for i := range f.boards {
		if f.boards[i].proc.isAlive() {
			t.Errorf("board-%d outlives its lab", i+1)
		}
	}
}

func TestBoardThatDiesByItselfIsReported(t *testing.T) {
	f := newFleet(t, 2, "good", 10*time.Second, nil)
	heard, unsubscribe := f.events.Subscribe()
	defer unsubscribe()
	if err := f.startAll(); err != nil {
		t.Fatal(err)
	}
	defer f.stopAll()
	serving(t, f, 1)
	if err := syscall.Kill(f.boardStatuses()[1].pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e := <-heard
	if want := "board-2 died unexpectedly (signal: killed); the end of its log: serving as board-2"; e.Text != want {
		t.Errorf("got  %s\nwant %s", e.Text, want)
	}
	if s := f.boardStatuses()[1]; s.state != dead || s.pid != 0 {
		t.Errorf("board-2 is %+v", s)
	}
}

func TestBoardThatDoesNotStopIsKilled(t *testing.T) {
	t.Run("after its timeout", func(t *testing.T) {
		f := newFleet(t, 1, "stubborn", 100*time.Millisecond, nil)
		if err := f.startAll(); err != nil {
			t.Fatal(err)
		}
		serving(t, f, 0)
		f.stopAll()
		if f.boards[0].proc.isAlive() || f.boards[0].proc.err.Error() != "signal: killed" {
			t.Errorf("it ended by %v", f.boards[0].proc.err)
		}
	})
	t.Run("at a second Ctrl-C", func(t *testing.T) {
		hurry := make(chan struct{})
		f := newFleet(t, 1, "stubborn", time.Hour, hurry)
		if err := f.startAll(); err != nil {
			t.Fatal(err)
		}
		serving(t, f, 0)
		ended := make(chan struct{})
		go func() { defer close(ended); f.stopAll() }()
		log := filepath.Join(f.boards[0].dir, logFile)
		eventually(t, "the board is asked to stop", func() bool { return lastLines(log, 1)[0] == "refusing to stop" })
		close(hurry)
		<-ended
		if f.boards[0].proc.isAlive() {
			t.Error("it is still there")
		}
	})
}

// TestLabKilled kills a lab and checks that its boards end.
func TestLabKilled(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, asLab, t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var doc Summary
	err = json.NewDecoder(out).Decode(&doc)
	cmd.Process.Kill()
	io.Copy(io.Discard, out)
	cmd.Wait()
	if err != nil || len(doc.Boards) != 3 {
		t.Fatalf("the lab printed %+v, %v", doc, err)
	}
	for _, b := range doc.Boards {
		if !b.Ready || b.PID == 0 {
			t.Errorf("%s did not start", b.Name)
		}
		eventually(t, b.Name+" ends with its lab", func() bool { return !exists(b.PID) })
	}
}

// TestLab runs a whole lab through its console.
func TestLab(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, err := newLines(), newLines()
	ended := make(chan error, 1)
	state := t.TempDir()
	go func() {
		ended <- Run(ctx, Options{
			Boards: 3, ListenAddr: "127.0.0.1:0", State: state, JSON: true, Command: boardCommand(t, "good"),
			Out: out, Err: err, Logger: slog.New(slog.DiscardHandler), Version: "test",
		})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var doc Summary
	if err := json.Unmarshal([]byte(out.next(t, "{")), &doc); err != nil {
		t.Fatal(err)
	}
	c, e := client.New(doc.Console, client.Access{})
	if e != nil {
		t.Fatal(e)
	}
	defer c.Close()
	stateOf := func(name string) string {
		s, err := c.Rack(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range s.Boards {
			if b.Name == name {
				return b.State
			}
		}
		return "missing"
	}
	eventually(t, "the lab shows what its boards report", func() bool {
		s, err := c.Rack(t.Context())
		return err == nil && len(s.Ring) > 0 && len(s.Boards) == 3 && s.Boards[0].State == "serving" &&
			s.Boards[0].PID == doc.Boards[0].PID && s.CanLab && s.CanSteer
	})
	if res, err := c.Purge(t.Context(), console.PurgeRequest{All: true}); err != nil || len(res.Applied) != 3 {
		t.Errorf("a purge: %+v, %v", res, err)
	}
	if err := c.Drain(t.Context(), "board-9", false); !errors.Is(err, console.ErrUnknownBoard) {
		t.Errorf("draining an unknown board: %v", err)
	}
	if ok, reason, err := c.Ready(t.Context()); !ok || err != nil {
		t.Errorf("the lab is not ready: %s, %v", reason, err)
	}
	do := func(board, action string) {
		t.Helper()
		resp, err := http.Post(doc.Console+"/api/v1/lab", "application/json",
			strings.NewReader(`{"board":"`+board+`","action":"`+action+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Errorf("%s %s: %s", action, board, resp.Status)
		}
	}
	defer http.DefaultClient.CloseIdleConnections()
	do("board-1", "kill")
	eventually(t, "a killed board shows dead", func() bool { return stateOf("board-1") == "dead" })
	err.next(t, "board-1 was killed by hand")
	do("board-2", "pause")
	eventually(t, "a paused board shows paused", func() bool { return stateOf("board-2") == "paused" })
	if res, err := c.Purge(t.Context(), console.PurgeRequest{All: true}); err != nil || len(res.Applied) == 0 {
		t.Errorf("a purge through the remaining board: %+v, %v", res, err)
	}
	do("board-3", "stop")
	eventually(t, "a stopped board shows stopped", func() bool { return stateOf("board-3") == "stopped" })
	if _, err := c.Purge(t.Context(), console.PurgeRequest{All: true}); !errors.Is(err, console.ErrUnavailable) {
		t.Errorf("a purge without a board: %v", err)
	}
	do("board-3", "revive")
	eventually(t, "a revived board serves", func() bool { return stateOf("board-3") == "serving" })
}

func TestLabWithoutAReadyBoard(t *testing.T) {
	var out, stderr strings.Builder
	o := Options{
		Boards: 2, ListenAddr: "127.0.0.1:0", State: t.TempDir(), Command: boardCommand(t, "broken"),
		Out: &out, Err: &stderr, Logger: slog.New(slog.DiscardHandler),
	}
	err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "no board of the lab came up") {
		t.Errorf("the error is %v", err)
	}
	for _, want := range []string{"board-1 is not running: it died unexpectedly (exit status 3).", "    this board is broken by design"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q is missing in\n%s", want, stderr.String())
		}
	}
	if out.Len() > 0 {
		t.Errorf("it printed a table: %s", out.String())
	}
}
