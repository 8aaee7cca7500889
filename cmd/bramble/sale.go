package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/user"
	"strconv"
	"strings"
	"time"

	"bramble/node/console"
	"bramble/node/console/client"
	"bramble/node/orderservice"
)

func saleCommand() command {
	return command{
		name:  "sale",
		args:  "ACTION [PRODUCT [N]]",
		short: "show and change sales: stock, hours, invitations",
		long: `
Show and change the sales of the shop, as the ledger has them:

  list              print stock, sold, held and free units, and the hours
  stock PRODUCT N   add N units to the stock; to remove free units:
                    sale stock PRODUCT -- -N
  open PRODUCT      open the sale now
  close PRODUCT     close the sale now
  times PRODUCT     replace the hours by --opens and --closes; an omitted one is
                    erased, so to change one, name both
  invite PRODUCT    invite the next --count people on the waiting list, and hold
                    units for them for --valid-for

The catalogue's file is used only when a product is first offered. After that
the ledger is authoritative, and the audit log has each change with the
operator's name.`,
		examples: `
  bramble sale list
  bramble sale stock berry 500
  bramble sale times berry --opens 2012-02-29T06:00:00Z
  bramble sale invite berry --count 20 --valid-for 48h`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			opens := fs.String("opens", "", "times: `TIME` when the sale opens, such as 2012-02-29T06:00:00Z")
			closes := fs.String("closes", "", "times: `TIME` when the sale closes")
			count := fs.Int64("count", 0, "invite: at most `N` people")
			validFor := fs.Duration("valid-for", 48*time.Hour, "invite: how long an invitation is valid, a `DURATION`")
			asJSON := fs.Bool("json", false, "print JSON instead of text and tables")
			operator := operatorFlag(fs)
			return func(ctx context.Context, w world, args []string) error {
				if len(args) == 0 {
					return usagef("name an action: list, stock, open, close, times or invite")
				}
				o := orderservice.OperatorCommand{Action: args[0], Operator: operator(w)}
				argCount := map[string]int{"list": 1, "stock": 3, "open": 2, "close": 2, "times": 2, "invite": 2}
				n, known := argCount[o.Action]
				switch {
				case !known:
					return usagef("unknown action %q: it must be list, stock, open, close, times or invite", o.Action)
				case len(args) != n:
					return usagef("%s needs %s, not %d", o.Action, pluralize(n-1, "argument", "arguments"), len(args)-1)
				}
				if n > 1 {
					o.Product = args[1]
				}
				var err error
				switch o.Action {
				case "stock":
					if o.Count, err = strconv.ParseInt(args[2], 10, 64); err != nil || o.Count == 0 {
						return usagef("%q is not a number of units: use one such as 500, or -20 after --", args[2])
					}
				case "times":
					if o.Opens, err = parseTime("opens", *opens); err != nil {
						return err
					}
					if o.Closes, err = parseTime("closes", *closes); err != nil {
						return err
					}
				case "invite":
					if *count < 1 {
						return usagef("invite needs --count, the number of people")
					}
					until := time.Now().Add(*validFor).UTC().Truncate(time.Second)
					o.Count, o.Until = *count, &until
				}
				c, err := connect(w)
				if err != nil {
					return err
				}
				defer c.Close()
				if o.Action == "list" {
					return listSales(ctx, w, c, *asJSON)
				}
				return submitCommand(ctx, w, c, o, *asJSON)
			}
		},
	}
}

// parseTime parses the time of a flag. An empty text returns nil: no time.
func parseTime(flag, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, usagef("--%s: %q is not a time: use one such as 2012-02-29T06:00:00Z", flag, text)
	}
	return &t, nil
}

// getSales requests sales as they are on all boards. Without a majority it requests this
// board's copy, with a warning.
func getSales(ctx context.Context, w world, c *client.Client, path string, out any) error {
	err := c.Shop(ctx, http.MethodGet, path, nil, out)
	if !errors.Is(err, console.ErrUnavailable) {
		return err
	}
	if err := readStale(ctx, w, func() error { return c.Shop(ctx, http.MethodGet, path+"?stale=1", nil, out) }); err != nil {
		return err
	}
	printError(w, "The order book has no majority of its boards now, or this board has not caught up: these figures may be old.")
	return nil
}

