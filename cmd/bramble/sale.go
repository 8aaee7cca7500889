package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/user"
	"strconv"
	"strings"
	"time"

	"bramble/node/console/client"
	"bramble/node/orderservice"
)

func saleCommand() command {
	return command{
		name:  "sale",
		args:  "list|stock|open|close|times|invite [PRODUCT]",
		short: "what is on sale; change stock and hours, invite who waits",
		long: `
The sales of the shop, as the ledger has them, and what an operator changes:

  list                 stock, sold, held and free units, and the hours
  stock PRODUCT +500   adds units, or takes free ones away with -500
  open PRODUCT         opens now; close PRODUCT closes now
  times PRODUCT        moves the hours: --opens and --closes, "" for none
  invite PRODUCT       invites the next --count people in the queue; units are
                       held for them for as long as --for says

The catalogue's file counts when a product is first offered; after that the
ledger does, and every change is recorded with who made it and when.`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			opens := fs.String("opens", "", "times: `HOUR`, such as 2012-02-29T06:00:00Z")
			closes := fs.String("closes", "", "times: `HOUR`")
			count := fs.Int64("count", 0, "invite: how many `PEOPLE` at most")
			valid := fs.Duration("for", 48*time.Hour, "invite: how `LONG` an invitation is good")
			asJSON := fs.Bool("json", false, "list: JSON instead of a table")
			who := operatorFlag(fs)
			return func(ctx context.Context, w world, args []string) error {
				if len(args) == 0 {
					return usagef("say what to do: list, stock, open, close, times or invite")
				}
				o := orderservice.OperatorCommand{Action: args[0], Operator: who(w)}
				wants := map[string]int{"list": 1, "stock": 3, "open": 2, "close": 2, "times": 2, "invite": 2}
				n, known := wants[o.Action]
				switch {
				case !known:
					return usagef("%q is none of list, stock, open, close, times and invite", o.Action)
				case len(args) != n:
					return usagef("%s takes %s, not %d", o.Action, pluralize(n-1, "word"), len(args)-1)
				}
				if n > 1 {
					o.Product = args[1]
				}
				var err error
				switch o.Action {
				case "stock":
					if o.Count, err = strconv.ParseInt(args[2], 10, 64); err != nil || o.Count == 0 {
						return usagef("%q is no number of units; write one such as +500 or -20 (after -- if it begins with a minus)", args[2])
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
						return usagef("invite wants --count, how many people")
					}
					until := time.Now().Add(*valid).UTC().Truncate(time.Second)
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
				return submitOrder(ctx, w, c, o)
			}
		},
	}
}

// parseTime reads a moment; "" is none.
func parseTime(flag, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, usagef("--%s: %q is no hour; write one such as 2012-02-29T06:00:00Z", flag, text)
	}
	return &t, nil
}

func listSales(ctx context.Context, w world, c *client.Client, asJSON bool) error {
	var sales []orderservice.SaleJSON
	if err := c.Shop(ctx, http.MethodGet, "sales", nil, &sales); err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(w.out).Encode(sales)
	}
	if len(sales) == 0 {
		fmt.Fprintln(w.out, "The ledger has no sale yet.")
		return nil
	}
	const form = "%-22s %-10s %-8s %8s %8s %6s %8s\n"
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
		if len(more) > 0 {
			fmt.Fprintln(w.out, "    "+strings.Join(more, ", "))
		}
	}
	return nil
}

func announceCommand() command {
	return command{
		name:  "announce",
		args:  "TEXT",
		short: "show a sentence on every page of every board",
		long: `
Shows a sentence on top of every page of the shop, on every board, within a
second, and keeps it in the list of announcements. An empty text takes the
announcements off again.`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			who := operatorFlag(fs)
			return func(ctx context.Context, w world, args []string) error {
				if len(args) != 1 {
					return usagef("one text, in quotes")
				}
				c, err := connect(w)
				if err != nil {
					return err
				}
				defer c.Close()
				return submitOrder(ctx, w, c, orderservice.OperatorCommand{Action: "announce", Operator: who(w), Text: args[0]})
			}
		},
	}
}

// operatorFlag declares whose name goes on record.
func operatorFlag(fs *flagSet) func(world) string {
	name := fs.String("who", "", "`NAME` for the record (default: the user's name)")
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

// submitOrder gives an order to the rack and prints how it ended.
func submitOrder(ctx context.Context, w world, c *client.Client, o orderservice.OperatorCommand) error {
	o.OpID = orderservice.NewOpID()
	var done orderservice.OperatorResult
	if err := c.Shop(ctx, http.MethodPost, "commands", o, &done); err != nil {
		return err
	}
	text := done.Text
	if o.Action == "invite" {
		text = fmt.Sprintf("Invited: %d.", done.Count)
	}
	fmt.Fprintln(w.out, text)
	return nil
}
