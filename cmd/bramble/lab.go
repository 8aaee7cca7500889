package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bramble/node/config"
	"bramble/node/lab"
)

func labCommand() command {
	return command{
		name:  "lab",
		short: "run a whole rack on this machine, a process a board",
		long: `
Starts a rack on this machine: each board is a process that runs exactly what a
Pi runs. Prints where the boards are, and hosts a console on which boards can be
stopped, killed, paused and revived. Ctrl-C stops the rack, a second one kills
it; no process is left behind.

The console has the port given by --http, the boards' pages the ports after it,
then come the boards' own consoles and what they speak among themselves: with
5 boards 21 ports in all.`,
		flags: func(fs *flagSet) runner {
			boards := fs.Int("boards", 5, fmt.Sprintf("how many, `N` from 1 to %d", lab.MaxBoards))
			addr := fs.String("http", "127.0.0.1:8080", "`ADDR` of the console, IP:PORT; port 0 takes any free ports")
			file := fs.String("config", "", "`FILE` with settings for every board, such as [origin] or [cache]; names, addresses and, if it has none, the rack key are the lab's")
			state := fs.String("state", "", "folder `DIR` for key, settings and logs, used again at the next start; without it a temporary one, removed at the end")
			asJSON := fs.Bool("json", false, "print one line of JSON with every board's URLs and process id instead of the table")
			return func(ctx context.Context, w world, args []string) error {
				if err := refuseArgs(args); err != nil {
					return err
				}
				if *boards < 1 || *boards > lab.MaxBoards {
					return usagef("--boards %d: a lab has 1 to %d boards", *boards, lab.MaxBoards)
				}
				var template *config.ParsedFile
				if *file != "" {
					var err error
					if template, err = config.LoadFile(*file); err != nil {
						return err
					}
				}
				program, err := os.Executable()
				if err != nil {
					return fmt.Errorf("finding this program, which each board runs: %w", err)
				}
				hurry := make(chan struct{})
				ctx, stop := untilSignal(ctx, sync.OnceFunc(func() { close(hurry) }))
				defer stop()
				self := os.Args[0] // as it was typed, so that the advice can be typed too
				if underGoRun(program) {
					self = "go run ./cmd/bramble"
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					defer cancel()
					go followParent(ctx, cancel)
				}
				return lab.Run(ctx, lab.Options{
					Boards: *boards, HTTP: *addr, Template: template, State: *state,
					Command: []string{program, "node", "--with-parent", "--config"}, Program: self,
					JSON: *asJSON, Out: w.out, Err: w.err,
					Logger:  slog.New(slog.NewTextHandler(w.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
					Version: programVersion(), KillNow: hurry,
				})
			}
		},
	}
}

// underGoRun tells that "go run" has built this program and waits for it.
func underGoRun(program string) bool {
	return strings.Contains(filepath.ToSlash(program), "/go-build")
}

// followParent cancels when the parent process is gone. "go run" passes on
// Ctrl-C, but whoever ends it by other means would leave the rack behind.
func followParent(ctx context.Context, cancel context.CancelFunc) {
	parent := os.Getppid()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			if os.Getppid() != parent {
				cancel()
				return
			}
		}
	}
}
