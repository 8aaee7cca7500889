package cardinit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// minRestartDelay is the delay before the board's program is restarted after an
	// unexpected end. Each further quick end doubles it, up to maxRestartDelay.
	minRestartDelay = time.Second
	maxRestartDelay = 30 * time.Second
	// stableTime is the run time after which earlier ends no longer count.
	stableTime = time.Minute
	// stopTimeout limits an orderly stop: replies in progress get [http]
	// drain_timeout, 10 s by default.
	stopTimeout = 30 * time.Second
	// maxLastLines limits the last lines that are stored of a program that ended.
	maxLastLines = 6
)

// Exit codes by which the board's program requests more than its own restart.
const (
	// ExitStopped is an orderly end: it was stopped.
	ExitStopped = 0
	// ExitHalt requests that the card be shut down: "safe to unplug".
	ExitHalt = 40
	// ExitTry requests a start of the other slot, on trial.
	ExitTry = 41
	// ExitRestart requests a restart of the machine.
	ExitRestart = 42
)

// restartDelay returns the delay after the n-th quick end in a row, n from 1: 1, 2,
// 4 … 30 s.
func restartDelay(n int) time.Duration {
	return min(minRestartDelay<<min(n-1, 10), maxRestartDelay)
}

// supervisor runs the board's program and restarts it whenever it ends.
type supervisor struct {
	system System
	paths  Paths
	log    *logRing
	name   string
	args   []string
	starts atomic.Int64 // of the program
}

// run restarts the program until it requests more than that or ctx ends, and
// returns its last exit code.
func (s *supervisor) run(ctx context.Context) int {
	quickEnds := 0
	for restarts := 1; ; restarts++ {
		began := time.Now()
		code := s.runOnce(ctx)
		if ctx.Err() != nil || code == ExitHalt || code == ExitTry || code == ExitRestart {
			return code
		}
		if quickEnds++; time.Since(began) >= stableTime {
			quickEnds = 1
		}
		delay := restartDelay(quickEnds)
		times := "once"
		if restarts > 1 {
			times = fmt.Sprintf("%d times", restarts)
		}
		last := slices.DeleteFunc(s.log.lastLines(maxLastLines), func(line string) bool { return line == "" })
		state := times + " since power-on, and was restarted. Its last lines were: " + strings.Join(last, " / ") + "\n"
		s.log.logf("board program ended with exit code %d; restarting it in %v", code, delay)
		// The file is in memory. Full memory shows elsewhere.
		_ = replaceFile(s.paths.StateFile(restartsStateFile), []byte(state))
		sleep(ctx, delay)
	}
}

// runOnce runs the program until it ends. When ctx ends, it sends the program Stop,
// and Kill after stopTimeout.
func (s *supervisor) runOnce(ctx context.Context) int {
	p, err := s.system.Start(s.log, s.name, s.args...)
	if err != nil {
		s.log.logf("%v", err)
		return -1
	}
	s.starts.Add(1)
	ended := make(chan int, 1)
	go func() { ended <- p.Wait() }()
	select {
	case code := <-ended:
		return code
	case <-ctx.Done():
	}
	p.Send(Stop)
	select {
	case code := <-ended:
		return code
	case <-time.After(stopTimeout):
		p.Send(Kill)
		return <-ended
	}
}
