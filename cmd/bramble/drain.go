package main

import (
	"context"
	"fmt"

	"bramble/node/console/client"
)

func drainCommand() command {
	return boardCommand(command{
		name:  "drain",
		short: "take a board out of service, or put it back",
		long: `
Take a board out of service without an error for any client: the responses in
progress are completed, and the other boards take over its pages. It can be
unplugged when "bramble status" shows it as drained.`,
	}, (*client.Client).Drain, "Draining %s. \"bramble status\" shows when it is drained.\n",
		"put the board back into service", "%s returns to service.\n")
}

func locateCommand() command {
	return boardCommand(command{
		name:  "locate",
		short: "make a board blink, to find it in the rack",
		long: `
Make the health lamp of a board blink fast, to find it in the rack. A short
press of its button or --undo stops it.`,
	}, (*client.Client).Locate, "%[1]s blinks until its button is pressed, or until:\n  bramble locate %[1]s --undo\n",
		"stop the blinking", "%s stops blinking.\n")
}

// boardCommand completes a command that sends a request about one board, or undoes it, and then prints a format for the
// board's name. help is that of --undo.
func boardCommand(c command, send func(to *client.Client, ctx context.Context, board string, undo bool) error, done, help, undone string) command {
	c.args, c.examples = "BOARD", fmt.Sprintf("\n  bramble %[1]s board-2\n  bramble %[1]s board-2 --undo", c.name)
	c.flags = func(fs *flagSet) runner {
		connect := addConsoleFlags(fs)
		undo := fs.Bool("undo", false, help)
		return func(ctx context.Context, w world, args []string) error {
			if len(args) != 1 {
				return usagef("name one board; \"bramble status\" lists them")
			}
			return connect(w, func(to *client.Client) error {
				err := send(to, ctx, args[0], *undo)
				switch {
				case err == nil && *undo:
					fmt.Fprintf(w.out, undone, args[0])
				case err == nil:
					fmt.Fprintf(w.out, done, args[0])
				}
				return err
			})
		}
	}
	return c
}
