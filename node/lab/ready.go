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
	readyEvery  = 100 * time.Millisecond // between two questions to a board
	tailLines   = 8                      // of a log, for a board that is not ready
	reasonLimit = 200                    // characters of a board's own reason
)

// readier is asked whether its board serves; *client.Client is one.
type readier interface {
	Ready(ctx context.Context) (ok bool, reason string, err error)
}

// finding is how a board came up.
type finding struct {
	place Place
	pid   int
	ready bool
	dead  bool   // its process has ended
	why   string // why it is not ready
	log   string // path of its log
}

// awaitReady asks all boards at once, until each serves, has died, or the time
// within is over, or ctx has ended.
func awaitReady(ctx context.Context, f *fleet, ask map[string]readier, within time.Duration) []finding {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	found := make([]finding, len(f.boards))
	var all sync.WaitGroup
	for i, b := range f.boards {
		b.mu.Lock()
		p := b.proc
		b.mu.Unlock()
		found[i] = finding{place: b.place, pid: p.pid(), log: filepath.Join(b.dir, logFile)}
		all.Go(func() { found[i].await(ctx, p, ask[b.place.Name]) })
	}
	all.Wait()
	return found
}

// await asks one board until there is an answer to go by.
func (f *finding) await(ctx context.Context, p *process, ask readier) {
	f.why = "it has not answered yet"
	next := time.NewTicker(readyEvery)
	defer next.Stop()
	for {
		ok, reason, err := ask.Ready(ctx)
		switch {
		case ok:
			f.ready = true
			return
		case err == nil && reason != "":
			f.why = clip(reason, reasonLimit)
		}
		select {
		case <-p.exited:
			f.dead, f.pid, f.why = true, 0, "it died by itself"
			if p.err != nil {
				f.why += " (" + p.err.Error() + ")"
			}
			return
		case <-ctx.Done():
			return
		case <-next.C:
		}
	}
}

func anyReady(found []finding) bool {
	for _, f := range found {
		if f.ready {
			return true
		}
	}
	return false
}

// explain says which boards are not ready, why, and what they logged last; ""
// if all are ready.
func explain(found []finding, within time.Duration) string {
	var b strings.Builder
	for _, f := range found {
		if f.ready {
			continue
		}
		if f.dead {
			fmt.Fprintf(&b, "%s is not running: %s.\n", f.place.Name, f.why)
		} else {
			fmt.Fprintf(&b, "%s is not ready after %v: %s.\n", f.place.Name, within, strings.TrimSuffix(f.why, "."))
		}
		b.WriteString("The end of its log:\n")
		for _, line := range tail(f.log, tailLines) {
			fmt.Fprintf(&b, "    %s\n", clip(line, reasonLimit))
		}
	}
	return b.String()
}
