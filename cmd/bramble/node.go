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

"bramble config" prints all that the file may say.

SIGUSR2 has the program that now stands in its file take its place, with the
configuration as it now is. Clients who come meanwhile wait a second or two, and
none is refused. If the new program or its configuration is no good, the log
says why and the old one serves on.`,
		flags: func(fs *flagSet) runner {
			file := fs.String("config", "bramble.toml", "the board's `FILE`")
			withParent := fs.Bool("with-parent", false, "stop when standard input closes; for the lab, so that no board outlives it")
			check := fs.Bool("check", false, "say what is wrong with the file, if anything, and do no more")
			card := fs.Bool("card", false, "the machine is the board's own and bramble card-init looks after it")
			return func(ctx context.Context, w world, args []string) error {
				if err := refuseArgs(args); err != nil {
					return err
				}
				cfg, err := config.Load(*file)
				if err != nil || *check {
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
				log := newLogger(cfg.Log, w.err)
				place, err := newRestarter(*file)
				if err != nil {
					return err
				}
				defer place.close()
				serving, leave := place.servingContext(ctx)
				defer leave()
				place.watchSignals(serving, log, leave)
				opts := node.Options{Logger: log, Version: programVersion(), Sockets: place.sockets, Shared: *withParent}
				if *card {
					if opts.CardHost, err = openCard(); err != nil {
						return err
					}
				}
				if err := node.Run(serving, cfg, opts); err != nil {
					return err
				}
				return place.execProgram(ctx)
			}
		},
	}
}

// newLogger writes to out as [log] says.
func newLogger(l config.LogSettings, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.SlogLevel()}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
