package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	readyInterval = 100 * time.Millisecond // between two questions to a board
	tailLines     = 8                      // of a log, for a board that is not ready
	reasonLimit   = 200                    // characters of a board's own reason
)

// readyChecker is asked whether its board serves; *client.Client is one.
type readyChecker interface {
	Ready(ctx context.Context) (ok bool, reason string, err error)
}

// startResult is how a board came up.
type startResult struct {
	addrs  BoardAddrs
	pid    int
	ready  bool
	dead   bool   // its process has ended
	reason string // why it is not ready
	log    string // path of its log
}

// awaitReady asks all boards at once, until each serves, has died, or the time
// within is over, or ctx has ended.
func awaitReady(ctx context.Context, f *fleet, ask map[string]readyChecker, within time.Duration) []startResult {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	found := make([]startResult, len(f.boards))
	var all sync.WaitGroup
	for i, b := range f.boards {
		b.mu.Lock()
		p := b.proc
		b.mu.Unlock()
		found[i] = startResult{addrs: b.addrs, pid: p.pid(), log: filepath.Join(b.dir, logFile)}
		all.Go(func() { found[i].waitReady(ctx, p, ask[b.addrs.Name]) })
	}
	all.Wait()
	return found
}

// waitReady asks one board until there is an answer to go by.
func (f *startResult) waitReady(ctx context.Context, p *boardProcess, ask readyChecker) {
	f.reason = "it has not answered yet"
	next := time.NewTicker(readyInterval)
	defer next.Stop()
	for {
		ok, reason, err := ask.Ready(ctx)
		switch {
		case ok:
			f.ready = true
			return
		case err == nil && reason != "":
			f.reason = truncateText(reason, reasonLimit)
		}
		select {
		case <-p.exited:
			f.dead, f.pid, f.reason = true, 0, "it died by itself"
			if p.err != nil {
				f.reason += " (" + p.err.Error() + ")"
			}
			return
		case <-ctx.Done():
			return
		case <-next.C:
		}
	}
}

func anyReady(found []startResult) bool {
	for _, f := range found {
		if f.ready {
			return true
		}
	}
	return false
}

// explainFailures says which boards are not ready, why, and what they logged last; ""
// if all are ready.
func explainFailures(found []startResult, within time.Duration) string {
	var b strings.Builder
	for _, f := range found {
		if f.ready {
			continue
		}
		if f.dead {
			fmt.Fprintf(&b, "%s is not running: %s.\n", f.addrs.Name, f.reason)
		} else {
			fmt.Fprintf(&b, "%s is not ready after %v: %s.\n", f.addrs.Name, within, strings.TrimSuffix(f.reason, "."))
		}
		b.WriteString("The end of its log:\n")
		for _, line := range lastLines(f.log, tailLines) {
			fmt.Fprintf(&b, "    %s\n", truncateText(line, reasonLimit))
		}
	}
	return b.String()
}
