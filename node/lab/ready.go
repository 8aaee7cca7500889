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
	readyInterval = 100 * time.Millisecond // between two checks of a board
	tailLines     = 8                      // of the log of a board that is not ready
	reasonLimit   = 200                    // characters of a board's own reason
)

type startResult struct {
	addrs  BoardAddrs
	pid    int
	ready  bool
	dead   bool   // its process has ended
	reason string // why it is not ready
	log    string // path of its log
}

// awaitReady waits until each board serves or has died, for at most timeout or until
// ctx ends.
func awaitReady(ctx context.Context, f *fleet, consoles map[string]boardConsole, timeout time.Duration) []startResult {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results := make([]startResult, len(f.boards))
	var all sync.WaitGroup
	for i, b := range f.boards {
		b.mu.Lock()
		p := b.proc
		b.mu.Unlock()
		results[i] = startResult{addrs: b.addrs, pid: p.pid(), log: filepath.Join(b.dir, logFile)}
		all.Go(func() { results[i].waitReady(ctx, p, consoles[b.addrs.Name]) })
	}
	all.Wait()
	return results
}

// waitReady checks one board until it serves or has died, or ctx ends.
func (s *startResult) waitReady(ctx context.Context, p *boardProcess, at boardConsole) {
	s.reason = "it has not answered yet"
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		ok, reason, err := at.Ready(ctx)
		switch {
		case ok:
			s.ready = true
			return
		case err == nil && reason != "":
			s.reason = truncateText(reason, reasonLimit)
		}
		select {
		case <-p.exited:
			s.dead, s.pid, s.reason = true, 0, "it died unexpectedly"
			if p.err != nil {
				s.reason += " (" + p.err.Error() + ")"
			}
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// explainFailures returns which boards are not ready, why, and their last log lines; ""
// if all are ready.
func explainFailures(results []startResult, timeout time.Duration) string {
	var b strings.Builder
	for _, f := range results {
		if f.ready {
			continue
		}
		if f.dead {
			fmt.Fprintf(&b, "%s is not running: %s.\n", f.addrs.Name, f.reason)
		} else {
			fmt.Fprintf(&b, "%s is not ready after %v: %s.\n", f.addrs.Name, timeout, strings.TrimSuffix(f.reason, "."))
		}
		b.WriteString("The end of its log:\n")
		for _, line := range lastLines(f.log, tailLines) {
			fmt.Fprintf(&b, "    %s\n", truncateText(line, reasonLimit))
		}
	}
	return b.String()
}
