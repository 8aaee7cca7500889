package main

import (
	"context"
	"fmt"

	"bramble/node/config"
)

func keyCommand() command {
	return command{
		name:  "key",
		short: "make a new rack key",
		long: `
Print a new rack key as a line to paste under [rack] in every board's
bramble.toml. Anything that has the key can join the rack: keep it as safe as a
password.`,
		examples: `
  bramble key >> bramble.toml`,
		flags: func(*flagSet) runner {
			return func(_ context.Context, w world, args []string) error {
				if err := refuseArgs(args); err != nil {
					return err
				}
				_, err := fmt.Fprintf(w.out, "key = %q\n", config.NewRackKey().Reveal())
				return err
			}
		},
	}
}
