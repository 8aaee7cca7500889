package main

import (
	"context"
	"fmt"
)

func drainCommand() command {
	return command{
		name:  "drain",
		args:  "BOARD",
		short: "take a board out of service, or put it back",
		long: `
Takes a board out of service without an error to any client: replies under way
end, and the other boards take over its pages. When "bramble status" shows it
drained it can be unplugged.`,
		flags: func(fs *flagSet) runner {
			connect := consoleFlags(fs)
			undo := fs.Bool("undo", false, "put the board back into service")
			return func(ctx context.Context, w world, args []string) error {
				if len(args) != 1 {
					return usagef("name one board; bramble status lists them")
				}
				c, err := connect(w)
				if err != nil {
					return err
				}
				defer c.Close()
				if err := c.Drain(ctx, args[0], *undo); err != nil {
					return err
				}
				if *undo {
					fmt.Fprintf(w.out, "%s is going back into service.\n", args[0])
					return nil
				}
				fmt.Fprintf(w.out, "%s is being taken out of service; bramble status shows when it is drained.\n", args[0])
				return nil
			}
		},
	}
}
