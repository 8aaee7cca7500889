package main

import (
	"context"
	"fmt"
	"strings"

	"bramble/node/console"
	"bramble/node/console/client"
)

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