func listSales(ctx context.Context, w world, c *client.Client, asJSON bool) error {
	var sales []orderservice.SaleJSON
	if err := getSales(ctx, w, c, "sales", &sales); err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, sales)
	}
	if len(sales) == 0 {
		fmt.Fprintln(w.out, "There are no sales yet.")
		return nil
	}
	const form = "%-22s %-10s %-11s %8s %8s %6s %8s\n"
	fmt.Fprintf(w.out, form, "PRODUCT", "MODE", "STATE", "STOCK", "SOLD", "HELD", "FREE")
	for _, s := range sales {
		n := func(n int64) string { return strconv.FormatInt(n, 10) }
		fmt.Fprintf(w.out, form, truncateCell(s.Product, 22), s.Mode, s.State, n(s.Stock), n(s.Sold), n(s.Held), n(s.Free))
		var more []string
		for _, q := range []struct {
			n    int
			what string
		}{{s.Entries, "in the ballot"}, {s.Waiting, "waiting"}, {s.Interested, "interested"}} {
			if q.n > 0 {
				more = append(more, fmt.Sprintf("%d %s", q.n, q.what))
			}
		}
		if s.Opens != nil {
			more = append(more, "opens "+s.Opens.Format(time.RFC3339))
		}
		if s.Closes != nil {
			more = append(more, "closes "+s.Closes.Format(time.RFC3339))
		}
		if s.Draw != nil && s.State == "drawing" {
			more = append(more, s.Draw.Describe(s.Product))
		}
		if len(more) > 0 {
			fmt.Fprintln(w.out, "    "+strings.Join(wrapText(strings.Join(more, ", "), helpWidth-4), "\n    "))
		}
	}
	return nil
}

func announceCommand() command {
	return command{
		name:  "announce",
		args:  "TEXT",
		short: "show an announcement on every page of the shop",
		long: `
Show an announcement at the top of every page of the shop, on every board within
a second, and add it to the list of announcements. An empty text removes the
announcements.`,
		examples: `
  bramble announce "We ship again on Monday."
  bramble announce ""`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			operator := operatorFlag(fs)
			return func(ctx context.Context, w world, args []string) error {
				if len(args) != 1 {
					return usagef("name one text, in quotes")
				}
				c, err := connect(w)
				if err != nil {
					return err
				}
				defer c.Close()
				return submitCommand(ctx, w, c, orderservice.OperatorCommand{Action: "announce", Operator: operator(w), Text: args[0]}, false)
			}
		},
	}
}

// operatorFlag declares the flag for the operator's name in the audit log.
func operatorFlag(fs *flagSet) func(world) string {
	name := fs.String("operator", "", "`NAME` for the audit log (default: the user's name)")
	return func(w world) string {
		if *name != "" {
			return *name
		}
		if u, err := user.Current(); err == nil && u.Username != "" {
			return u.Username
		}
		return "operator"
	}
}

// submitCommand sends an operator's command to the rack and prints the result: a sentence,
// and the sale before and after, or JSON.
func submitCommand(ctx context.Context, w world, c *client.Client, o orderservice.OperatorCommand, asJSON bool) error {
	o.OpID = orderservice.NewOpID()
	var done orderservice.OperatorResult
	if err := c.Shop(ctx, http.MethodPost, "commands", o, &done); err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, done)
	}
	text := done.Text
	if o.Action == "invite" {
		text = fmt.Sprintf("Invited: %d.", done.Count)
		if done.Count == 0 {
			text += " No unit is free, or nobody waits: \"bramble sale list\" shows both."
		}
	}
	fmt.Fprintln(w.out, text)
	if done.Before != nil && done.After != nil {
		writeBeforeAfter(w.out, *done.Before, *done.After)
	}
	return nil
}
