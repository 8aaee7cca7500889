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
Take a board out of service without an error for any client: the responses in
progress are completed, and the other boards take over its pages. It can be
unplugged when "bramble status" shows it as drained.`,
		examples: `
  bramble drain board-2
  bramble drain board-2 --undo`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			undo := fs.Bool("undo", false, "put the board back into service")
			return func(ctx context.Context, w world, args []string) error {
				text := "Draining %s. \"bramble status\" shows when it is drained.\n"
				if *undo {
					text = "%s returns to service.\n"
				}
				return requestForBoard(w, connect, args, text, func(c *client.Client, board string) error {
					return c.Drain(ctx, board, *undo)
				})
			}
		},
	}
}
