package main

import (
	"context"
	"io"

	"bramble/node/config"
)

func configCommand() command {
	return command{
		name:  "config",
		short: "print the configuration in effect, each key explained",
		long: `
Prints every setting as it is in effect, with what it means and why its default
is what it is. Without --config: the defaults. The output is a configuration
file itself, but for secrets, which are shown only if asked for.`,
		flags: func(fs *flagSet) runner {
			file := fs.String("config", "", "the board's `FILE`")
			secrets := fs.Bool("show-secrets", false, "show the rack key and the password too")
			card := fs.String("card", "", "as the card with this `SERIAL` number has it; its last digits will do")
			markdown := fs.Bool("markdown", false, "print the reference of all keys for the README instead")
			return func(_ context.Context, w world, args []string) error {
				if err := refuseArgs(args); err != nil {
					return err
				}
				if *markdown {
					_, err := io.WriteString(w.out, config.Reference())
					return err
				}
				cfg := config.Default()
				if *file != "" {
					// A file without a key is in effect nowhere, but can be looked at.
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
