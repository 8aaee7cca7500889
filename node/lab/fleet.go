package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"bramble/node/console"
)

type runState string

const (
	running runState = "running"
	paused  runState = "paused"
	stopped runState = "stopped" // by hand, after it left its rack
	dead    runState = "dead"    // killed by hand, or died unexpectedly
)

// fleet is the boards' processes. It implements the console's Lab.
type fleet struct {
	starter      *starter
	leaveTimeout time.Duration   // how long a board may take to leave
	killNow      <-chan struct{} // closed to kill all boards
	events       *console.Broadcaster
	printLine    func(text string)  // prints to the terminal
	onChange     func(board string) // called after each change, without a lock; may be nil
	boards       []*labBoard        // in the plan's order; fixed

	watchers sync.WaitGroup // one for each run of a process
}

// labBoard is one board of the lab and its process, if it has one.
type labBoard struct {
	addrs   BoardAddrs
	dir     string
	command []string

	mu       sync.Mutex // guards what follows
	labEnded bool       // its lab is ending: no more actions
	busy     string     // the action in progress, "" = none
	state    runState
	since    time.Time     // when state began
	proc     *boardProcess // of the latest run; nil before the first
}

// startAll starts all boards. If one does not start, it ends those before it.
func (f *fleet) startAll() error {
	for _, b := range f.boards {
		b.mu.Lock()
		err := f.startBoard(b)
		b.mu.Unlock()
		if err != nil {
			f.stopAll()
			return fmt.Errorf("%s: %w", b.addrs.Name, err)
		}
	}
	return nil
}

// startBoard starts a board's process. It is called with b.mu held.
func (f *fleet) startBoard(b *labBoard) error {
	p, err := startProcess(f.starter, b.command, b.dir)
	if err != nil {
		return err
	}
	b.proc, b.state, b.since = p, running, time.Now()
	f.watchers.Go(func() {
		<-p.exited
		f.noteExit(b, p)
	})
	return nil
}

// noteExit reports a process that ended unexpectedly.
func (f *fleet) noteExit(b *labBoard, p *boardProcess) {
	b.mu.Lock()
	byItself := b.proc == p && b.busy == "" && !b.labEnded && (b.state == running || b.state == paused)
	if byItself {
		b.state, b.since = dead, time.Now()
	}
	b.mu.Unlock()
	if !byItself {
		return
	}
	cause := "exit status 0"
	if p.err != nil {
		cause = p.err.Error()
	}
	last := lastLines(filepath.Join(b.dir, logFile), 1)[0]
	f.emitEvent(b, fmt.Sprintf("%s died unexpectedly (%s); the end of its log: %s", b.addrs.Name, cause, truncateText(last, 200)))
}

func (f *fleet) emitEvent(b *labBoard, text string) {
	f.printLine(text)
	f.events.Publish(console.Event{At: time.Now(), Kind: "lab", Board: b.addrs.Name, Text: text})
	if f.onChange != nil {
		f.onChange(b.addrs.Name)
	}
}

// Do performs one of the actions stop, kill, pause and revive on a board. An action
// that has begun is finished even if ctx ends.
func (f *fleet) Do(ctx context.Context, name, action string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	i := slices.IndexFunc(f.boards, func(b *labBoard) bool { return b.addrs.Name == name })
	if i < 0 {
		return fmt.Errorf("%w: the lab has board-1 to board-%d, not %q", console.ErrUnknownBoard, len(f.boards), truncateText(name, 40))
	}
	do := map[string]func(*labBoard) (string, error){
		"stop": f.stopBoard, "kill": f.killBoard, "pause": f.pauseBoard, "revive": f.reviveBoard,
	}[action]
	if do == nil {
		return fmt.Errorf("%w: the actions on a board are stop, kill, pause and revive, not %q", console.ErrBadRequest, truncateText(action, 40))
	}
	text, err := do(f.boards[i])
	if err != nil {
		return err
	}
	f.emitEvent(f.boards[i], name+" "+text)
	return nil
}

