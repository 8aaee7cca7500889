package main

import (
	"context"
	"fmt"
	"strings"

	"bramble/node/console"
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

func purgeCommand() command {
	return command{
		name:  "purge",
		args:  "[URL]",
		short: "remove pages from the caches of the rack",
		long: `
Remove stored pages from the caches of the whole rack: one URL, all pages with a
tag, or all pages. A URL is a path, such as /status, or absolute. A board that
is offline removes them before it serves again.

With --soft the pages stay, but count as stale: they are revalidated with the
origin before their next use, and are served while the origin does not answer.`,
		examples: `
  bramble purge /status
  bramble purge --tag news --soft
  bramble purge --all`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			tag := fs.String("tag", "", "purge all pages with this `TAG`")
			all := fs.Bool("all", false, "purge every page")
			soft := fs.Bool("soft", false, "mark the pages as stale instead of removing them")
			return func(ctx context.Context, w world, args []string) error {
				p := console.PurgeRequest{Tag: *tag, All: *all, Soft: *soft}
				if len(args) > 0 {
					p.URL = args[0]
				}
				switch {
				case len(args) > 1:
					return usagef("unexpected argument %q: purge one URL at a time", args[1])
				case p.URL == "" && p.Tag == "" && !p.All:
					return usagef("name the pages to purge: a URL, --tag TAG or --all")
				case p.Check() != nil:
					return usagef("%s", strings.TrimPrefix(p.Check().Error(), console.ErrBadRequest.Error()+": "))
				}
				return connect(w, func(c *client.Client) error {
					res, err := c.Purge(ctx, p)
					if err != nil {
						return err
					}
					fmt.Fprintln(w.out, strings.Join(wrapText(purgeSummary(res, *soft), helpWidth), "\n"))
					return nil
				})
			}
		},
	}
}

// purgeSummary reports which boards have applied a purge.
func purgeSummary(r console.PurgeResult, soft bool) string {
	done := "Purged"
	if soft {
		done = "Marked stale"
	}
	text := "No board has applied the purge yet."
	if len(r.Applied) > 0 {
		text = done + " by " + strings.Join(r.Applied, ", ") + "."
	}
	if len(r.Absent) > 0 {
		text += " Offline, and will apply it before serving again: " + strings.Join(r.Absent, ", ") + "."
	}
	return text
}
