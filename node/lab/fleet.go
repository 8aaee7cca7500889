package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"bramble/node/console"
)

// runState is what the lab knows of a board's process.
type runState string

const (
	running runState = "running"
	paused  runState = "paused"
	stopped runState = "stopped" // by hand, having left its rack
	dead    runState = "dead"    // killed by hand, or died by itself
)

// fleet holds the boards' processes. It is the console's Lab.
type fleet struct {
	starter *starter
	grace   time.Duration   // how long a board may take to leave
	hurry   <-chan struct{} // closed when there is no more patience
	events  *console.Broadcaster
	say     func(text string)  // tells a person at the terminal
	changed func(board string) // told after each change, without a lock; may be nil
	boards  []*board           // in the plan's order; fixed

	watchers sync.WaitGroup // one for each run of a process
}

// board is one board of the lab and its process, if it has one.
type board struct {
	place   Place
	dir     string
	command []string

	mu    sync.Mutex // guards what follows
	ended bool       // with its lab; nothing more is done to it
	busy  string     // what is being done to it, "" = nothing
	state runState
	since time.Time // of this state
	proc  *process  // of the latest run; nil before the first
}

// launch starts all boards; when one does not start those before it are ended.
func (f *fleet) launch() error {
	for _, b := range f.boards {
		b.mu.Lock()
		err := f.start(b)
		b.mu.Unlock()
		if err != nil {
			f.stopAll()
			return fmt.Errorf("%s: %w", b.place.Name, err)
		}
	}
	return nil
}

// start runs a board's process; b.mu is held.
func (f *fleet) start(b *board) error {
	p, err := startProcess(f.starter, b.command, b.dir)
	if err != nil {
		return err
	}
	b.proc, b.state, b.since = p, running, time.Now()
	f.watchers.Add(1)
	go func() {
		defer f.watchers.Done()
		<-p.exited
		f.died(b, p)
	}()
	return nil
}

// died tells of a process that has ended, unless somebody is ending it.
func (f *fleet) died(b *board, p *process) {
	b.mu.Lock()
	unasked := b.proc == p && b.busy == "" && !b.ended && (b.state == running || b.state == paused)
	if unasked {
		b.state, b.since = dead, time.Now()
	}
	b.mu.Unlock()
	if !unasked {
		return
	}
	how := "exit status 0"
	if p.err != nil {
		how = p.err.Error()
	}
	last := tail(filepath.Join(b.dir, logFile), 1)[0]
	f.tell(b, fmt.Sprintf("%s died by itself (%s); the end of its log: %s", b.place.Name, how, clip(last, 200)))
}

// tell reports what happened to a board.
func (f *fleet) tell(b *board, text string) {
	f.say(text)
	f.events.Publish(console.Event{At: time.Now(), Kind: "lab", Board: b.place.Name, Text: text})
	if f.changed != nil {
		f.changed(b.place.Name)
	}
}

// Do carries out one of the actions stop, kill, pause and revive on a board.
// It finishes what it has begun even if ctx ends meanwhile.
func (f *fleet) Do(ctx context.Context, name, action string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var b *board
	for _, one := range f.boards {
		if one.place.Name == name {
			b = one
		}
	}
	if b == nil {
		return fmt.Errorf("%w: the lab has board-1 to board-%d and no %q", console.ErrUnknownBoard, len(f.boards), clip(name, 40))
	}
	var do func(*board) (string, error)
	switch action {
	case "stop":
		do = f.stop
	case "kill":
		do = f.kill
	case "pause":
		do = f.pause
	case "revive":
		do = f.revive
	default:
		return fmt.Errorf("%w: a lab can stop, kill, pause and revive a board, not %q", console.ErrBadRequest, clip(action, 40))
	}
	text, err := do(b)
	if err != nil {
		return err
	}
	f.tell(b, name+" "+text)
	return nil
}

func notNow(b *board, why string) error {
	return fmt.Errorf("%w: %s %s", console.ErrUnavailable, b.place.Name, why)
}

// claim takes a board for an action that takes time, if it is in one of the
// given states. The claim ends with release.
func (b *board) claim(doing string, states ...runState) (*process, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.free(); err != nil {
		return nil, err
	}
	for _, s := range states {
		if b.state == s {
			b.busy = doing
			return b.proc, nil
		}
	}
	switch b.state {
	case paused:
		return nil, notNow(b, "is paused; revive it first, or kill it")
	case stopped:
		return nil, notNow(b, "is stopped already; revive starts it")
	default:
		return nil, notNow(b, "is dead already; revive starts it")
	}
}

// free tells whether anything can be done to the board; b.mu is held.
func (b *board) free() error {
	switch {
	case b.ended:
		return notNow(b, "is ending with its lab")
	case b.busy != "":
		return notNow(b, "is "+b.busy+"; try again in a moment")
	}
	return nil
}

func (b *board) release(s runState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy, b.state, b.since = "", s, time.Now()
}

func (f *fleet) stop(b *board) (string, error) {
	p, err := b.claim("being stopped", running)
	if err != nil {
		return "", err
	}
	left := p.end(f.grace, f.hurry)
	b.release(stopped)
	if !left {
		return fmt.Sprintf("was stopped by hand; it had not left after %v and was killed", f.grace), nil
	}
	return "was stopped by hand and has left the rack", nil
}

func (f *fleet) kill(b *board) (string, error) {
	p, err := b.claim("being killed", running, paused)
	if err != nil {
		return "", err
	}
	p.kill()
	<-p.exited
	b.release(dead)
	return "was killed by hand", nil
}

func (f *fleet) pause(b *board) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.free(); err != nil {
		return "", err
	}
	switch {
	case b.state == paused:
		return "", notNow(b, "is paused already; revive lets it go on")
	case b.state != running || !b.proc.alive():
		return "", notNow(b, "is not running; revive starts it")
	}
	if err := b.proc.pause(); err != nil {
		return "", notNow(b, "cannot be paused: "+err.Error())
	}
	b.state, b.since = paused, time.Now()
	return "was paused by hand", nil
}

func (f *fleet) revive(b *board) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.free(); err != nil {
		return "", err
	}
	switch b.state {
	case running:
		return "", notNow(b, "is already running")
	case paused:
		if err := b.proc.resume(); err != nil {
			return "", notNow(b, "cannot go on: "+err.Error())
		}
		b.state, b.since = running, time.Now()
		return "goes on after a pause", nil
	}
	if err := f.start(b); err != nil {
		return "", notNow(b, "does not start: "+err.Error())
	}
	return "was started again", nil
}

// stopAll ends every board, all at once, and returns when no process is left.
// From then on nothing can be done to them.
func (f *fleet) stopAll() {
	var all sync.WaitGroup
	for _, b := range f.boards {
		b.mu.Lock()
		b.ended = true
		p := b.proc
		b.mu.Unlock()
		if p != nil {
			all.Add(1)
			go func() {
				defer all.Done()
				p.end(f.grace, f.hurry)
			}()
		}
	}
	all.Wait()
	f.watchers.Wait()
}

// status is what the lab knows of a board at one moment.
type status struct {
	place Place
	state runState
	since time.Time
	pid   int // 0 = no process
}

func (f *fleet) status() []status {
	list := make([]status, len(f.boards))
	for i, b := range f.boards {
		b.mu.Lock()
		list[i] = status{place: b.place, state: b.state, since: b.since}
		if b.state == running || b.state == paused {
			list[i].pid = b.proc.pid()
		}
		b.mu.Unlock()
	}
	return list
}

// clip shortens a text from elsewhere.
func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
