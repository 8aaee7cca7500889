package cardinit

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// firstPause is how long the board's program is left alone after it ended
	// unasked; each further time twice as long, up to longestPause.
	firstPause   = time.Second
	longestPause = 30 * time.Second
	// calmTime is how long it must have run for its earlier ends to be forgiven.
	calmTime = time.Minute
	// stopWait is how long it may take to stop in good order: replies under way
	// have [http] drain_timeout, which is 10 s unless the settings say otherwise.
	stopWait = 30 * time.Second
	// lastWords is how many of its last lines are kept.
	lastWords = 6
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

// backOff is how long a program rests after its n-th quick end in a row, n from 1.
func backOff(n int) time.Duration {
	d := firstPause
	for i := 1; i < n && d < longestPause; i++ {
		d *= 2
	}
	return min(d, longestPause)
}

// keeper runs the board's program, again and again.
type keeper struct {
	machine Machine
	paths   Paths
	log     *logbook
	say     func(format string, args ...any)
	name    string
	args    []string
	now     func() time.Time

	mu       sync.Mutex
	started  int // guarded by mu; how often it was started
	restarts int // guarded by mu; how often it ended unasked, since the power came
}

// run starts the program whenever it has ended, until it asks for more than
// that or ctx ends, and returns its last exit code.
func (k *keeper) run(ctx context.Context) int {
	quick := 0
	for {
		began := k.now()
		code := k.once(ctx)
		if ctx.Err() != nil || code == ExitHalt || code == ExitTry || code == ExitRestart {
			return code
		}
		if quick++; k.now().Sub(began) >= calmTime {
			quick = 1
		}
		pause := backOff(quick)
		k.mu.Lock()
		k.restarts++
		restarts := k.restarts
		k.mu.Unlock()
		words := k.log.last(lastWords)
		k.say("board ended with %d; it starts again in %v", code, pause)
		// It is in memory: a full one is met elsewhere.
		_ = replaceFile(k.paths.State(restartsFact), fmt.Appendf(nil, "%d\n%s\n", restarts, strings.Join(words, "\n")))
		rest(ctx, pause)
	}
}

// once runs the program to its end. When ctx ends, it is asked to stop, and is
// killed if it does not.
func (k *keeper) once(ctx context.Context) int {
	p, err := k.machine.Start(k.log, k.name, k.args...)
	if err != nil {
		k.say("%v", err)
		return -1
	}
	k.mu.Lock()
	k.started++
	k.mu.Unlock()
	ended := make(chan int, 1)
	go func() { ended <- p.Wait() }()
	select {
	case code := <-ended:
		return code
	case <-ctx.Done():
	}
	p.Ask(Stop)
	patience := time.NewTimer(stopWait)
	defer patience.Stop()
	select {
	case code := <-ended:
		return code
	case <-patience.C:
		p.Ask(Kill)
		return <-ended
	}
}

// starts counts how often the program was started.
func (k *keeper) starts() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.started
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
		if line != "" && len(words) < lastWords {
			words = append(words, line)
		}
	}
	return n, words
}

func splitLines(text string) []string {
	return strings.Split(strings.TrimRight(text, "\n"), "\n")
}
