package main

import (
	"context"
	"fmt"

	"bramble/images/cardinit"
	"bramble/node/config"
)

func keyCommand() command {
	return command{
		name:  "key",
		short: "make a new rack key, or a key for updates",
		long: `
Print a new rack key as a line to paste under [rack] in every board's
bramble.toml. Anything that has the key can join the rack: keep it as safe as a
password.

With --update the line is a new key for updates, to paste under [update]. Its
private half, with which "bramble image" signs, goes into a file for you alone.`,
		examples: `
  bramble key --update update.key`,
		flags: func(fs *flagSet) runner {
			update := fs.String("update", "", "make an update key, its private half in this new `FILE`")
			return func(_ context.Context, w world, _ []string) error {
				if *update != "" {
					private, public := cardinit.NewUpdateKey()
					if err := writeSecret(*update, private); err != nil {
						return err
					}
					_, err := fmt.Fprintf(w.out, "keys = [%q]\n", public)
					return err
				}
				_, err := fmt.Fprintf(w.out, "key = %q\n", config.NewRackKey().Reveal())
				return err
			}
		},
	}
}
