// Package lab is a whole rack on one machine: it starts the boards, each a
// process of its own that runs exactly what a Pi runs, can stop, kill, pause
// and revive them, and hosts a console of the whole rack. When the lab ends,
// by whatever means, its boards end with it.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/console/client"
)

const (
	readyTimeout = 30 * time.Second // for all boards to serve
	leaveMargin  = 5 * time.Second  // for a board to leave, beside its drain_timeout
	maxLeaveTime = 25 * time.Second // the console waits 30 s for what it is asked to do
)

// Options are what a lab is made of.
type Options struct {
	Boards     int                // 1 to MaxBoards
	ListenAddr string             // IP:PORT of the console; the boards follow it; port 0 = any free block
	Template   *config.ParsedFile // settings for every board; nil = defaults, or what State keeps
	State      string             // folder for key, configurations and logs; "" = a temporary one

	// Command runs a board: program and arguments, to which the board's
	// configuration file is added. It stops when its standard input closes.
	Command []string
	// Program is what a person types to run this program: "bramble", or
	// "go run ./cmd/bramble". It stands in the advice that is printed.
	Program string

	JSON    bool         // one line of JSON instead of the table
	Out     io.Writer    // for table or JSON
	Err     io.Writer    // for everything else; written to by several goroutines
	Logger  *slog.Logger // for what goes wrong at the lab's console
	Version string       // of this program

	// KillNow, when closed, ends all boards at once; nil = never.
	KillNow <-chan struct{}
}

// Run starts a lab and returns when ctx has ended and no process of the lab
// is left. Mistakes in the options, ports that are taken among them
// (PortErrors), are told before anything is started.
func Run(ctx context.Context, o Options) error {
	o.Err = &lockedWriter{w: o.Err}
	plan, err := NewPlan(o.Boards, o.ListenAddr)
	if err != nil {
		return err
	}
	if err := plan.Check(); err != nil {
		return err
	}
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(plan.Console))
	if err != nil {
		return fmt.Errorf("opening the lab's console: %w", err)
	}
	defer listener.Close()

	state, forget, err := stateFolder(o.State)
	if err != nil {
		return err
	}
	defer forget()
	key, err := loadRackKey(state, o.Template)
	if err != nil {
		return err
	}
	configs, err := writeBoards(state, plan, key, o.Template)
	if err != nil {
		return err
	}
	return runRack(ctx, o, plan, state, configs, listener)
}

// runRack starts the boards of a plan that is written down, shows them, and
// ends them when ctx has ended.
func runRack(ctx context.Context, o Options, plan *Plan, state string, configs []*config.Config, listener net.Listener) (err error) {
	starter := newStarter()
	defer starter.close()
	var up atomic.Bool // until then explain tells what happens to a board, and more of it
	ev := new(console.Broadcaster)
	f := &fleet{starter: starter, killNow: o.KillNow, events: ev, printLine: func(text string) {
		if up.Load() {
			fmt.Fprintf(o.Err, "%s  %s\n", time.Now().Format(time.TimeOnly), text)
		}
	}}
	v := &labSource{version: o.Version, statuses: f.boardStatuses, events: ev, consoles: map[string]boardConsole{}}
	f.onChange = v.leaveIfStopped
	ask := map[string]readyChecker{}
	for i, p := range plan.Boards {
		dir := filepath.Join(state, p.Name)
		f.boards = append(f.boards, &labBoard{
			addrs: p, dir: dir, state: stopped,
			command: append(append([]string(nil), o.Command...), filepath.Join(dir, configFile)),
		})
		f.leaveTimeout = max(f.leaveTimeout, min(time.Duration(configs[i].HTTP.DrainTimeout)+leaveMargin, maxLeaveTime))
		c, err := client.New(localURL(p.Console), configs[i].Console.Password)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		defer c.Close()
		v.consoles[p.Name], ask[p.Name] = c, c
	}
	server, err := newConsoleServer(v, f, configs[0].Console.Password, o.Logger)
	if err != nil {
		return err
	}
	server.start(listener)
	// The console outlives ctx, so that the end of the boards can be watched.
	defer func() {
		if ctx.Err() != nil {
			fmt.Fprintf(o.Err, "\nStopping %s.\n", pluralize(len(plan.Boards), "the board; Ctrl-C again kills it", "%d boards; Ctrl-C again kills them"))
		}
		f.stopAll()
		err = errors.Join(err, server.stop())
	}()

	began := time.Now()
	if err := f.startAll(); err != nil {
		return fmt.Errorf("starting the boards: %w", err)
	}
	found := awaitReady(ctx, f, ask, readyTimeout)
	if ctx.Err() != nil {
		return nil
	}
	fmt.Fprint(o.Err, explainFailures(found, readyTimeout))
	if !anyReady(found) {
		return errors.New("no board of the lab came up; what each of them said is above")
	}
	up.Store(true)
	if err := printReport(o, startReport{plan, state, found, time.Since(began), configs[0].Console.Password != ""}); err != nil {
		return fmt.Errorf("printing the boards: %w", err)
	}
	<-ctx.Done()
	return nil
}

// lockedWriter lets several goroutines write to one writer.
type lockedWriter struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (o *lockedWriter) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}
