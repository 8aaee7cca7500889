package cardinit

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// minRestartDelay is how long the board's program is left alone after it ended
	// unasked; each further time twice as long, up to longestPause.
	minRestartDelay = time.Second
	maxRestartDelay = 30 * time.Second
	// stableTime is how long it must have run for its earlier ends to be forgiven.
	stableTime = time.Minute
	// stopTimeout is how long it may take to stop in good order: replies under way
	// have [http] drain_timeout, which is 10 s unless the settings say otherwise.
	stopTimeout = 30 * time.Second
	// maxLastLines is how many of its last lines are kept.
	maxLastLines = 6
)

// Exit codes by which the board's program asks for more than to be started again.
const (
	// ExitStopped is an end in good order: somebody stopped it.
	ExitStopped = 0
	// ExitHalt asks for the card to be put to rest: "safe to unplug".
	ExitHalt = 40
	// ExitTry asks for a start into the other slot, on trial.
	ExitTry = 41
	// ExitRestart asks for a restart of the machine.
	ExitRestart = 42
)

// restartDelay is how long a program rests after its n-th quick end in a row, n from 1.
func restartDelay(n int) time.Duration {
	d := minRestartDelay
	for i := 1; i < n && d < maxRestartDelay; i++ {
		d *= 2
	}
	return min(d, maxRestartDelay)
}

// supervisor runs the board's program, again and again.
type supervisor struct {
	system System
	paths  Paths
	log    *logRing
	logf   func(format string, args ...any)
	name   string
	args   []string
	now    func() time.Time

	mu       sync.Mutex
	starts   int // guarded by mu; how often it was started
	restarts int // guarded by mu; how often it ended unasked, since the power came
}

// run starts the program whenever it has ended, until it asks for more than
// that or ctx ends, and returns its last exit code.
func (k *supervisor) run(ctx context.Context) int {
	quick := 0
	for {
		began := k.now()
		code := k.runOnce(ctx)
		if ctx.Err() != nil || code == ExitHalt || code == ExitTry || code == ExitRestart {
			return code
		}
		if quick++; k.now().Sub(began) >= stableTime {
			quick = 1
		}
		pause := restartDelay(quick)
		k.mu.Lock()
		k.restarts++
		restarts := k.restarts
		k.mu.Unlock()
		words := k.log.lastLines(maxLastLines)
		k.logf("board ended with %d; it starts again in %v", code, pause)
		// It is in memory: a full one is met elsewhere.
		_ = replaceFile(k.paths.StateFile(restartsStateFile), fmt.Appendf(nil, "%d\n%s\n", restarts, strings.Join(words, "\n")))
		sleep(ctx, pause)
	}
}

// runOnce runs the program to its end. When ctx ends, it is asked to stop, and is
// killed if it does not.
func (k *supervisor) runOnce(ctx context.Context) int {
	p, err := k.system.Start(k.log, k.name, k.args...)
	if err != nil {
		k.logf("%v", err)
		return -1
	}
	k.mu.Lock()
	k.starts++
	k.mu.Unlock()
	ended := make(chan int, 1)
	go func() { ended <- p.Wait() }()
	select {
	case code := <-ended:
		return code
	case <-ctx.Done():
	}
	p.Send(Stop)
	patience := time.NewTimer(stopTimeout)
	defer patience.Stop()
	select {
	case code := <-ended:
		return code
	case <-patience.C:
		p.Send(Kill)
		return <-ended
	}
}

// startCount counts how often the program was started.
func (k *supervisor) startCount() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.starts
}

// parseRestarts reads the file "restarts": how often the board's program ended
// unasked since the power came, and what it said last.
func parseRestarts(text string) (n int, words []string) {
	lines := splitLines(text)
	if len(lines) == 0 {
		return 0, nil
	}
	if _, err := fmt.Sscanf(lines[0], "%d", &n); err != nil || n < 0 {
		return 0, nil
	}
	for _, line := range lines[1:] {
		if line != "" && len(words) < maxLastLines {
			words = append(words, line)
		}
	}
	return n, words
}

func splitLines(text string) []string {
	return strings.Split(strings.TrimRight(text, "\n"), "\n")
}
