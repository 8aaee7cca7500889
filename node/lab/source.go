package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"bramble/gpio"
	"bramble/node/console"
	"bramble/node/console/client"
)

const (
	silenceTimeout = 2500 * time.Millisecond // a console sends each second; after this silence the next board is followed
	retryInterval  = 200 * time.Millisecond  // between two boards that do not answer
	maxViewAge     = 3 * time.Second         // an older view is not shown as current
	startTimeout   = 10 * time.Second        // a board just started is starting, even if the others report it dead
	actionTimeout  = 10 * time.Second        // for one board to perform an action before the next is tried
)

// boardConsole is the part of a board's console that the lab uses; *client.Client is one.
type boardConsole interface {
	Ready(ctx context.Context) (ok bool, reason string, err error)
	Purge(ctx context.Context, p console.PurgeRequest) (console.PurgeResult, error)
	Drain(ctx context.Context, board string, undo bool) error
	Locate(ctx context.Context, board string, undo bool) error
	Follow(ctx context.Context, silence time.Duration, got func(client.Message)) error
}

// labSource is the rack as the lab shows it: the report of one live board, overlaid
// with the states of the lab's own processes. It implements the console's Source and Control.
// When the board that it follows is gone, it follows the next.
type labSource struct {
	version  string
	statuses func() []boardStatus
	events   *console.Broadcaster
	consoles map[string]boardConsole // by board

	mu            sync.Mutex // guards what follows
	followed      string     // the board that is followed, "" = none
	stopFollowing context.CancelFunc
	rackView      console.RackView
	receivedAt    time.Time // when rackView arrived; zero = never
}

// run follows one live board after another until ctx ends.
func (l *labSource) run(ctx context.Context) {
	for ctx.Err() == nil {
		if name := l.nextBoard(); name != "" {
			l.followBoard(ctx, name)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryInterval):
		}
	}
}

// nextBoard returns the first running board after the one that was followed last.
func (l *labSource) nextBoard() string {
	live := l.liveBoards()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(live) == 0:
		return ""
	case live[0].Name == l.followed:
		return live[1%len(live)].Name
	}
	return live[0].Name
}

// liveBoards lists the running boards, beginning with the one that is followed.
func (l *labSource) liveBoards() []BoardAddrs {
	l.mu.Lock()
	watching := l.followed
	l.mu.Unlock()
	var live []BoardAddrs
	for _, s := range l.statuses() {
		if s.state == running {
			live = append(live, s.addrs)
		}
	}
	i := max(slices.IndexFunc(live, func(b BoardAddrs) bool { return b.Name == watching }), 0)
	return slices.Concat(live[i:], live[:i])
}

// followBoard receives rack views and events from a board until it is silent or gone.
func (l *labSource) followBoard(ctx context.Context, name string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.followed, l.stopFollowing = name, cancel
	// A board first sends its latest events. Those that another board has sent
	// already are skipped.
	known := l.receivedAt
	l.mu.Unlock()
	// Why it ended does not matter: the caller follows another board.
	_ = l.consoles[name].Follow(ctx, silenceTimeout, func(m client.Message) {
		switch {
		case m.Rack != nil:
			l.mu.Lock()
			l.rackView, l.receivedAt = *m.Rack, time.Now()
			l.mu.Unlock()
		case m.Event != nil && m.Event.At.After(known):
			l.events.Publish(*m.Event)
		}
	})
}

