package main

import (
	"context"

	"bramble/node/console/client"
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
			connect := addConsoleFlags(fs)
			undo := fs.Bool("undo", false, "put the board back into service")
			return func(ctx context.Context, w world, args []string) error {
				text := "%s is being taken out of service; bramble status shows when it is drained.\n"
				if *undo {
					text = "%s is going back into service.\n"
				}
				return requestForBoard(w, connect, args, text, func(c *client.Client, board string) error {
					return c.Drain(ctx, board, *undo)
				})
			}
		},
	}
}
