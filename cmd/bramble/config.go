package main

import (
	"context"
	"io"

	"bramble/node/config"
)

func configCommand() command {
	return command{
		name:  "config",
		short: "print the configuration in effect, with comments",
		long: `
Print every setting in effect, with its meaning and the reason for its default.
Without --config these are the defaults. The output is a configuration file
itself, except that secrets are left out unless --show-secrets is given.`,
		examples: `
  bramble config > bramble.toml
  bramble config --config bramble.toml
  bramble config --config bramble.toml --card 1a2b`,
		flags: func(fs *flagSet) runner {
			file := fs.String("config", "", "the board's configuration `FILE`")
			secrets := fs.Bool("show-secrets", false, "print the rack key and the passwords too")
			card := fs.String("card", "", "print the settings of the board with this `SERIAL` number; its last digits suffice")
			markdown := fs.Bool("markdown", false, "print the reference of all keys as Markdown instead")
			return func(_ context.Context, w world, _ []string) error {
				if *markdown {
					_, err := io.WriteString(w.out, config.Reference())
					return err
				}
				cfg := config.Default()
				if *file != "" {
					// A file without a rack key can be printed, though no board can use it.
					doc, err := config.LoadFile(*file)
					if err != nil {
						return err
					}
					cfg = doc.ForCard(*card).Config
				}
				_, err := w.out.Write(cfg.TOML(config.PrintOptions{Comments: true, Secrets: *secrets}))
				return err
			}
		},
	}
}
