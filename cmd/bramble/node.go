package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"bramble/node"
	"bramble/node/config"
)

func nodeCommand() command {
	return command{
		name:  "node",
		short: "run one board",
		long: `
Runs one board of a rack until SIGTERM or Ctrl-C, then leaves the rack and ends
the replies under way. A second signal ends it at once.

A file for it needs only the rack's key:

  echo '[rack]' > bramble.toml
  bramble key >> bramble.toml

"bramble config" prints all that the file may say.`,
		flags: func(fs *flagSet) runner {
			file := fs.String("config", "bramble.toml", "the board's `FILE`")
			withParent := fs.Bool("with-parent", false, "stop when standard input closes; for the lab, so that no board outlives it")
			return func(ctx context.Context, w world, args []string) error {
				if err := noWords(args); err != nil {
					return err
				}
				cfg, err := config.Load(*file)
				if err != nil {
					return err
				}
				ctx, stop := untilSignal(ctx, func() { os.Exit(exitInterrupted) })
				defer stop()
				if *withParent {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					defer cancel()
					go func() {
						// The lab writes nothing; the end, or an error, means that it is gone.
						_, _ = io.Copy(io.Discard, w.in)
						cancel()
					}()
				}
				return node.Run(ctx, cfg, node.Options{Logger: logger(cfg.Log, w.err), Version: version()})
			}
		},
	}
}

// logger writes to out as [log] says.
func logger(l config.Log, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.SlogLevel()}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