// errUnavailable: an action is not possible now; the error that wraps it has the reason.
func errUnavailable(b *labBoard, why string) error {
	return fmt.Errorf("%w: %s %s", console.ErrUnavailable, b.addrs.Name, why)
}

// beginAction reserves a board for an action that takes time, if it is in one of
// the given states. endAction follows.
func (l *labBoard) beginAction(doing string, states ...runState) (*boardProcess, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.checkIdle(); err != nil {
		return nil, err
	}
	if slices.Contains(states, l.state) {
		l.busy = doing
		return l.proc, nil
	}
	switch l.state {
	case paused:
		return nil, errUnavailable(l, "is paused; revive it first, or kill it")
	case stopped:
		return nil, errUnavailable(l, "is already stopped; revive starts it")
	default:
		return nil, errUnavailable(l, "is already dead; revive starts it")
	}
}

// checkIdle returns an error if no action is possible. It is called with b.mu held.
func (l *labBoard) checkIdle() error {
	switch {
	case l.labEnded:
		return errUnavailable(l, "is ending with its lab")
	case l.busy != "":
		return errUnavailable(l, "is "+l.busy+"; try again in a moment")
	}
	return nil
}

func (l *labBoard) endAction(s runState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy, l.state, l.since = "", s, time.Now()
}

func (f *fleet) stopBoard(b *labBoard) (string, error) {
	p, err := b.beginAction("being stopped", running)
	if err != nil {
		return "", err
	}
	left := p.stopOrKill(f.leaveTimeout, f.killNow)
	b.endAction(stopped)
	if !left {
		return fmt.Sprintf("was stopped by hand; it did not leave within %v and was killed", f.leaveTimeout), nil
	}
	return "was stopped by hand and has left the rack", nil
}

func (f *fleet) killBoard(b *labBoard) (string, error) {
	p, err := b.beginAction("being killed", running, paused)
	if err != nil {
		return "", err
	}
	p.kill()
	<-p.exited
	b.endAction(dead)
	return "was killed by hand", nil
}

func (f *fleet) pauseBoard(b *labBoard) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.checkIdle(); err != nil {
		return "", err
	}
	switch {
	case b.state == paused:
		return "", errUnavailable(b, "is already paused; revive continues it")
	case b.state != running || !b.proc.isAlive():
		return "", errUnavailable(b, "is not running; revive starts it")
	}
	if err := b.proc.pause(); err != nil {
		return "", errUnavailable(b, "cannot be paused: "+err.Error())
	}
	b.state, b.since = paused, time.Now()
	return "was paused by hand", nil
}

func (f *fleet) reviveBoard(b *labBoard) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.checkIdle(); err != nil {
		return "", err
	}
	switch b.state {
	case running:
		return "", errUnavailable(b, "is already running")
	case paused:
		if err := b.proc.resume(); err != nil {
			return "", errUnavailable(b, "cannot continue: "+err.Error())
		}
		b.state, b.since = running, time.Now()
		return "continues after a pause", nil
	}
	if err := f.startBoard(b); err != nil {
		return "", errUnavailable(b, "did not start: "+err.Error())
	}
	return "was started again", nil
}

// stopAll ends all boards at once and returns when no process is left. No action is
// possible afterwards.
func (f *fleet) stopAll() {
	var all sync.WaitGroup
	for _, b := range f.boards {
		b.mu.Lock()
		b.labEnded = true
		p := b.proc
		b.mu.Unlock()
		if p != nil {
			all.Go(func() { p.stopOrKill(f.leaveTimeout, f.killNow) })
		}
	}
	all.Wait()
	f.watchers.Wait()
}

type boardStatus struct {
	addrs BoardAddrs
	state runState
	since time.Time
	pid   int // 0 = no process
}

func (f *fleet) boardStatuses() []boardStatus {
	list := make([]boardStatus, len(f.boards))
	for i, b := range f.boards {
		b.mu.Lock()
		list[i] = boardStatus{addrs: b.addrs, state: b.state, since: b.since}
		if b.state == running || b.state == paused {
			list[i].pid = b.proc.pid()
		}
		b.mu.Unlock()
	}
	return list
}

func truncateText(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
