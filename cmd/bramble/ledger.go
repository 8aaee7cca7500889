package main

import "context"

func ledgerCommand() command {
	return command{
		name:  "ledger",
		args:  "clock",
		short: "show the ledger's clock, and set it right",
		long: `
Show the replicated log under the order book, and set it right:

  clock   print the ledger's clock, each board's own clock, and whether the
          ledger's is held; --set and --confirm change it

The ledger's clock follows the boards' clocks. If most of them do not agree, it
is held: it counts on, orders are taken, and what cannot be undone waits (draws,
erasures, the end of invitations). Correct the boards' clocks first. Then --set
sets the ledger's clock, also back, and --confirm says that it is right as it
is. The audit log has who did it.`,
		examples: `
  bramble ledger clock
  bramble ledger clock --set now
  bramble ledger clock --set 2012-02-29T06:00:00Z
  bramble ledger clock --confirm`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			runClock := addClockFlags(fs)
			return func(ctx context.Context, w world, args []string) error {
				if len(args) != 1 || args[0] != "clock" {
					return usagef("name an action: clock")
				}
				c, err := connect(w)
				if err != nil {
					return err
				}
				defer c.Close()
				return runClock(ctx, w, c)
			}
		},
	}
}
