package main

import (
	"context"
	"fmt"
	"strings"

	"bramble/node/console"
)

func purgeCommand() command {
	return command{
		name:  "purge",
		args:  "[URL]",
		short: "make the rack forget a page, a tag, or all",
		long: `
Makes the whole rack forget stored pages: one URL, all pages with a tag, or all
there are. A URL is a path, such as /status, or absolute. Boards that are away
forget before they serve again.

With --soft pages are not forgotten: the origin is asked about them before they
count as fresh again, and they stand in for it as long as it does not answer.`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			tag := fs.String("tag", "", "forget all pages with this `TAG`")
			all := fs.Bool("all", false, "forget every page")
			soft := fs.Bool("soft", false, "ask the origin about the pages instead of forgetting them")
			return func(ctx context.Context, w world, args []string) error {
				p := console.PurgeRequest{Tag: *tag, All: *all, Soft: *soft}
				if len(args) > 0 {
					p.URL = args[0]
				}
				switch {
				case len(args) > 1:
					return usagef("one URL at a time, not %q too", args[1])
				case p.URL == "" && p.Tag == "" && !p.All:
					return usagef("say what to forget: a URL, --tag TAG, or --all")
				case p.Check() != nil:
					return usagef("%v", p.Check())
				}
				c, err := connect(w)
				if err != nil {
					return err
				}
				defer c.Close()
				res, err := c.Purge(ctx, p)
				if err != nil {
					return err
				}
				fmt.Fprintln(w.out, strings.Join(wrapText(purgeSummary(res, *soft), helpWidth), "\n"))
				return nil
			}
		},
	}
}

// purgeSummary says who has obeyed.
func purgeSummary(r console.PurgeResult, soft bool) string {
	did, will := "Forgotten", "forget"
	if soft {
		did, will = "Marked stale", "do so"
	}
	text := "No board has applied it yet."
	if len(r.Applied) > 0 {
		text = did + " by " + strings.Join(r.Applied, ", ") + "."
	}
	if len(r.Absent) > 0 {
		text += " Away, and bound to " + will + " before serving again: " + strings.Join(r.Absent, ", ") + "."
	}
	return text
}
