package main

import (
	"context"
	"errors"
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
Run one board of a rack until SIGTERM or Ctrl-C. Then it leaves the rack and
completes the responses in progress. A second signal ends it at once.

The configuration file needs only the rack key; "bramble init" writes one. Like
ssh, a board refuses to start if everybody can read it or a certificate's key.

On SIGUSR2 the board restarts in place: the program's file is executed again,
with the configuration file as it is then. It keeps the listening sockets, so
clients wait a second or two and no connection is refused. If the new program or
its configuration is faulty, the log says why and the old one keeps serving.`,
		examples: `
  bramble init
  bramble node --config bramble.toml`,
		flags: func(fs *flagSet) runner {
			file := fs.String("config", "bramble.toml", "the board's configuration `FILE`")
			withParent := fs.Bool("with-parent", false, "stop when standard input closes; the lab uses it so that no board outlives it")
			check := fs.Bool("check", false, "only check the configuration file")
			card := fs.Bool("card", false, "this machine runs from a card image, under \"bramble card-init\"")
			return func(ctx context.Context, w world, _ []string) error {
				cfg, err := config.Load(*file)
				if err != nil {
					return err
				}
				if _, err := cfg.FindExposed(*file); err != nil || *check {
					return err
				}
				keepFilesPrivate()
				ctx, stop := untilSignal(ctx, func() { os.Exit(exitInterrupted) })
				defer stop()
				if *withParent {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					defer cancel()
					go func() {
						// The lab writes nothing to it: end of file or an error means that the lab has ended.
						_, _ = io.Copy(io.Discard, w.in)
						cancel()
					}()
				}
				log := newLogger(cfg.Log, w.err)
				restart, err := newRestarter(*file)
				if err != nil {
					return err
				}
				defer restart.close()
				serving, leave := restart.servingContext(ctx)
				defer leave()
				restart.watchSignals(serving, log, leave)
				opts := node.Options{Logger: log, Version: programVersion(), Sockets: restart.sockets, Shared: *withParent, ConfigFile: *file}
				if *card {
					if opts.CardHost, err = openCard(cfg.Update.Keys); err != nil {
						return err
					}
				}
				opts.Secrets = newSecretsHandler(cfg, *file, opts.CardHost, restart.signals)
				err = node.Run(serving, cfg, opts)
				if errors.Is(err, node.ErrReopen) {
					log.Warn("starting again", "why", err)
					restart.requested.Store(true)
				} else if err != nil {
					return err
				}
				return restart.execProgram(ctx)
			}
		},
	}
}

// newLogger returns a logger to out with the settings of [log].
func newLogger(l config.LogSettings, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.SlogLevel()}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
