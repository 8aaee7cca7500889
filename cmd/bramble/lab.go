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
		short: "run a whole rack on this machine, one process per board",
		long: `
Run a whole rack on this machine. Each board is a process that runs exactly what
a Pi runs. The lab prints where the boards are, and serves a console on which
boards can be stopped, killed, paused and revived. Ctrl-C stops the rack and a
second Ctrl-C kills it; no process is left behind.

The console has the port of --listen. The ports after it are, in this order, the
boards' public pages, their consoles, their gossip and their rack link: for
5 boards 21 ports in total.`,
		examples: `
  bramble lab
  bramble lab --boards 12 --state rack
  bramble lab --config shop.toml --listen 0.0.0.0:8080`,
		flags: func(fs *flagSet) runner {
			boards := fs.Int("boards", 5, fmt.Sprintf("number of boards, `N` from 1 to %d", lab.MaxBoards))
			addr := fs.String("listen", "127.0.0.1:8080", "`ADDR` of the console, IP:PORT; port 0 uses any free ports")
			file := fs.String("config", "", "`FILE` with settings for every board, such as [origin] or [cache]; the lab sets names and addresses, and the rack key if the file has none")
			state := fs.String("state", "", "`FOLDER` for the key, settings and logs, which the next start uses again (default: a temporary one, removed at the end)")
			asJSON := fs.Bool("json", false, "print one line of JSON with every board's URLs and process ID instead of the table")
			return func(ctx context.Context, w world, _ []string) error {
				if *boards < 1 || *boards > lab.MaxBoards {
					return usagef("--boards %d: a lab has 1 to %d boards", *boards, lab.MaxBoards)
				}
				if err := lab.CheckListenAddr(*boards, *addr); err != nil {
					return usagef("--listen: %v", err)
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
					return fmt.Errorf("finding this program's file, which each board runs: %w", err)
				}
				killNow := make(chan struct{})
				ctx, stop := untilSignal(ctx, sync.OnceFunc(func() { close(killNow) }))
				defer stop()
				name := os.Args[0]                                            // as it was typed, so that the printed commands can be typed too
				if strings.Contains(filepath.ToSlash(program), "/go-build") { // "go run" has built it, and waits for it
					name = "go run ./cmd/bramble"
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					defer cancel()
					go followParent(ctx, cancel)
				}
				return lab.Run(ctx, lab.Options{
					Boards: *boards, ListenAddr: *addr, Template: template, State: *state,
					Command: []string{program, "node", "--with-parent", "--config"}, Program: name,
					JSON: *asJSON, Out: w.out, Err: w.err,
					Logger:  slog.New(slog.NewTextHandler(w.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
					Version: programVersion(), KillNow: killNow,
				})
			}
		},
	}
}

// followParent cancels when the parent process is gone. "go run" passes on Ctrl-C,
// but any other end of it would leave the rack running.
func followParent(ctx context.Context, cancel context.CancelFunc) {
	parent := os.Getppid()
	for range time.Tick(time.Second) {
		if ctx.Err() != nil || os.Getppid() != parent {
			cancel()
			return
		}
	}
}
