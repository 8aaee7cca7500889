package main

import (
	"context"
	"fmt"

	"bramble/node/config"
)

func keyCommand() command {
	return command{
		name:  "key",
		short: "make a rack key",
		long: `
Prints a new rack key as a line to paste under [rack] into bramble.toml of every
board. Who has the key is a board of the rack: keep it as you keep a password.`,
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