// leaveIfStopped stops following a board as soon as it is stopped, killed or paused.
// Waiting for its silence would show an old view.
func (l *labSource) leaveIfStopped(name string) {
	for _, s := range l.statuses() {
		if s.addrs.Name == name && s.state == running {
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.followed == name {
		l.stopFollowing()
	}
}

// Subscribe returns the boards' events and the lab's own.
func (l *labSource) Subscribe() (<-chan console.Event, func()) { return l.events.Subscribe() }

// RackView returns the latest rack view merged with the states of the lab's processes.
func (l *labSource) RackView() console.RackView {
	l.mu.Lock()
	s, fresh := l.rackView, time.Since(l.receivedAt) < maxViewAge
	l.mu.Unlock()
	return mergeReport(s, fresh, l.statuses(), l.version, time.Now())
}

// mergeReport overlays a board's report with the states of the lab's processes: a
// process that is paused, stopped or dead is shown so, even if the report differs.
// fresh means that the report is current.
func mergeReport(report console.RackView, fresh bool, known []boardStatus, version string, now time.Time) console.RackView {
	s := console.RackView{At: now, Version: version, Observer: "lab", CanLab: true, CanSteer: true}
	if fresh {
		s.At, s.Observer, s.Ring = report.At, report.Observer, report.Ring
		s.Notices = slices.Clone(report.Notices)
	} else {
		report.Boards = nil
	}
	live := 0
	for _, k := range known {
		b := console.BoardView{Name: k.addrs.Name, State: gpio.Starting.String(), Panel: gpio.Render(gpio.Input{Health: gpio.Starting}, gpio.DefaultLamps)}
		for _, r := range report.Boards {
			forgotten := r.State == "dead" || r.State == "left"
			if r.Name == b.Name && !(forgotten && now.Sub(k.since) < startTimeout) {
				b = r
			}
		}
		b.Self = false // the observer is the lab
		b.HTTPURL, b.ConsoleURL, b.PID = localURL(k.addrs.HTTP), consoleURL(k.addrs.Console), k.pid
		if k.state == running {
			live++
		} else {
			b.State, b.Faults, b.Vitals = string(k.state), nil, console.VitalsView{}
			b.Panel = gpio.Render(gpio.Input{Health: gpio.Stopped}, gpio.DefaultLamps)
			if k.state == paused { // the process exists, but does nothing
				b.Panel.Summary = "dark: the board is paused"
			}
		}
		s.Boards = append(s.Boards, b)
	}
	// A board that is not of this lab can only be a stranger with the lab's key: it
	// is shown rather than hidden.
	for _, r := range report.Boards {
		if !slices.ContainsFunc(known, func(k boardStatus) bool { return k.addrs.Name == r.Name }) {
			s.Boards = append(s.Boards, r)
		}
	}
	slices.SortFunc(s.Boards, compareNames)
	switch {
	case live == 0:
		s.Notices = append(s.Notices, "No board of the lab runs: revive one.")
	case !fresh:
		s.Notices = append(s.Notices, "No board has reported the state of the rack yet.")
	}
	return s
}

// compareNames orders board-2 before board-10.
func compareNames(a, b console.BoardView) int {
	return cmp.Or(cmp.Compare(len(a.Name), len(b.Name)), strings.Compare(a.Name, b.Name))
}

// Purge purges pages from the caches of the rack, through a live board.
func (l *labSource) Purge(ctx context.Context, p console.PurgeRequest) (res console.PurgeResult, err error) {
	err = l.tryBoards(ctx, func(ctx context.Context, to boardConsole) error {
		res, err = to.Purge(ctx, p)
		return err
	})
	return res, err
}

// Drain takes a board out of service, or puts it back, through a live board.
func (l *labSource) Drain(ctx context.Context, board string, undo bool) error {
	return l.tryBoards(ctx, func(ctx context.Context, to boardConsole) error { return to.Drain(ctx, board, undo) })
}

// Locate makes a board blink, or stop blinking, through a live board.
func (l *labSource) Locate(ctx context.Context, board string, undo bool) error {
	return l.tryBoards(ctx, func(ctx context.Context, to boardConsole) error { return to.Locate(ctx, board, undo) })
}

// tryBoards sends an action to one live board after another until one answers.
// Actions are idempotent, so a board may get one twice.
func (l *labSource) tryBoards(ctx context.Context, send func(context.Context, boardConsole) error) error {
	err := error(&client.Error{Text: "no board of the lab runs: revive one", Kind: console.ErrUnavailable})
	for _, board := range l.liveBoards() {
		attempt, cancel := context.WithTimeout(ctx, actionTimeout)
		err = send(attempt, l.consoles[board.Name])
		cancel()
		if !errors.Is(err, client.ErrUnreachable) || ctx.Err() != nil {
			return err
		}
	}
	if errors.Is(err, client.ErrUnreachable) {
		err = &client.Error{Text: "no board of the lab answers: wait a moment, or look at the boards' logs", Kind: console.ErrUnavailable, Err: err}
	}
	return err
}

// shopProxy is a reverse proxy that forwards the console's requests about orders to
// a live board: every board can answer for the rack. A failed request is not
// retried; the client retries.
// It passes on the client's own credentials, so that the board knows who it is: all boards have the
// accounts of the lab's console.
func (l *labSource) shopProxy(to client.Access) http.Handler {
	return &httputil.ReverseProxy{
		Transport: to.Transport(),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", "", ""
			if at, err := url.Parse(l.anyConsole()); err == nil {
				p.Out.URL.Scheme, p.Out.URL.Host = at.Scheme, at.Host
			}
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			text := "no board of the lab answers: wait a moment, or look at the boards' logs"
			switch {
			case len(l.liveBoards()) == 0:
				text = "no board of the lab runs: revive one"
			case r.Context().Err() != nil: // the board's own limit is the same
				text = "the board did not finish in time: \"bramble status\" shows whether too many boards are missing for a majority; if so, revive them"
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			// Encoding a map of strings cannot fail, and a client that is gone needs no error.
			_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
		},
	}
}

// anyConsole returns the URL of a live board's console, "" if no board runs.
func (l *labSource) anyConsole() string {
	if live := l.liveBoards(); len(live) > 0 {
		return consoleURL(live[0].Console)
	}
	return ""
}
